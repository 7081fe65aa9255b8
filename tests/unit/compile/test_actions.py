# SPDX-License-Identifier: Apache-2.0
"""Logical actions as instructions: encodings, and what they do to words."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import (
    EGRESS,
    INGRESS,
    TABLES,
    Lowered,
    lower,
    verb,
)
from ovn_bpf_controller.compile.insns import Insn, decode
from ovn_bpf_controller.compile.telling import About
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import parse_actions
from tests.support.machine import Machine, Words

FULL32 = 0xFFFFFFFF
PORTS = {"lp1": 1, "_MC_flood": 32768}


def low(*actions: nodes.Action, pipeline: int = INGRESS, table: int = 5) -> Lowered:
    return lower(actions, pipeline, table, lambda name: PORTS.get(name, 0))


def code(*actions: nodes.Action, pipeline: int = INGRESS, table: int = 5) -> list[Insn]:
    lowered = low(*actions, pipeline=pipeline, table=table)
    assert not lowered.unsupported
    insns = decode(lowered.insns)
    assert insns.pop() == Insn(lib.OP_END)
    return insns


def reg(n: int, offset: int = 0, width: int = 32) -> nodes.Field:
    return nodes.Field(f"reg{n}", f"reg{n}", offset, width)


def field(root: str, width: int, offset: int = 0) -> nodes.Field:
    return nodes.Field(root, root, offset, width)


INPORT = nodes.Field("inport", "inport", 0, 32, string=True)
OUTPORT = nodes.Field("outport", "outport", 0, 32, string=True)
ETH_SRC = field("eth.src", 48)
ETH_DST = field("eth.dst", 48)


# --- encodings -----------------------------------------------------------


def test_next_goes_to_the_following_table_of_the_same_pipeline() -> None:
    assert code(nodes.Next()) == [Insn(lib.OP_NEXT, src=0, aux=6)]
    assert code(nodes.Next(), pipeline=EGRESS, table=0) == [Insn(lib.OP_NEXT, src=1, aux=1)]


def test_next_with_arguments_goes_where_they_say() -> None:
    assert code(nodes.Next(None, 17)) == [Insn(lib.OP_NEXT, src=0, aux=17)]
    assert code(nodes.Next("ingress", 2), pipeline=EGRESS) == [Insn(lib.OP_NEXT, src=0, aux=2)]
    assert code(nodes.Next("egress", 3)) == [Insn(lib.OP_NEXT, src=1, aux=3)]


@pytest.mark.parametrize("pipeline", [INGRESS, EGRESS])
def test_next_never_reaches_the_tables_of_others(pipeline: int) -> None:
    last = TABLES[pipeline] - 1
    assert code(nodes.Next(None, last), pipeline=pipeline)[0].aux == last
    assert low(nodes.Next(), pipeline=pipeline, table=last).unsupported == (
        f"next to table {last + 1}",
    )


def test_output_drop_ttl_and_ct_clear_are_one_instruction_each() -> None:
    assert code(nodes.Output()) == [Insn(lib.OP_OUTPUT)]
    assert code(nodes.Drop()) == [Insn(lib.OP_DROP, a=lib.DROP_ACTION)]
    assert code(nodes.DecTtl()) == [Insn(lib.OP_DEC_TTL)]
    assert code(nodes.CtClear()) == [Insn(lib.OP_CT_CLEAR)]


def test_no_action_at_all_is_a_drop() -> None:
    assert code() == [Insn(lib.OP_DROP, a=lib.DROP_ACTION)]


def test_a_constant_is_cut_into_words() -> None:
    mac = nodes.Load(ETH_DST, 0x0102_03040506, (1 << 48) - 1)
    assert sorted(code(mac)) == [
        Insn(lib.OP_SET, dst=lib.OW_ETH_DST, a=0xFFFF, b=0x0102),
        Insn(lib.OP_SET, dst=lib.OW_ETH_DST + 1, a=FULL32, b=0x03040506),
    ]


def test_a_bit_of_a_register_is_set_alone() -> None:
    assert code(nodes.Load(reg(0, 9, 1), 1, 1)) == [
        Insn(lib.OP_SET, dst=lib.OW_REG0, a=1 << 9, b=1 << 9)
    ]


def test_a_masked_constant_leaves_the_other_bits() -> None:
    assert code(nodes.Load(reg(1), 0x10, 0xF0)) == [
        Insn(lib.OP_SET, dst=lib.OW_REG0 + 1, a=0xF0, b=0x10)
    ]


@pytest.mark.parametrize(
    ("name", "key"), [("lp1", 1), ("_MC_flood", 32768), ("nowhere", 0), ("", 0)]
)
def test_port_names_become_keys_and_unknown_ones_zero(name: str, key: int) -> None:
    assert code(nodes.Load(OUTPORT, name, FULL32)) == [
        Insn(lib.OP_SET, dst=lib.OW_OUTPORT, a=FULL32, b=key)
    ]


def test_port_security_calls_its_side_tables() -> None:
    for check, table in (
        (nodes.CheckInPortSec, lib.OVN_TABLE_IN_PORT_SEC),
        (nodes.CheckOutPortSec, lib.OVN_TABLE_OUT_PORT_SEC),
    ):
        assert code(check(reg(0, 15, 1))) == [
            Insn(lib.OP_CALL, dst=lib.OW_REG0, aux=table, a=15, b=lib.OVN_RES_DROP)
        ]


def test_fdb_verbs_name_the_words_of_port_and_mac() -> None:
    assert code(nodes.GetFdb(OUTPORT, ETH_DST)) == [Insn(lib.OP_GET_FDB, src=lib.OW_ETH_DST)]
    assert code(nodes.LookupFdb(reg(0, 11, 1), INPORT, ETH_SRC)) == [
        Insn(lib.OP_LOOKUP_FDB, dst=lib.OW_REG0, a=11, src=lib.OW_ETH_SRC, b=lib.OW_INPORT)
    ]
    assert code(nodes.PutFdb(INPORT, ETH_SRC)) == [
        Insn(lib.OP_PUT_FDB, src=lib.OW_ETH_SRC, b=lib.OW_INPORT)
    ]


def test_a_clone_counts_its_own_instructions() -> None:
    insns = code(nodes.Clone((nodes.Load(reg(0), 1, FULL32), nodes.Output())), nodes.Next())
    assert [i.op for i in insns] == [
        lib.OP_CLONE,
        lib.OP_SET,
        lib.OP_OUTPUT,
        lib.OP_END,
        lib.OP_NEXT,
    ]
    assert insns[0].a == 3


def test_neighbour_advertisements_carry_their_flags() -> None:
    for kind, flags in ((nodes.NdNa, 0x60), (nodes.NdNaRouter, 0xE0)):
        insns = code(kind((nodes.Output(),)))
        assert insns == [
            Insn(lib.OP_CLONE, a=3),
            Insn(lib.OP_ND_NA, a=flags),
            Insn(lib.OP_OUTPUT),
            Insn(lib.OP_END),
        ]


# --- slow path --------------------------------------------------------------


def test_what_is_the_slow_path_s_business_alone_stops_nothing() -> None:
    alone = low(nodes.Igmp())
    assert [insn.op for insn in decode(alone.insns)] == [lib.OP_PUNT, lib.OP_END]
    first = low(nodes.Igmp(), nodes.Next())
    ops = [insn.op for insn in decode(first.insns)]
    assert ops == [lib.OP_CLONE, lib.OP_PUNT, lib.OP_END, lib.OP_NEXT, lib.OP_END]


def test_an_event_s_argument_is_what_happened() -> None:
    text = 'trigger_event(event = "empty_lb_backends", vip = "10.0.0.1:80", protocol = "tcp");'
    lowered = low(*parse_actions(text))
    [(number, said)] = lowered.arguments
    info = {"vip": "10.0.0.1:80", "protocol": "tcp"}
    assert json.loads(said) == {"event": "empty_lb_backends", "info": info}
    ask = decode(lowered.insns)[0]
    assert (ask.op, ask.a, ask.b) == (lib.OP_PUNT, lib.OVN_PUNT_EVENT, number)


# --- what is not supported --------------------------------------------------


class OfTheFuture(nodes.Action):
    """A verb that nobody knows yet."""


def test_a_verb_that_is_not_supported_makes_the_whole_list_a_drop() -> None:
    lowered = low(OfTheFuture(), nodes.Next(), nodes.Clone((OfTheFuture(), OfTheFuture())))
    assert lowered.unsupported == ("of_the_future",)
    assert decode(lowered.insns) == [Insn(lib.OP_DROP, a=lib.DROP_UNSUPPORTED), Insn(lib.OP_END)]


def test_a_field_that_the_context_lacks_is_named() -> None:
    move = nodes.Move(field("reg0", 32), field("icmp4.inner_ip4.src", 32))
    assert low(move).unsupported == ("field icmp4.inner_ip4.src",)


def test_what_evpn_would_have_learnt_is_not_there() -> None:
    """Such flows are northd's for switches with a VNI of EVPN; their packets go on."""
    found = low(*parse_actions("outport = get_remote_fdb(eth.dst); next;"))
    assert decode(found.insns)[0] == Insn(lib.OP_SET, dst=lib.OW_OUTPORT, a=0xFFFFFFFF)
    assert not found.unsupported
    found = low(*parse_actions("reg0[6] = chk_evpn_arp(arp.tpa); next;"))
    assert decode(found.insns)[0] == Insn(lib.OP_SET, dst=lib.OW_REG0, a=1 << 6)
    assert not found.unsupported


