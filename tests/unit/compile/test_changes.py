# SPDX-License-Identifier: Apache-2.0
"""The flow compiler: any sequence of changes equals a compile from scratch."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import INGRESS
from ovn_bpf_controller.compile.compiler import FlowCompiler, LogicalFlow, RuleChanges
from ovn_bpf_controller.compile.lists import SideRule, Traits
from ovn_bpf_controller.compile.load_balancer import Central, LoadBalancer, expand
from ovn_bpf_controller.model import Rule, SetMember
from tests.support.world import World

PORTS = ["p1", "p2", "_MC_flood"]
LEARN = 'commit_lb_aff(vip = "10.9.9.9:80", backend = "10.0.0.1:80", proto = tcp, timeout = 5);'
KINDS = [Traits(), Traits(router=True), Traits(True, True), Traits(consolidated=True)]
BALANCERS = [
    LoadBalancer({"10.9.9.9:80": "10.0.0.1:80,10.0.0.2:80"}, "tcp", {"hairpin_orig_tuple": "true"}),
    LoadBalancer({"10.9.9.9:80": "10.0.0.1:80", "[fd99::9]:80": "[fd00::1]:80"}),
    LoadBalancer({"10.9.9.9": "10.0.0.2", "^vip": "10.0.0.1"}, "udp"),
    LoadBalancer({"10.9.9.9:80": "10.0.0.2:80"}, "tcp", {"hairpin_snat_ip": "1.1.1.1 fd01::1"}),
    LoadBalancer({"10.9.9.9:80": "fd00::1", "x": "y"}),
]
TEXTS = [
    ("1", "next;"),
    ("ip4", "drop;"),
    ('inport == "p1"', "next;"),
    ('inport == "p1" || inport == "p2"', 'outport = "p2"; output;'),
    ("inport == @pg1 && ip4.src == $as1", "next;"),
    ("outport == @pg1 || ip6.src == $as1", "next;"),
    ('arp.spa == $as1 && inport == @pg1 && inport == {@pg1, "p2"}', "next;"),
    ("ip4.src == $as1", "next;"),
    ("ip4.dst == $as1 && ip4.src == $as2", "ct_next;"),
    ("ip4.src != $as2", "next;"),
    ("ip4.src != $as2 && udp.src != {53, 1000} && udp.dst != {80, 443, 999}", "next;"),
    ("ip4.src != $as1 && tcp.src != {53, ^var} && eth.src != 0a:00:00:00:00:01", "next;"),
    ('is_chassis_resident("p1")', 'outport = "_MC_flood"; output;'),
    ('!is_chassis_resident("p2") && ip6', "drop;"),
    ("tcp.dst == ^var", "reg1 = ^var; next;"),
    ("nonsense ==", "next;"),
    ("ip4", "nonsense;"),
    ('outport == {"p1", "p2"}', "log(verdict=drop); next;"),
    ("ip4 && ct.new", "ct_commit { ct_mark.blocked = 0; }; ct_snat_in_czone;"),
    ("ip4.dst == ^vip", "ct_lb_mark(backends=10.0.0.1:80,10.0.0.2:80);"),
    ("ip4", 'ct_lb_mark_local(backends="p1":10.0.0.1:80,"p2":10.0.0.2:80);'),
    ("ip4 && reg9[6] == 1", f"{LEARN} ct_lb_mark(backends=^vip:80);"),
    ("ip6", "sample(probability=9, collector_set=1, obs_domain=1, obs_point=1); next;"),
    ("ip4", 'fwd_group(liveness="true", childports="p1", "p2");'),
    ("ip4", "reg9[6] = chk_lb_aff(); reg0[6] = chk_lb_hairpin(); ct_snat_to_vip; next;"),
]
UUIDS = "abcdefghijklmnopqrstuvwxyz"
PORT_SECURITY = [["0a:00:00:00:00:01"], ["0a:00:00:00:00:01 10.0.0.1"], ["bad"], []]

MEMBERS = [
    "10.0.0.1",
    "10.0.0.1/32",
    "10.0.0.0/24",
    "fd00::1",
    "fd00::/33",
    "10.0.0.1/0.0.0.1",
    "x",
]

change = st.one_of(
    st.tuples(
        st.just("flow"),
        st.sampled_from(UUIDS),
        st.sampled_from(TEXTS),
        st.integers(0, 2),
        st.sets(st.sampled_from([1, 2]), max_size=2),
    ),
    st.tuples(st.just("no_flow"), st.sampled_from(UUIDS)),
    st.tuples(
        st.just("address_set"),
        st.sampled_from(["as1", "as2"]),
        st.none() | st.lists(st.sampled_from(MEMBERS), max_size=3),
    ),
    st.tuples(
        st.just("port_group"),
        st.integers(1, 2),
        st.none() | st.lists(st.sampled_from(["p1", "p2", "p3"]), max_size=3),
    ),
    st.tuples(
        st.just("port"),
        st.sampled_from([1, 2]),
        st.sampled_from(PORTS),
        st.none() | st.integers(1, 3),
    ),
    st.tuples(st.just("resident"), st.sampled_from(["p1", "p2"]), st.booleans()),
    st.tuples(st.just("traits"), st.integers(1, 2), st.sampled_from(KINDS)),
    st.tuples(
        st.just("balancer"),
        st.sampled_from(["lb1", "lb2", "lb3"]),
        st.none() | st.sampled_from(BALANCERS),
        st.sets(st.sampled_from([1, 2, 3]), max_size=3),
        st.sampled_from([Central(), Central(True), Central(False, False)]),
    ),
    st.tuples(
        st.just("move_balancer"),
        st.sampled_from(["lb1", "lb2", "lb3"]),
        st.sets(st.sampled_from([1, 2, 3]), max_size=3),
    ),
    st.tuples(st.just("collector"), st.booleans()),
    st.tuples(st.just("tunnel"), st.integers(1, 2), st.sampled_from(["p1", "p2"])),
    st.tuples(st.just("template"), st.sampled_from(["80", "81", "x", None])),
    st.tuples(st.just("port_security"), st.integers(1, 2), st.sampled_from(PORT_SECURITY)),
)


class State:
    """A compiler, its world and the rules that it gave so far."""

    def __init__(self) -> None:
        self.world = World()
        self.compiler = FlowCompiler(self.world)
        self.live: dict[tuple[Any, ...], Rule] = {}
        self.members: dict[tuple[Any, ...], SetMember] = {}
        self.flows: dict[str, tuple[LogicalFlow, list[int]]] = {}
        self.security: dict[int, list[str]] = {}
        self.balancers: dict[str, tuple[list[SideRule], set[int]]] = {}

    def populate(self) -> None:
        """A flow of every kind on two datapaths, with most of what they name."""
        for n, texts in enumerate(TEXTS):
            self.do_flow(UUIDS[n], texts, n % 3, {1, 2})
        for dp in (1, 2):
            for key, name in enumerate(PORTS, 1):
                self.do_port(dp, name, key)
            self.do_port_group(dp, PORTS[:dp])
        self.do_address_set("as1", ["10.0.0.0/24"])
        self.do_template("80")
        self.do_flush()

    def apply(self, op: tuple[Any, ...]) -> None:
        getattr(self, "do_" + op[0])(*op[1:])

    def do_flow(self, uuid: str, texts: tuple[str, str], table: int, dps: set[int]) -> None:
        row = LogicalFlow(uuid, INGRESS, table, 100 + ord(uuid) % 3, *texts)
        self.flows[uuid] = (row, sorted(dps))
        self.compiler.set_flow(uuid, *self.flows[uuid])

    def do_no_flow(self, uuid: str) -> None:
        self.flows.pop(uuid, None)
        self.compiler.remove_flow(uuid)

    def do_address_set(self, name: str, members: list[str] | None) -> None:
        # As a list from whoever, or as the Southbound's rows have them.
        plain = members is None or len(members) % 2
        _set(self.world.address_sets, name, members if plain else tuple(sorted(set(members or ()))))
        self.compiler.address_set_changed(name)

    def do_port_group(self, dp: int, members: list[str] | None) -> None:
        _set(self.world.port_groups, (dp, "pg1"), members)
        self.compiler.port_group_changed("pg1", dp)

    def do_port(self, dp: int, name: str, key: int | None) -> None:
        _set(self.world.ports, (dp, name), key)
        self.compiler.port_changed(name, dp)

    def do_resident(self, lport: str, here: bool) -> None:
        (self.world.residents.add if here else self.world.residents.discard)(lport)
        self.compiler.residency_changed(lport)

    def do_collector(self, here: bool) -> None:
        self.world.collectors = {1} if here else set()
        self.compiler.collector_changed(1)

    def do_tunnel(self, dp: int, name: str) -> None:
        self.world.tunnelled ^= {(dp, name)}
        self.compiler.tunnels_changed()

    def do_template(self, value: str | None) -> None:
        _set(self.world.templates, "var", value)
        self.compiler.template_changed("var")

    def do_port_security(self, key: int, strings: list[str]) -> None:
        self.security[key] = strings
        self.compiler.set_port_security(1, key, f"p{key}", strings)

    def do_traits(self, dp: int, traits: Traits) -> None:
        self.world.kinds[dp] = traits
        self.compiler.traits_changed(dp)

    def do_balancer(
        self, name: str, row: LoadBalancer | None, dps: set[int], central: Central
    ) -> None:
        rules = expand(row, {"vip": "10.8.8.8"}, central)[0] if row else []
        self.balancers[name] = (rules, dps)
        self.compiler.set_side_rules(name, rules, dps)

    def do_move_balancer(self, name: str, dps: set[int]) -> None:
        rules, where = self.balancers.get(name, ([], set()))
        if self.compiler.move_side_rules(name, dps):
            self.balancers[name] = (rules, dps)
        else:
            assert not rules or not where, "there was something to move"

    def do_flush(self) -> None:
        self.take(self.compiler.flush())

    def take(self, changes: RuleChanges) -> None:
        for rule in changes.removed:
            assert self.live.pop(key_of(rule)) == rule
        for rule in changes.added:
            assert key_of(rule) not in self.live
            self.live[key_of(rule)] = rule
        for member in changes.sets_removed:
            assert self.members.pop((member.kind, member.plen, member.value)) == member
        for member in changes.sets_added:
            assert self.members.get((member.kind, member.plen, member.value)) != member
            self.members[member.kind, member.plen, member.value] = member

    def from_scratch(self) -> FlowCompiler:
        fresh = FlowCompiler(copy.deepcopy(self.world))
        for key, strings in self.security.items():
            fresh.set_port_security(1, key, f"p{key}", strings)
        for name, (rules, where) in self.balancers.items():
            fresh.set_side_rules(name, rules, where)
        for uuid, (row, dps) in self.flows.items():
            fresh.set_flow(uuid, row, dps)
        return fresh


def _set(where: dict[Any, Any], name: Any, value: Any) -> None:
    if value is None:
        where.pop(name, None)
    else:
        where[name] = value


def key_of(rule: Rule) -> tuple[Any, ...]:
    return rule.dp, rule.table, rule.mask, rule.values


def told(compiler: FlowCompiler, rules: Iterable[Rule]) -> set[tuple[Any, ...]]:
    """Rules with the names of their flows and sets, since numbers depend on history."""
    ids = compiler.flow_ids
    found: set[tuple[Any, ...]] = set()
    for r in rules:
        pairs = zip(r.mask, r.values, strict=True)
        key = [(w, m, compiler.set_name(v) if w >= lib.OW_SETS else v) for (w, m), v in pairs]
        found.add((r.dp, r.table, tuple(key), r.prio, r.insns, ids.uuid(r.flow) if r.flow else ""))
    return found


def told_members(compiler: FlowCompiler, rows: Iterable[SetMember]) -> set[tuple[Any, ...]]:
    return {
        (m.kind, m.plen, m.value, frozenset(compiler.set_name(n) for n in m.sets)) for m in rows
    }


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(change, st.booleans()), max_size=30))
def test_any_sequence_of_changes_equals_a_compile_from_scratch(
    ops: list[tuple[tuple[Any, ...], bool]],
) -> None:
    state = State()
    state.populate()
    for op, flush in ops:
        state.apply(op)
        if flush:
            state.do_flush()
    state.do_flush()
    fresh = state.from_scratch()
    expected = fresh.flush()
    assert told(state.compiler, state.live.values()) == told(fresh, expected.added)
    assert told_members(state.compiler, state.members.values()) == told_members(
        fresh, expected.sets_added
    )
    assert set(state.members.values()) == set(state.compiler.members())
    assert all(m.sets == tuple(sorted(m.sets)) and m.sets for m in state.members.values())
    assert set(state.live.values()) == set(state.compiler.rules())
    assert set(state.compiler.unsupported()) == set(fresh.unsupported())
    assert state.compiler._users._of == fresh._users._of, "the index of names is not what is used"
    assert state.compiler._dp_users == fresh._dp_users
    assert not state.compiler.flush(), "nothing is due after a flush"
