# SPDX-License-Identifier: Apache-2.0
"""What exclusions and ranges leave: few masks, whatever they are of, and the same truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang import remains
from ovn_bpf_controller.lang.evaluate import conj_holds, evaluate, field_value
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.nodes import Expr, Relop, SetRef
from ovn_bpf_controller.lang.normal import Conj, disjuncts, set_members
from ovn_bpf_controller.lang.sets import named_members
from ovn_bpf_controller.lang.terms import masks
from tests.unit.lang import grammar

LIMIT = 1 << 14
MACS = tuple(f"0a:00:00:00:00:0{n}" for n in range(1, 7))
IP4, IP6, ARP, TCP, UDP, SCTP = 0x800, 0x86DD, 0x806, 6, 17, 132


class Env(grammar.Env):
    """Every list has a number; sets with a name are expanded."""

    def __init__(self) -> None:
        self.lists: list[tuple[str, int]] = []

    def address_set(self, name: str) -> Sequence[str] | None:
        sets = {"macs": MACS, "a": ("10.0.0.0/24", "10.1.0.7"), "b": ("fd00::1", "fd01::/64")}
        return named_members(name) or sets[name]

    def set_number(self, name: str, width: int) -> int | None:
        if named_members(name) is None:
            return None
        if (name, width) not in self.lists:
            self.lists.append((name, width))
        return self.lists.index((name, width)) + 1


class Unnumbered(Env):
    """No set has a number."""

    def set_number(self, name: str, width: int) -> int | None:
        return None


def holds(conj: Conj, packet: dict[str, int], env: Env) -> bool:
    """conj_holds() that knows of sets."""
    plain = tuple(term for term in conj if not term[0].startswith("set."))
    return conj_holds(plain, packet) and all(
        member(root, *env.lists[value - 1], packet, env)
        for root, value, _ in conj
        if root.startswith("set.")
    )


def member(root: str, name: str, width: int, packet: dict[str, int], env: Env) -> bool:
    """Whether what a dimension is about is in a list of values of that width."""
    fields = [f for f, (bits, dim) in remains.FIELDS.items() if (bits, dim) == (width, root)]
    # All share words of the packet; one that it has not is 0 here.
    field = next((field for field in fields if field in packet), fields[0])
    value = field_value(packet, field, 0, width)
    members = set_members(SetRef(field, 0, width, Relop.EQ, name), env)
    return any(value & mask == wanted for wanted, mask in members)


FAMILY = (
    "!(eth.src == $macs || ip4.dst == 10.0.0.0/255.0.0.3 || (1000 < udp.dst && udp.dst < 2000))",
    "!(eth.src == $macs || eth.dst == $macs)",
    "!(eth.src == $macs || tcp.src > 100 || (77 < tcp.dst && tcp.dst < 1000)) && ip4.src != $a",
    "!(ip6.dst[64..79] == 2 || ip6.src == fd00::1/ffff::f || (53 < udp.dst && udp.dst < 253))",
    "!((eth.src == $macs || eth.dst == $macs) && (ip4.src == $a || udp.dst == 53))"
    " && !(tcp.src == {1, 2, 3} && ip4.src == 10.0.0.1)",
    "!(ip4.dst == 10.0.0.1/255.0.0.3 && tcp.src > 100)"
    " && !(100 < udp.dst < 300 || ip4.dst[0..7] == {1, 2})"
    " && (ip4.src != 10.0.0.1 || tcp.dst == 0x50/0xfff0 || udp.dst == {53, 77})",
    "!(ip6.src == fd00::1/ffff::f && ip6.dst[64..79] != 2) && !(100 < udp.dst < 300 && tcp.src > 7)"
    " && !(ip6.dst == fd00::2 || tcp.dst[0..6] == 80) && !(tcp.flags[0..1] == 2 && vlan.pcp > 2)",
    "sctp.src != {5, 77, 1000} && sctp.dst != {5, 77, 1000} && ip6.src != $b && eth.src != $macs",
    "arp.spa != $a && arp.tpa != $a && eth.src != $macs",
    "udp.src != {53, 1000} && udp.dst != {53, 1000} && ip4.src != $a && ip4.dst != $a",
)


@pytest.mark.parametrize("text", FAMILY)
def test_what_is_left_does_not_multiply(text: str) -> None:
    """Without sets these are thousands of masks, and most of them are refused."""
    found = disjuncts(parse_match(text), Env(), LIMIT)
    assert 0 < masks(found) < 600
    try:
        plain = disjuncts(parse_match(text), Unnumbered(), LIMIT)
    except UnsupportedError:
        return
    assert masks(plain) > masks(found)


@cache
def normal(text: str) -> tuple[Expr, Env, list[Conj]]:
    """A match, its conjunctions and the sets that they ask for."""
    expr, env = parse_match(text), Env()
    return expr, env, disjuncts(expr, env, LIMIT)


@st.composite
def packets(draw: st.DrawFn) -> dict[str, int]:
    """Packets near the edges of what FAMILY excludes."""
    kind = draw(st.sampled_from((IP4, IP4, IP6, IP6, ARP)))
    packet = {"eth.type": kind, "vlan.tci": draw(st.sampled_from((0, 0x1000, 0xF000)))}
    for end in ("src", "dst"):
        packet[f"eth.{end}"] = 0x0A0000000000 + draw(st.integers(0, 8))
    if kind == IP4:
        for end in ("src", "dst"):
            low = draw(st.sampled_from((0, 1, 2, 3, 77, 255, 256, 0x10007)))
            packet[f"ip4.{end}"] = draw(st.sampled_from((0x0A000000, 0x0B000000))) + low
    elif kind == IP6:
        for end in ("src", "dst"):
            high = draw(st.sampled_from((0xFD000000, 0xFD000002, 0xFD010000, 0x20010000)))
            middle = draw(st.sampled_from((0, 2, 3)))
            packet[f"ip6.{end}"] = high << 96 | middle << 64 | draw(st.integers(0, 3))
    else:
        for end in ("spa", "tpa"):
            packet[f"arp.{end}"] = 0x0A000000 + draw(st.sampled_from((0, 255, 256, 0x10007)))
        return packet
    proto, name = draw(st.sampled_from(((TCP, "tcp"), (UDP, "udp"), (SCTP, "sctp"))))
    packet["ip.proto"] = proto
    edges = (0, 1, 3, 4, 7, 8, 53, 54, 76, 77, 80, 100, 101, 252, 253, 299, 300, 999, 1000, 1001)
    for end in ("src", "dst"):
        packet[f"{name}.{end}"] = draw(st.sampled_from((*edges, 1999, 2000, 0xFFFF)))
    if proto == TCP:
        packet["tcp.flags"] = draw(st.integers(0, 3))
    return packet


@pytest.mark.parametrize("text", FAMILY)
@settings(grammar.PATIENT, max_examples=20)
@given(found=st.lists(packets(), min_size=10, max_size=10))
def test_sets_of_what_is_left_mean_what_the_match_says(
    text: str, found: list[dict[str, int]]
) -> None:
    expr, env, conjunctions = normal(text)
    for packet in found:
        wanted = evaluate(expr, packet, env)
        assert any(holds(conj, packet, env) for conj in conjunctions) == wanted, packet


@pytest.mark.parametrize(
    "text",
    [
        "tcp.dst != 80",
        "1000 < tcp.dst < 2000 && 1000 < tcp.src < 2000",
        "eth.src != $macs && ip4",
        "eth.src != $macs && ip4.src == 10.0.0.1 && udp.dst == {53, 67}",
        "udp.dst != {53, 67} && ip4.src == {10.0.0.1, 10.0.0.2, 10.0.0.4}",
        "arp.spa != 10.0.0.1",
    ],
)
def test_ordinary_flows_ask_for_no_set(text: str) -> None:
    env = Env()
    disjuncts(parse_match(text), env, LIMIT)
    assert not env.lists


def test_a_mask_asks_for_no_more_sets_than_it_has_room_for() -> None:
    text = " && ".join(
        f"{field} != {{{values}}}"
        for field, values in (
            ("eth.src", "0a:00:00:00:00:01, 0a:00:01:00:00:01"),
            ("eth.dst", "0a:00:00:00:00:01, 0a:00:01:00:00:01"),
            ("ip4.src", "10.0.0.1, 10.1.1.1"),
            ("ip4.dst", "10.0.0.1, 10.1.1.1"),
            ("tcp.src", "80, 999"),
            ("tcp.dst", "8080, 8088, 8096"),
        )
    )
    found = disjuncts(parse_match(text), Env(), LIMIT)
    asked = {tuple(root for root, _, _ in conj if root.startswith("set.")) for conj in found}
    assert {len(roots) for roots in asked} == {remains.MAX_SETS}
    assert remains.MAX_SETS == lib.OVN_MASK_SETS