def test_the_quoted_source_is_an_operand() -> None:
    found = decode(low(*parse_actions("icmp4.inner_ip4.src = 10.0.0.1; next;")).insns)
    assert found[0] == Insn(lib.OP_QUOTED_SRC, b=0x0A000001)


def test_a_log_goes_on_and_passes_only_itself_over_when_metered() -> None:
    lowered = low(nodes.Log("drop", "a", meter="m"), nodes.Log("allow", "b"), nodes.Next())
    insns = decode(lowered.insns)
    assert [i.op for i in insns] == [lib.OP_METER, lib.OP_LOG, lib.OP_LOG, lib.OP_NEXT, lib.OP_END]
    assert (insns[0].src, insns[0].c) == (0, 1)
    assert [i.src for i in insns[1:3]] == [1, 0]
    assert lowered.told.meters == {"m": None}
    assert [insns[1].b, insns[2].b] == list(lowered.told.logs)
    assert not lowered.arguments  # nothing for the slow path


def test_a_metered_flow_ends_where_nothing_else_is_to_be_done() -> None:
    about = About(meter="m")

    def metered(*actions: nodes.Action) -> Insn:
        return decode(lower(actions, INGRESS, 5, lambda _: 0, about=about).insns)[0]

    learn = nodes.PutArp(INPORT, reg(0), ETH_SRC)
    assert metered(nodes.Reject((nodes.Output(),))).src == lib.DROP_COPP
    assert metered(nodes.DnsLookup(reg(0, 3, 1)), nodes.Next()).src == lib.DROP_COPP
    whole = len(decode(low(learn).insns)) - 1
    first = metered(learn, nodes.Next())
    assert (first.op, first.src, first.c) == (lib.OP_METER, 0, whole)
    assert metered(nodes.Next()).op == lib.OP_NEXT


