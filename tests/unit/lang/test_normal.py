# SPDX-License-Identifier: Apache-2.0
"""Normal form: equal to the direct evaluation, small, and bounded."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from ovn_bpf_controller.errors import LangError, UnsupportedError
from ovn_bpf_controller.lang.evaluate import conj_holds, evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import Conj, disjuncts
from ovn_bpf_controller.lang.terms import merge
from tests.unit.lang import grammar
from tests.unit.lang.packets import loose_packets

ENV = grammar.Env()
LIMIT = 16384
IP4 = ("eth.type", 0x800, 0xFFFF)
IP6 = ("eth.type", 0x86DD, 0xFFFF)


class Sets(grammar.Env):
    """Address sets given by the test; the rest as in grammar."""

    def __init__(self, **sets: Sequence[str]) -> None:
        self.sets = sets

    def address_set(self, name: str) -> Sequence[str] | None:
        return self.sets.get(name)


def normal(text: str, env: grammar.Env = ENV, limit: int = LIMIT) -> list[Conj]:
    return disjuncts(parse_match(text), env, limit)


def ip4_src(value: int, bits: int = 32) -> Conj:
    return (IP4, ("ip4.src", value, (1 << 32) - (1 << (32 - bits))))


@settings(grammar.PATIENT, max_examples=400)
@given(text=grammar.matches(), packets=st.lists(loose_packets(), min_size=3, max_size=12))
def test_normal_form_is_true_exactly_when_the_match_is(
    text: str, packets: list[dict[str, int]]
) -> None:
    expr = parse_match(text)
    try:
        found = disjuncts(expr, ENV, 1 << 14)
    except UnsupportedError:
        reject()
    for packet in packets:
        assert any(conj_holds(conj, packet) for conj in found) == evaluate(expr, packet, ENV)


@settings(grammar.PATIENT, max_examples=300)
@given(text=grammar.matches())
def test_every_conjunction_can_be_met_and_shows_its_match_true(text: str) -> None:
    """A packet built from a conjunction alone satisfies the match."""
    expr = parse_match(text)
    try:
        found = disjuncts(expr, ENV, 1 << 12)
    except UnsupportedError:
        reject()
    for conj in found[:200]:
        packet = {root: value for root, value, _ in conj}
        assert evaluate(expr, packet, ENV)
        assert conj == tuple(sorted(conj))
        assert all(mask and value & ~mask == 0 for _, value, mask in conj)


@settings(grammar.PATIENT, max_examples=300)
@given(text=grammar.matches())
def test_no_conjunction_covers_another(text: str) -> None:
    try:
        found = normal(text, limit=300)
    except UnsupportedError:
        reject()
    if len({tuple((root, mask) for root, _, mask in conj) for conj in found}) > 256:
        reject()
    for general in found:
        for special in found:
            assert general is special or merge(general, special) != special


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [()]),
        ("0", []),
        ("ip4 && ip6", []),
        ("ip4 && arp", []),
        ("tcp && udp", []),
        ("ip4.dst == 0.0.0.0/0", [(IP4,)]),
        ("ip4.dst != 0.0.0.0/0", []),
        ("ip4 && tcp", [(IP4, ("ip.proto", 6, 255))]),
        ("ip", [(IP4,), (IP6,)]),
        ("ip4.src == {10.0.0.0/8, 10.0.0.1}", [ip4_src(0x0A000000, 8)]),
        ("ip4.src == 10.0.0.0/8 && ip4.src == 10.0.0.1", [ip4_src(0x0A000001)]),
        ("ip4.src == {10.0.0.1, 10.0.0.2} && ip4.src != 10.0.0.1", [ip4_src(0x0A000002)]),
        ("ip4.src == 10.0.0.0/31 && ip4.src != 10.0.0.1", [ip4_src(0x0A000000)]),
        ("ip.frag == 3 && !ip.later_frag", []),
        ("flags.loopback && !flags.loopback", []),
    ],
)
def test_small_matches(text: str, expected: list[Conj]) -> None:
    assert normal(text) == expected


def test_range_is_cut_into_the_fewest_prefixes() -> None:
    ports = [
        (value, mask)
        for conj in normal("ip4 && 1000 <= tcp.dst <= 2000")
        for root, value, mask in conj
        if root == "tcp.dst"
    ]
    assert ports == [
        (1000, 0xFFF8), (1008, 0xFFF0), (1024, 0xFE00), (1536, 0xFF00), (1792, 0xFF80),
        (1920, 0xFFC0), (1984, 0xFFF0), (2000, 0xFFFF),
    ]  # fmt: skip


def test_range_that_is_everything_or_nothing() -> None:
    assert normal("reg0 >= 0") == [()]
    assert normal("reg0 <= 0xffffffff") == [()]
    assert normal("reg0 < 0") == []
    assert normal("reg0 > 0xffffffff") == []
    assert normal("5 < reg0 < 5") == []
    assert normal("reg0 > 4 && reg0 < 6") == [(("reg0", 5, 0xFFFFFFFF),)]


def test_not_of_a_field_keeps_its_prerequisite_positive() -> None:
    for conj in normal("!(tcp.dst == 80)"):
        assert ("ip.proto", 6, 255) in conj
        assert IP4 in conj or IP6 in conj
    assert len(normal("ip4 && !(tcp.dst == 80)")) == 16


def test_not_of_a_predicate_negates_its_prerequisites_too() -> None:
    """As OVN does: !ip4.mcast is true of an ARP packet."""
    expr = parse_match("!ip4.mcast")
    assert evaluate(expr, {"eth.type": 0x806, "eth.dst": (1 << 48) - 1}, ENV)
    assert any(conj_holds(c, {"eth.type": 0x806}) for c in normal("!ip4.mcast"))


def test_overlapping_registers_agree() -> None:
    full = 0xFFFFFFFF
    assert normal("xxreg0 == fd00::1 && reg3 == 2") == []
    assert normal("xreg0 == 0x100000002 && reg0 == 1") == [(("reg0", 1, full), ("reg1", 2, full))]
    assert normal("xxreg1[0..63] == 5 && xreg3 == 5 && reg6 == 0") == [
        (("reg6", 0, full), ("reg7", 5, full))
    ]
    assert normal("xreg4 == 7") == [(("reg8", 0, full), ("reg9", 7, full))]
    assert normal("xreg0[24..39] == 0x1234") == [
        (("reg0", 0x12, 0xFF), ("reg1", 0x34000000, 0xFF000000))
    ]


def test_a_wide_register_unequal_to_a_value() -> None:
    assert len(normal("xxreg0 != fd00::1")) == 128
    assert normal("xxreg0 != fd00::1 && xxreg0 == fd00::/127") == [
        (
            ("reg0", 0xFD000000, 0xFFFFFFFF),
            ("reg1", 0, 0xFFFFFFFF),
            ("reg2", 0, 0xFFFFFFFF),
            ("reg3", 0, 0xFFFFFFFF),
        )
    ]


def test_mask_of_128_bits_with_holes() -> None:
    found = normal("ip6.src == fd00::1/ff00::1")
    assert found == [(IP6, ("ip6.src", (0xFD << 120) | 1, (0xFF << 120) | 1))]
    unequal = normal("ip6.src != fd00::1/ff00::1")
    assert len(unequal) == 9
    assert all(any(r == "ip6.src" for r, _, _ in conj) for conj in unequal)


def test_remote_outport_is_reg1_and_rarp_is_arp() -> None:
    assert normal('remote_outport == "p3"') == [(("reg1", 3, 0xFFFFFFFF),)]
    assert normal('remote_outport == "p3" && reg1 == 2') == []
    assert normal("rarp.op == 3 && arp.op == 3") == []
    assert normal("rarp.op == 3") == [(("arp.op", 3, 0xFFFF), ("eth.type", 0x8035, 0xFFFF))]


def test_port_without_a_key_never_matches() -> None:
    assert normal('inport == "gone"') == []
    assert normal('inport == {"gone", "p2"}') == [(("inport", 2, 0xFFFFFFFF),)]
    assert normal("inport == @strangers") == [(("inport", 2, 0xFFFFFFFF),)]
    assert normal("outport == @nobody") == []
    assert normal('outport == "_MC_flood"') == [(("outport", 32768, 0xFFFFFFFF),)]


def test_residency_decides() -> None:
    assert normal('is_chassis_resident("p1")') == [()]
    assert normal('is_chassis_resident("p3")') == []
    assert normal('!is_chassis_resident("p3") && ip4') == [(IP4,)]


def test_members_of_an_address_set_stay_apart() -> None:
    """Aggregation would turn one member more into other masks."""
    env = Sets(s=["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert normal("ip4.src == $s", env) == [ip4_src(0x0A000000 + i) for i in range(4)]


def test_unequal_to_an_empty_set_is_true_without_prerequisite() -> None:
    """Measured with ovn-trace 23.03.1; a set with members implies ip4."""
    assert normal("ip4.src != $s", Sets(s=[])) == [()]
    assert all(IP4 in conj for conj in normal("ip4.src != $s", Sets(s=["10.0.0.1"])))
    assert normal("ip4.src == $s", Sets(s=[])) == []


def test_members_that_are_no_constants_are_left_out() -> None:
    assert normal("ip4.src == $s", Sets(s=["10.0.0.1", "bogus", ""])) == [ip4_src(0x0A000001)]


def test_a_member_too_wide_for_the_field_costs_the_flow() -> None:
    """Measured with ovn-trace 23.03.1: it refuses the whole match."""
    env = Sets(mixed=["10.0.0.1", "fd00::1"])
    with pytest.raises(LangError, match="fd00::1 of \\$mixed does not fit 32-bit ip4.src"):
        normal("ip4.src == $mixed", env)
    assert len(normal("ip6.src == $mixed", env)) == 2


def test_unknown_sets_and_groups_cost_the_flow() -> None:
    with pytest.raises(LangError, match="address set does not exist"):
        normal("ip4.src == $nope")
    with pytest.raises(LangError, match="port group does not exist"):
        normal("inport == @nope")


@pytest.mark.parametrize(
    "text",
    ["1 || inport == @nope", "ip4 && (1 || ip4.src == $nope)", "!(0 && ip4.src == $nope)",
     "tcp || (1 || (ip4 && inport == @nope))", "ip4.src == {$nope, 0.0.0.0/0}"],
)  # fmt: skip
def test_unknown_sets_and_groups_cost_the_flow_where_a_constant_decides(text: str) -> None:
    with pytest.raises(LangError, match="does not exist"):
        normal(text)


def test_known_ones_leave_nothing_where_a_constant_decides() -> None:
    env = Sets(here=["10.0.0.1"])
    assert normal("1 || ip4.src == $here", env) == [()]
    assert normal("tcp.dst == 80 && (1 || ip4.src == $here)", env) == normal("tcp.dst == 80")


def test_both_families_of_an_acl() -> None:
    found = normal("(ip4.src == 10.0.0.1 || ip6.src == fd00::1) && tcp.dst == 80")
    assert [[root for root, _, _ in conj] for conj in found] == [
        ["eth.type", "ip.proto", "ip4.src", "tcp.dst"],
        ["eth.type", "ip.proto", "ip6.src", "tcp.dst"],
    ]


def test_limit_is_exact() -> None:
    many = Sets(s=[f"10.0.{i}.{j}" for i in range(4) for j in range(250)])
    assert len(normal("ip4.src == $s", many, limit=1000)) == 1000
    with pytest.raises(UnsupportedError, match="more than 999 combinations"):
        normal("ip4.src == $s", many, limit=999)


def _thousands(prefix: int, count: int) -> list[str]:
    return [f"{prefix}.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}" for i in range(count)]


@pytest.mark.parametrize(
    "text",
    [
        "ip4.src == $a && ip4.dst == $b",
        "ip4.src == $a && ip4.dst == $a && tcp.dst == {1,2,3}",
        "ip4.src != $odd && ip4.dst != $odd && tcp.dst != {1,3,5,7,9,11}",
        " && ".join(f"xxreg{i}[{low}..{low + 31}] != 5" for i in (0, 1) for low in (0, 32, 64, 96)),
    ],
)
def test_products_beyond_the_limit_are_refused_soon(text: str) -> None:
    env = Sets(a=_thousands(10, 10000), b=_thousands(11, 10000), odd=_thousands(10, 10000)[1::2])
    start = time.process_time()
    with pytest.raises(UnsupportedError):
        normal(text, env)
    assert time.process_time() - start < 5


def test_products_that_contradict_themselves_cost_little() -> None:
    env = Sets(a=_thousands(10, 10000), b=_thousands(11, 10000), odd=_thousands(10, 10000)[1::2])
    start = time.process_time()
    assert normal("ip4.src == $a && ip4.src == $b", env) == []
    assert len(normal("ip4.src == $a && ip4.src == $odd", env)) == 5000
    assert len(normal("ip4.src == $a && ip4.src != $odd", env)) == 5000
    assert normal("ip4.src == {10.0.0.1, 10.0.0.2} && ip4.src != $a", env) == []
    assert len(normal("ip4 && (ip4.src == $a || (ip6 && ip6.src == $a && ip6.dst == $b))", env))
    assert time.process_time() - start < 10
