# SPDX-License-Identifier: Apache-2.0
"""Sets that stay sets: one entry whatever their size, and still what the match says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.errors import LangError, UnsupportedError
from ovn_bpf_controller.lang.evaluate import conj_holds, evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.nodes import Expr, PortGroupRef, Relop, SetRef
from ovn_bpf_controller.lang.normal import Conj, disjuncts
from ovn_bpf_controller.lang.remains import FIELDS
from ovn_bpf_controller.lang.sets import DIMENSIONS
from tests.unit.lang import grammar
from tests.unit.lang.packets import loose_packets

ENV = grammar.NumberedEnv()
FULL = 0xFFFFFFFF
IP4 = ("eth.type", 0x800, 0xFFFF)


def number(name: str) -> int:
    return grammar.NumberedEnv.NAMES.index(name)


def normal(text: str, limit: int = 1 << 14) -> list[Conj]:
    return disjuncts(parse_match(text), ENV, limit)


def holds(conj: Conj, packet: dict[str, int]) -> bool:
    """Like conj_holds(), which knows nothing of sets."""
    fields = tuple(term for term in conj if not term[0].startswith("set."))
    if not conj_holds(fields, packet):
        return False
    return all(
        any(evaluate(ref, packet, ENV) for ref in meanings(root, value, packet))
        for root, value, _ in conj
        if root.startswith("set.")
    )


def meanings(root: str, value: int, packet: dict[str, int]) -> list[Expr]:
    """What a number may stand for, given the packet's family."""
    name = (grammar.NumberedEnv.NAMES + ENV.lists)[value]
    if name in grammar.PORT_GROUPS:
        fields = [field for field, dimension in DIMENSIONS.items() if dimension == root]
        return [PortGroupRef(fields[0], Relop.EQ, name)]
    there = {"eth", {0x800: "ip4", 0x86DD: "ip6", 0x806: "arp"}.get(packet.get("eth.type", 0))}
    there.add({6: "tcp", 17: "udp", 132: "sctp"}.get(packet.get("ip.proto", 0)))
    return [
        SetRef(field, 0, width, Relop.EQ, name)
        for field, (width, dimension) in FIELDS.items()
        if dimension == root and field.partition(".")[0] in there
    ]


@grammar.PATIENT
@given(
    text=st.one_of(grammar.set_matches(), grammar.matches()),
    packets=st.lists(loose_packets(), min_size=3, max_size=12),
)
def test_sets_by_number_are_true_exactly_when_the_match_is(
    text: str, packets: list[dict[str, int]]
) -> None:
    expr = parse_match(text)
    try:
        found = normal(text)
    except (UnsupportedError, LangError):
        return
    for packet in packets:
        assert any(holds(conj, packet) for conj in found) == evaluate(expr, packet, ENV)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ip4.src == $v4", [(IP4, ("set.src", number("v4"), FULL))]),
        ("ip4.dst == $empty", [(IP4, ("set.dst", number("empty"), FULL))]),
        ("inport == @pg", [(("set.inport", number("pg"), FULL),)]),
        (
            "ip4.src == {$v4, $v4_wide}",
            [(IP4, ("set.src", number(n), FULL)) for n in ("v4", "v4_wide")],
        ),
        (
            "ip4.src == $v4 && ip4.dst == $v4 && outport == @pg",
            [
                (
                    IP4,
                    ("set.dst", number("v4"), FULL),
                    ("set.outport", number("pg"), FULL),
                    ("set.src", number("v4"), FULL),
                )
            ],
        ),
    ],
)
def test_a_set_is_one_entry(text: str, expected: list[Conj]) -> None:
    assert normal(text) == expected


def test_of_two_sets_of_one_field_one_is_expanded() -> None:
    found = normal("ip4.src == $v4 && ip4.src == $v4_wide")
    assert [("set.src", number("v4"), FULL) in conj for conj in found] == [True, True]
    assert [conj[1][0] for conj in found] == ["ip4.src", "ip4.src"]
    found = normal("(ip4.src == $v4 || inport == @pg) && (ip4.src == $v4_wide || outport == @pg)")
    assert len(found) == 6


@pytest.mark.parametrize(
    "text",
    [
        "ip4.src != $v4",
        "ip4.src[0..7] == $v4",
        "arp.spa == $v4",
        "eth.src == $empty",
    ],
)
def test_other_relations_are_expanded(text: str) -> None:
    assert not any(root.startswith("set.") for conj in normal(text) for root, _, _ in conj)


def test_a_set_that_does_not_fit_still_costs_the_flow() -> None:
    with pytest.raises(LangError, match="does not fit 32-bit ip4.src"):
        normal("ip4.src == $v6")


