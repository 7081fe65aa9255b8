# SPDX-License-Identifier: Apache-2.0
"""The flow compiler: what flows become, and that changes never leave a trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import actions
from ovn_bpf_controller.compile.actions import EGRESS, INGRESS
from ovn_bpf_controller.compile.compiler import (
    FlowCompiler,
    LogicalFlow,
    Problem,
)
from ovn_bpf_controller.compile.flow import MAX_DISJUNCTS
from ovn_bpf_controller.compile.insns import Insn, decode, program
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.model import Rule, SetMember
from ovn_bpf_controller.plaindata import replace
from tests.support.world import World

DP = 3
FULL32 = 0xFFFFFFFF
LONG = "{80, 81, 82, 83, 84, 85, 86}"
SECURITY_TABLES = {
    lib.OVN_TABLE_IN_PORT_SEC,
    lib.OVN_TABLE_OUT_PORT_SEC,
    lib.OVN_TABLE_IN_PORT_SEC_ND,
}
SIDE_TABLES = SECURITY_TABLES | {
    lib.OVN_TABLE_MAC_BINDING,
    lib.OVN_TABLE_MAC_LOOKUP,
    lib.OVN_TABLE_LB_HAIRPIN,
    lib.OVN_TABLE_LB_HAIRPIN_REPLY,
    lib.OVN_TABLE_SNAT_HAIRPIN,
    lib.OVN_TABLE_LB_AFF,
}


def flow(match: str, actions: str = "next;", *, uuid: str = "u1", **more: Any) -> LogicalFlow:
    row = LogicalFlow(uuid, INGRESS, 4, 100, match, actions, "ls_in_test")
    return replace(row, **more)


def logical(rules: Sequence[Rule]) -> list[Rule]:
    """Without the rules of the side tables."""
    return [r for r in rules if r.table not in SIDE_TABLES]


def compiled(row: LogicalFlow, world: World | None = None) -> tuple[FlowCompiler, list[Rule]]:
    compiler = FlowCompiler(world or World())
    compiler.set_flow(row.uuid, row, [DP])
    return compiler, logical(compiler.flush().added)


def only(rules: Sequence[Rule]) -> Rule:
    (rule,) = rules
    return rule


# --- what a flow becomes -------------------------------------------------------


def test_a_flow_becomes_a_rule() -> None:
    compiler, rules = compiled(flow("eth.type == 0x800"))
    rule = only(rules)
    assert rule == Rule(
        dp=DP,
        table=4,
        prio=100,
        mask=((lib.OW_ETH_TYPE, 0xFFFF0000),),
        values=(0x08000000,),
        insns=program([Insn(lib.OP_NEXT, aux=5)]),
        flow=1,
    )
    assert compiler.flow_ids.uuid(1) == "u1"
    assert not list(compiler.unsupported())


def test_a_translated_match_looks_at_the_connections_ports() -> None:
    row = flow("udp.dst == 53 && ip4", ct_translation=True)
    rule = only(compiled(row)[1])
    found = dict(zip([word for word, _ in rule.mask], rule.values, strict=True))
    assert found[lib.OW_CT_PORTS] == 53
    assert found[lib.OW_CT_PROTO] == 17
    assert found[lib.OW_CT_STATE] == lib.OVN_CS_TRK
    assert lib.OW_L4_PORTS not in found and lib.OW_IP not in found
    compiler, _ = compiled(row)
    compiler.set_flow("u1", replace(row, ct_translation=False), [DP])
    assert lib.OW_L4_PORTS in dict(only(logical(compiler.flush().added)).mask)


def test_egress_tables_lie_in_the_upper_half() -> None:
    rule = only(compiled(flow("1", pipeline=EGRESS, table=2))[1])
    assert rule.table == lib.OVN_EGRESS_BASE + 2
    assert rule.mask == ()
    assert decode(rule.insns)[0] == Insn(lib.OP_NEXT, src=1, aux=3)


def test_a_match_that_is_never_true_becomes_nothing() -> None:
    compiler, rules = compiled(flow("0"))
    assert not rules
    assert not list(compiler.unsupported())


def test_a_disjunction_becomes_a_rule_for_each_alternative() -> None:
    _, rules = compiled(flow("tcp.dst == {80, 443} && ip4"))
    assert {r.values[-1] & 0xFFFF for r in rules} == {80, 443}
    assert len({r.insns for r in rules}) == 1


def test_what_the_actions_require_is_matched_too() -> None:
    _, rules = compiled(flow("1", "ip4.src = 10.0.0.1; next;"))
    assert only(rules).mask == ((lib.OW_ETH_TYPE, 0xFFFF0000),)


def test_a_flow_on_several_datapaths_is_the_same_rule_on_each() -> None:
    compiler = FlowCompiler(World())
    compiler.set_flow("u1", flow("ip4"), [1, 2, 9])
    rules = logical(compiler.flush().added)
    assert sorted(r.dp for r in rules) == [1, 2, 9]
    assert len({(r.mask, r.values, r.insns, r.flow) for r in rules}) == 1


def test_names_are_resolved_on_each_datapath() -> None:
    world = World(ports={(1, "_MC_flood"): 32768, (2, "_MC_flood"): 32770, (2, "lp"): 5})
    compiler = FlowCompiler(world)
    compiler.set_flow("u1", flow('inport == "lp"', 'outport = "_MC_flood"; output;'), [1, 2])
    rule = only(logical(compiler.flush().added))
    assert rule.dp == 2
    assert rule.values == (5,)
    assert decode(rule.insns)[0].b == 32770


def test_the_name_none_is_no_port() -> None:
    _, rules = compiled(flow('outport == "none"', 'outport = "none"; next;'))
    assert only(rules).values == (0,)
    assert decode(only(rules).insns)[0] == Insn(lib.OP_SET, dst=lib.OW_OUTPORT, a=FULL32, b=0)


def members(rows: Iterable[SetMember]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    return {(m.kind, m.plen, m.value): m.sets for m in rows}


def test_a_port_group_is_one_rule_with_members_of_its_own_on_each_datapath() -> None:
    world = World(
        port_groups={(1, "pg"): ["a", "b", "elsewhere"], (2, "pg"): ["c"]},
        ports={(1, "a"): 1, (1, "b"): 2, (2, "c"): 7},
    )
    compiler = FlowCompiler(world)
    compiler.set_flow("u1", flow("inport == @pg && ip4"), [1, 2])
    changes = compiler.flush()
    rules = logical(changes.added)
    assert [(r.dp, r.mask[-1], r.values[-1]) for r in rules] == [
        (dp, (lib.OW_SET_IN, FULL32), 1) for dp in (1, 2)
    ]
    ports = {(dp, key, 0, 0) for dp, key in ((1, 1), (1, 2), (2, 7))}
    assert members(changes.sets_added) == {(lib.OVN_SET_PORT, 0, port): (1,) for port in ports}


def test_an_address_set_is_one_rule_and_its_members_are_known_by_its_number() -> None:
    world = World(address_sets={"as1": ["10.0.0.1", "10.1.0.0/16", "rubbish"]})
    compiler = FlowCompiler(world)
    compiler.set_flow("u1", flow("ip4.src == $as1 && ip4.dst == $as1"), [DP])
    changes = compiler.flush()
    rule = only(logical(changes.added))
    assert rule.mask[-2:] == ((lib.OW_SET_SRC, FULL32), (lib.OW_SET_DST, FULL32))
    assert rule.values[-2:] == (1, 1)
    assert compiler.set_name(1) == ("as1", 32)
    assert members(changes.sets_added) == {
        (lib.OVN_SET_IP4, 32, (0x0A000001, 0, 0, 0)): (1,),
        (lib.OVN_SET_IP4, 16, (0x0A010000, 0, 0, 0)): (1,),
    }


def test_members_of_several_sets_have_all_their_numbers() -> None:
    world = World(address_sets={"a": ["fd00::/64", "fd00::1"], "b": ["fd00::1/128", "fd00::1"]})
    compiler = FlowCompiler(world)
    compiler.set_flow("u1", flow("ip6.src == {$a, $b}"), [DP])
    prefix = (0xFD000000, 0, 0)
    assert members(compiler.flush().sets_added) == {
        (lib.OVN_SET_IP6, 64, (*prefix, 0)): (1,),
        (lib.OVN_SET_IP6, 128, (*prefix, 1)): (1, 2),
    }
    world.address_sets["b"].remove("fd00::1")
    compiler.address_set_changed("b")
    assert not compiler.flush(), "the other spelling is still there"
    world.address_sets["b"].clear()
    compiler.address_set_changed("b")
    changes = compiler.flush()
    assert members(changes.sets_added) == {(lib.OVN_SET_IP6, 128, (*prefix, 1)): (1,)}
    assert not changes.added and not changes.removed


@pytest.mark.parametrize("member", ["10.0.0.2/0.0.0.2", "10.0.1.0/255.0.255.0"])
def test_a_set_with_a_mask_that_is_no_prefix_is_expanded(member: str) -> None:
    world = World(address_sets={"as1": ["10.0.0.1"]})
    compiler, rules = compiled(flow("ip4.src == $as1"), world)
    assert only(rules).mask[-1][0] == lib.OW_SET_SRC
    world.address_sets["as1"].append(member)
    compiler.address_set_changed("as1")
    changes = compiler.flush()
    assert len(changes.removed) == 1 and len(changes.added) == 2
    assert [m.sets for m in changes.sets_removed] == [(1,)]
    world.address_sets["as1"].pop()
    compiler.address_set_changed("as1")
    changes = compiler.flush()
    assert only(changes.added).mask[-1][0] == lib.OW_SET_SRC
    assert len(changes.sets_added) == 1


def test_a_member_that_does_not_fit_costs_the_flow_as_long_as_it_is_there() -> None:
    world = World(address_sets={"as1": ["10.0.0.1", "fd00::1"]})
    compiler, rules = compiled(flow("ip4.src == $as1"), world)
    assert not rules and not list(compiler.members())
    ((_, problem, what),) = problems(compiler)
    assert problem is Problem.INVALID and "fd00::1" in what
    world.address_sets["as1"].pop()
    compiler.address_set_changed("as1")
    assert len(compiler.flush().added) == 1
    assert not problems(compiler)


def test_the_product_of_two_long_lists_is_a_set_and_a_rule_for_each_port() -> None:
    addresses = ", ".join(f"10.0.0.{n}" for n in range(20))
    compiler = FlowCompiler(World())
    row = flow(f"ip4.dst == {{{addresses}}} && tcp.dst == {LONG}")
    compiler.set_flow("u1", row, [DP])
    compiler.set_flow("u2", replace(row, uuid="u2", priority=7), [DP])
    changes = compiler.flush()
    assert len(logical(changes.added)) == 7
    assert {m.sets for m in changes.sets_added} == {(1,)} and len(changes.sets_added) == 20
    compiler.remove_flow("u1")
    assert not compiler.flush().sets_removed
    compiler.remove_flow("u2")
    assert len(compiler.flush().sets_removed) == 20


def test_the_number_of_a_list_is_its_compilers_own() -> None:
    """Whatever is remembered of a text from another compiler, or from before."""

    def row(n: int) -> LogicalFlow:
        addresses = ", ".join(f"10.0.{n}.{host}" for host in range(20))
        return flow(f"ip4.dst == {{{addresses}}} && tcp.dst == {LONG} && reg0 == 77")

    for order in ((1, 2, 3), (3, 1)):
        compiler = FlowCompiler(World())
        for n in order:
            compiler.set_flow(f"u{n}", row(n), [DP])
        changes = compiler.flush()
        assert len(changes.sets_added) == 20 * len(order)
        assert {r.values[-1] for r in logical(changes.added)} == {
            number for member in changes.sets_added for number in member.sets
        }


def test_a_set_that_nobody_names_any_more_has_no_members() -> None:
    world = World(address_sets={"a": ["10.0.0.1"], "b": ["10.0.0.2"]})
    compiler, _ = compiled(flow("ip4.src == $a"), world)
    compiler.set_flow("u1", flow("ip4.src == $b"), [DP])
    changes = compiler.flush()
    assert [m.sets for m in changes.sets_removed] == [(1,)]
    assert [m.sets for m in changes.sets_added] == [(2,)], "the number 1 is not free yet"
    compiler.set_flow("u2", flow("ip4.dst == $a", uuid="u2"), [DP])
    assert [m.sets for m in compiler.flush().sets_added] == [(1,)]
    compiler.remove_flow("u1")
    compiler.remove_flow("u2")
    assert len(compiler.flush().sets_removed) == 2
    assert not list(compiler.members())


def test_a_port_that_joins_a_group_is_a_member_more() -> None:
    world = World(port_groups={(DP, "pg"): ["a"]}, ports={(DP, "a"): 1, (DP, "b"): 2})
    compiler, _ = compiled(flow("inport == @pg"), world)
    world.port_groups[DP, "pg"].append("b")
    compiler.port_group_changed("pg", DP)
    changes = compiler.flush()
    assert not changes.added and not changes.removed
    assert [m.value for m in changes.sets_added] == [(DP, 2, 0, 0)]
    world.ports[DP, "b"] = 3
    compiler.port_changed("b", DP)
    changes = compiler.flush()
    assert not changes.added and not changes.removed
    assert [m.value for m in changes.sets_removed] == [(DP, 2, 0, 0)]
    assert [m.value for m in changes.sets_added] == [(DP, 3, 0, 0)]


def test_template_variables_are_replaced_in_match_and_actions() -> None:
    world = World(templates={"mark": "7", "port": "80"})
    _, rules = compiled(flow("tcp.dst == ^port && ip4", "reg0 = ^mark; next;"), world)
    assert only(rules).values[-1] & 0xFFFF == 80
    assert decode(only(rules).insns)[0].b == 7


def test_a_flow_for_a_port_that_lives_elsewhere_waits_for_it() -> None:
    world = World()
    compiler, rules = compiled(flow('is_chassis_resident("cr") && ip4'), world)
    assert not rules
    world.residents.add("cr")
    compiler.residency_changed("cr")
    assert len(compiler.flush().added) == 1


def test_where_a_port_is_concerns_only_flows_that_ask_for_it() -> None:
    compiler, _ = compiled(flow('inport == "a" && ip4'))
    compiler.residency_changed("a")
    before = compiler.pending
    compiler.port_changed("a", DP)
    assert (before, compiler.pending) == (0, 1)


# --- what cannot be done ------------------------------------------------------


def problems(compiler: FlowCompiler) -> list[tuple[str, Problem, str]]:
    return [(u.uuid, u.problem, u.what) for u in compiler.unsupported()]


@pytest.fixture
def no_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if flood_remote were a verb of a release to come."""
    monkeypatch.delitem(actions._HANDLERS, nodes.FloodRemote)