def test_verbs_are_named_as_ovn_names_them() -> None:
    assert verb(nodes.NdNaRouter()) == "nd_na_router"
    assert verb(nodes.CtSnatInCzone()) == "ct_snat_in_czone"
    assert verb(nodes.PutDhcpv6Opts(reg(0, 3, 1), ())) == "put_dhcpv6_opts"
    assert verb(nodes.Icmp4Error()) == "icmp4_error"


# --- moves, against what they mean --------------------------------------------

REGISTERS = [f"reg{n}" for n in range(10)] + [f"xreg{n}" for n in range(5)] + ["xxreg0", "xxreg1"]
HEADERS = ["eth.src", "eth.dst", "ip6.src", "ip6.dst", "nd.target", "ip4.src", "arp.spa"]
WIDTHS = {"eth.src": 48, "eth.dst": 48, "ip4.src": 32, "arp.spa": 32} | {
    name: {"r": 32, "x": 64}.get(name[0], 128) if "xx" not in name else 128
    for name in [*REGISTERS, "ip6.src", "ip6.dst", "nd.target"]
}


@st.composite
def two_fields(draw: st.DrawFn) -> tuple[nodes.Field, nodes.Field]:
    roots = [draw(st.sampled_from(REGISTERS + HEADERS)) for _ in range(2)]
    width = draw(st.integers(1, min(WIDTHS[r] for r in roots)))
    fields = [field(r, width, draw(st.integers(0, WIDTHS[r] - width))) for r in roots]
    return fields[0], fields[1]