class Large(grammar.NumberedEnv):
    """Two sets, of which one is nearly all of the other."""

    SETS = {
        "a": [f"10.0.{n >> 8}.{n & 255}" for n in range(1000)],
        "b": [f"10.0.{n >> 8}.{n & 255}" for n in range(0, 1000, 2)],
    }

    def address_set(self, name: str) -> Sequence[str] | None:
        return self.SETS.get(name)

    def set_number(self, name: str, width: int) -> int | None:
        return 1


def test_what_is_too_much_by_number_is_tried_by_members() -> None:
    expr = parse_match("ip4.src == $a && ip4.src != $b")
    found = disjuncts(expr, Large(), 500)
    assert len(found) == 500
    assert not any(root == "set.src" for conj in found for root, _, _ in conj)


def test_a_set_and_what_it_may_not_be_are_not_multiplied_with_another_field() -> None:
    """Asked for by number, either field would leave some 30 prefixes; its members are few."""
    found = normal(
        "4 <= tcp.src <= 104 && ip4.src == $v4 && ip4.dst == $v4"
        " && ip4.src != $v4 && ip4.dst != {10.0.0.1, 10.0.0.3}"
    )
    assert found == []
    found = normal(
        "4 <= tcp.src <= 104 && ip4.src == $v4 && ip4.dst == $v4_wide"
        " && ip4.src != 192.168.0.0/16 && ip4.dst != {10.0.0.1, 10.0.0.3}"
    )
    assert 0 < len(found) <= 512


def test_long_lists_do_not_multiply() -> None:
    addresses = ", ".join(f"10.0.0.{n}" for n in range(20))
    ports = ", ".join(str(n) for n in range(50))
    found = normal(f"ip4.src == {{{addresses}}} && tcp.dst == {{{ports}}}")
    assert len(found) == 50
    assert all(any(root == "set.src" for root, _, _ in conj) for conj in found)
    text = f"ip4.src == {{{addresses}}} && ip4.dst == {{{addresses}}} && tcp.dst == {{{ports}}}"
    assert len(normal(text)) == 50


def test_short_products_are_written_out() -> None:
    addresses = ", ".join(f"10.0.0.{n}" for n in range(10))
    assert len(normal(f"ip4.src == {{{addresses}}} && tcp.dst == {{1, 2}}")) == 20
    assert len(normal(f"ip4.src == {{{addresses}}}")) == 10


class Scattered(grammar.Env):
    """Sets of addresses that share few prefixes; every set may have a number."""

    def address_set(self, name: str) -> Sequence[str] | None:
        step = 3 + 2 * "abcd".index(name)
        return [f"10.{n * 7 % 200}.{n * 13 % 250}.{n * step % 250}" for n in range(60)]

    def set_number(self, name: str, width: int) -> int | None:
        return 1 if name.startswith("{") else None


BOTH_EXCLUDED = (
    "!(ip4.src == $a && ip4.dst == $b) && !(ip4.src == $c && ip4.dst == $d)",
    "!(ip4.src == $a && tcp.dst == 80) && !(ip4.dst == $c && udp.dst == 53)",
    "ip4 && tcp && (ip4.src != $a || ip4.dst != $b) && (ip4.src != $c || ip4.dst != $d)",
    "!(ip4.src == 10.0.0.2 && udp.dst == 53) && ip4.src != $a",
    "(ip4.src != 10.0.0.2 || ip4.dst != 10.0.0.2) && ip4.dst != $a && ip4.src != $b",
)


@pytest.mark.parametrize("text", BOTH_EXCLUDED)
def test_exclusions_side_by_side_do_not_multiply(text: str) -> None:
    """Thousands of prefixes on either side once were millions of keys, and minutes."""
    found = disjuncts(parse_match(text), Scattered(), 1 << 14)
    assert len(found) < 5000
    assert len({tuple((root, mask) for root, _, mask in conj) for conj in found}) < 80


@grammar.PATIENT
@given(text=st.sampled_from(BOTH_EXCLUDED), data=st.data())
def test_exclusions_side_by_side_mean_what_they_say(text: str, data: st.DataObject) -> None:
    env = Small()
    found = disjuncts(parse_match(text), env, 1 << 14)
    packet = {"eth.type": 0x800, "ip.proto": data.draw(st.sampled_from((6, 17)))}
    for field in ("ip4.src", "ip4.dst"):
        packet[field] = 0x0A000000 + data.draw(st.integers(0, 9))
    packet["tcp.dst" if packet["ip.proto"] == 6 else "udp.dst"] = data.draw(
        st.sampled_from((53, 80))
    )
    wanted = evaluate(parse_match(text), packet, env)
    assert any(conj_holds(conj, packet) for conj in found) == wanted


class Small(grammar.Env):
    """Sets that meet, none with a number."""

    def address_set(self, name: str) -> Sequence[str] | None:
        return {"a": ["10.0.0.0/30"], "b": ["10.0.0.5"], "c": ["10.0.0.3", "10.0.0.8"]}.get(
            name, ["10.0.0.4/31", "10.0.0.1"]
        )