@pytest.mark.usefixtures("no_flood")
def test_an_unsupported_verb_drops_what_the_flow_matches() -> None:
    compiler, rules = compiled(flow("ip4", "flood_remote;"))
    assert decode(only(rules).insns)[0] == Insn(lib.OP_DROP, a=lib.DROP_UNSUPPORTED)
    assert problems(compiler) == [("u1", Problem.VERB, "flood_remote")]
    (row,) = compiler.unsupported()
    assert (row.stage, row.datapaths) == ("ls_in_test", (DP,))


@pytest.mark.parametrize(
    "row",
    [
        flow("ip4 &&"),
        flow("no.such == 1"),
        flow("ip4", "frobnicate;"),
        flow("ip4", "reg0 = ;"),
        flow("ip4.src == $missing"),
        flow("inport == @missing"),
        flow("tcp.dst == ^missing"),
        flow("1", table=lib.OVN_TABLE_AGENT),
        flow("1", table=-1),
        flow("1", pipeline=EGRESS, table=64),
        flow("1", pipeline=7),
        flow("1", priority=70000),
    ],
)
def test_an_invalid_flow_costs_itself_only(row: LogicalFlow) -> None:
    compiler = FlowCompiler(World())
    compiler.set_flow("u0", flow("ip4", uuid="u0"), [DP])
    compiler.set_flow("u1", row, [DP])
    assert len(logical(compiler.flush().added)) == 1
    ((uuid, problem, what),) = problems(compiler)
    assert (uuid, problem) == ("u1", Problem.INVALID)
    assert what