@st.composite
def contexts(draw: st.DrawFn) -> Words:
    rng = random.Random(draw(st.integers(0, 1 << 32)))
    return Words([rng.getrandbits(32) for _ in range(lib.OVN_WORDS)])


def run(words: Words, *actions: nodes.Action) -> Words:
    after = words.copy()
    machine = Machine([])
    machine._stack = []
    machine.run(decode(low(*actions).insns), after, egress=False)
    for word in range(lib.OW_TMP, lib.OW_TMP + 4):
        after[word] = words[word]  # of no account between actions
    return after


def value(words: Words, f: nodes.Field) -> int:
    return words.get(f.root, f.offset, f.width)


def with_value(words: Words, f: nodes.Field, to: int) -> Words:
    after = words.copy()
    after.put(f.root, to, f.offset, f.width)
    return after


@given(two_fields(), contexts())
def test_a_move_copies_the_value_and_nothing_else(
    fields: tuple[nodes.Field, nodes.Field], words: Words
) -> None:
    dst, src = fields
    assert run(words, nodes.Move(dst, src)) == with_value(words, dst, value(words, src))


@given(two_fields(), contexts())
def test_an_exchange_gives_each_the_value_of_the_other(
    fields: tuple[nodes.Field, nodes.Field], words: Words
) -> None:
    a, b = fields
    expected = with_value(with_value(words, b, value(words, a)), a, value(words, b))
    assert run(words, nodes.Exchange(a, b)) == expected


@given(two_fields(), contexts(), st.integers(min_value=0))
def test_a_load_sets_the_bits_under_its_mask(
    fields: tuple[nodes.Field, nodes.Field], words: Words, bits: int
) -> None:
    dst, other = fields
    mask = value(words, other)
    wanted = bits & mask
    expected = with_value(words, dst, value(words, dst) & ~mask | wanted)
    assert run(words, nodes.Load(dst, wanted, mask)) == expected


@given(two_fields(), contexts())
def test_what_is_pushed_comes_back_in_reverse_order(
    fields: tuple[nodes.Field, nodes.Field], words: Words
) -> None:
    a, b = fields
    expected = with_value(with_value(words, a, value(words, b)), b, value(words, a))
    actions = [nodes.Push(a), nodes.Push(b), nodes.Pop(a), nodes.Pop(b)]
    assert run(words, *actions) == expected


def test_a_narrow_value_popped_into_a_wide_field_is_padded_with_zeros() -> None:
    words = Words([FULL32] * lib.OVN_WORDS)
    after = run(words, nodes.Push(reg(9, 0, 8)), nodes.Pop(field("xxreg0", 128)))
    assert after.get("xxreg0") == 0xFF


@given(contexts(), st.integers(0, 80))
def test_a_mac_that_shares_its_words_is_looked_up_alone(words: Words, offset: int) -> None:
    mac = field("xxreg0", 48, offset)
    insns = code(nodes.GetFdb(OUTPORT, mac))
    machine = Machine([], fdb={(words[lib.OW_DP], value(words, mac)): 77})
    machine._stack = []
    machine.run([*insns, Insn(lib.OP_END)], words, egress=False)
    assert words.get("outport") == 77