def test_a_mistake_in_a_long_text_is_told_in_few_words() -> None:
    compiler, _ = compiled(flow(" && ".join(["ip4"] * 5000) + " && frob == 1"))
    ((_, problem, what),) = problems(compiler)
    assert problem is Problem.INVALID
    assert "frob" in what and "column 35001" in what
    assert len(what) < 200


words = st.sampled_from(
    ["ip4", "tcp.dst", "==", "!=", "{", "}", "(", ")", "&&", "||", "!", "80", "0x", "$as", "@pg"]
    + ['"lp"', "inport", "next", ";", "reg0", "=", "xxreg1[3..4]", "<->", "clone", "10.0.0.0/8"]
    + ["outport", ",", "ct_next", "drop", "^v", "output", "fe80::1", "check_in_port_sec", "[0]"]
)


@given(
    st.lists(words).map(" ".join) | st.text(max_size=20),
    st.lists(words).map(" ".join) | st.text(max_size=20),
    st.integers(-5, 200),
    st.integers(-5, 100_000),
)
def test_whatever_a_row_says_the_compiler_lives_on(
    match: str, actions: str, table: int, priority: int
) -> None:
    world = World(address_sets={"as": ["10.0.0.1", "x"]}, port_groups={(DP, "pg"): ["lp"]})
    compiler, rules = compiled(flow(match, actions, table=table, priority=priority), world)
    assert all(0 <= r.prio <= 0xFFFF and 0 <= r.table < lib.OVN_TABLE_AGENT for r in rules)
    for rule in rules:
        assert decode(rule.insns)[-1] == Insn(lib.OP_END)
    assert list(compiler.dump())


def test_a_flow_that_explodes_is_left_out() -> None:
    world = World(
        address_sets={
            "a": [f"10.0.{n >> 8}.{n & 255}" for n in range(200)],
            "b": [f"10.1.{n >> 8}.{n & 255}" for n in range(MAX_DISJUNCTS // 200 + 1)],
        }
    )
    compiler, rules = compiled(flow("arp.spa == $a && arp.tpa == $b"), world)
    assert not rules
    ((_, problem, what),) = problems(compiler)
    assert problem is Problem.MATCH
    assert str(MAX_DISJUNCTS) in what


@pytest.mark.usefixtures("no_flood")
def test_a_problem_is_news_once_and_gone_with_its_cause() -> None:
    compiler, _ = compiled(flow("ip4", "flood_remote;"))
    assert [n.what for n in compiler.take_news()] == ["flood_remote"]
    assert not compiler.take_news()
    compiler.set_flow("u1", flow("ip4", "next;"), [DP])
    compiler.flush()
    assert not compiler.take_news()
    assert not problems(compiler)


# --- changes -----------------------------------------------------------------


def test_the_flow_of_lower_priority_surfaces() -> None:
    compiler = FlowCompiler(World())
    low, high = flow("ip4", uuid="u1", priority=1), flow("ip4", "drop;", uuid="u2", priority=2)
    compiler.set_flow("u1", low, [DP])
    compiler.set_flow("u2", high, [DP])
    assert only(logical(compiler.flush().added)).prio == 2
    compiler.remove_flow("u2")
    changes = compiler.flush()
    assert only(changes.removed).prio == 2
    assert only(changes.added).prio == 1


def test_a_changed_set_compiles_only_the_flows_that_use_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(address_sets={"a": ["10.0.0.1"], "b": ["10.0.0.2"]})
    compiler = FlowCompiler(world)
    compiler.set_flow("u1", flow("arp.spa == $a", uuid="u1"), [DP])
    compiler.set_flow("u2", flow("arp.spa == $b", uuid="u2"), [DP])
    compiler.flush()
    world.address_sets["a"].append("10.0.0.3")
    world.address_sets["b"] = []
    compiler.address_set_changed("a")
    changes = compiler.flush()
    assert not changes.removed, "a member more is a rule more and nothing else"
    assert only(changes.added).values[-1] == 0x0A000003
    compiler.address_set_changed("b")
    assert only(compiler.flush().removed).values[-1] == 0x0A000002


def test_a_member_of_a_set_by_number_changes_no_rule() -> None:
    world = World(address_sets={"a": ["10.0.0.1"]})
    compiler = FlowCompiler(world)
    for n in range(20):
        compiler.set_flow(f"u{n}", flow("ip4.src == $a", uuid=f"u{n}", priority=n), [DP])
    compiler.flush()
    world.address_sets["a"].append("10.0.0.3")
    compiler.address_set_changed("a")
    assert not compiler._dirty
    changes = compiler.flush()
    assert not changes.removed and not changes.added
    assert [m.value[0] for m in changes.sets_added] == [0x0A000003]


def test_a_group_that_changes_on_one_datapath_touches_no_other() -> None:
    world = World(ports={(1, "_MC_flood"): 32768, (2, "_MC_flood"): 32768})
    compiler = FlowCompiler(world)
    compiler.set_flow("u1", flow("ip4", 'outport = "_MC_flood"; output;'), [1, 2])
    compiler.flush()
    world.ports = {(1, "_MC_flood"): 32769, (2, "_MC_flood"): 32769}
    compiler.port_changed("_MC_flood", dp=2)
    changes = compiler.flush()
    assert {r.dp for r in changes.removed + changes.added} == {2}


def test_a_name_that_was_missing_brings_the_flow_back() -> None:
    world = World()
    compiler, rules = compiled(flow("ip4.src == $late"), world)
    assert not rules
    world.address_sets["late"] = ["10.0.0.1"]
    compiler.address_set_changed("late")
    assert len(compiler.flush().added) == 1
    assert not problems(compiler)


def test_the_number_of_a_removed_flow_is_free_after_the_flush() -> None:
    compiler, rules = compiled(flow("ip4"))
    number = only(rules).flow
    compiler.remove_flow("u1")
    compiler.set_flow("u2", flow("ip4", uuid="u2"), [DP])
    assert only(logical(compiler.flush().added)).flow != number
    compiler.set_flow("u3", flow("ip6", uuid="u3"), [DP])
    assert only(logical(compiler.flush().added)).flow == number


def test_side_tables_have_defaults_as_long_as_the_datapath_has_flows() -> None:
    compiler = FlowCompiler(World())
    compiler.set_flow("u1", flow("ip4"), [DP])
    compiler.set_flow("u2", flow("ip6", uuid="u2"), [DP])
    assert {r.table for r in compiler.flush().added if not r.mask} == SIDE_TABLES
    compiler.remove_flow("u1")
    assert not SIDE_TABLES & {r.table for r in compiler.flush().removed}
    compiler.remove_flow("u2")
    assert {r.table for r in compiler.flush().removed} == SIDE_TABLES | {4}
    assert not list(compiler.rules())


def test_port_security_comes_and_goes_with_the_port() -> None:
    compiler = FlowCompiler(World())
    compiler.set_port_security(DP, 1, "lp1", ["0a:00:00:00:00:01 10.0.0.1", "rubbish"])
    rules = compiler.flush().added
    assert {r.table for r in rules} == SECURITY_TABLES
    assert all(r.flow == 0 for r in rules)
    assert [u.problem for u in compiler.unsupported()] == [Problem.INVALID]
    compiler.set_port_security(DP, 1, "lp1", ["0a:00:00:00:00:01 10.0.0.2"])
    changes = compiler.flush()
    assert changes.removed and changes.added
    assert not list(compiler.unsupported())
    compiler.remove_port_security(DP, 1)
    compiler.flush()
    assert not list(compiler.rules())


def test_a_dump_tells_stage_match_actions_and_flow() -> None:
    compiler, _ = compiled(flow("ip4 && ip.ttl == 1", "reg0[1] = 1; output;"))
    (line,) = [line for line in compiler.dump() if "table=4" in line]
    assert line == (
        "dp=0x3 ingress table=4 priority=100 flow=u1"
        " match=(eth.type == 0x800 && ip.ttl == 0x1) actions=(reg0[1] = 0x1; output; end)"
    )


def test_work_in_slices_comes_to_the_same() -> None:
    world = World(ports={(1, "p1"): 1, (2, "p1"): 2})
    found = []
    for sliced in (False, True):
        compiler = FlowCompiler(world)
        for n in range(50):
            row = LogicalFlow(str(n), 0, n % 3, n, f'inport == "p1" && tcp.dst == {n}', "next;")
            compiler.set_flow(str(n), row, [1, 2])
        rounds = 0
        while sliced and not compiler.work(0):
            rounds += 1
        assert not sliced or rounds > 10
        found.append(compiler.flush())
    assert sorted(found[0].added, key=str) == sorted(found[1].added, key=str) != []
