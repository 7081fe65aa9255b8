# SPDX-License-Identifier: Apache-2.0
"""A guard passes every packet that a rule of its mask matches, whatever came and went."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.guards import UNGUARDED, Common

WORDS = st.sampled_from([lib.OW_REG0, lib.OW_ETH_TYPE, lib.OW_IP, lib.OW_SET_SRC, lib.OW_SET_OUT])


@st.composite
def masks(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    words = sorted(draw(st.sets(WORDS, min_size=1)))
    return tuple((word, draw(st.sampled_from([1, 0xFF, 0xFFFF0000]))) for word in words)


@given(masks(), st.data())
def test_every_rule_passes(mask: tuple[tuple[int, int], ...], data: st.DataObject) -> None:
    value = st.integers(0, 2)
    rows = data.draw(st.lists(st.tuples(*(value for _ in mask)), min_size=1, max_size=8))
    rules = [tuple(v & bits for v, (_, bits) in zip(row, mask, strict=True)) for row in rows]
    common = Common(mask, rules[0])
    for rule in rules[1:]:
        common = common.also(rule)
        assert common.also(rule) is common
    bits, wanted, word = common.guard
    for rule in rules:
        has = {w: v for (w, _), v in zip(mask, rule, strict=True)}
        assert (has.get(word, 0) & bits) == wanted
    alike = [
        p for p, (w, _) in enumerate(mask) if w < lib.OW_SETS and len({r[p] for r in rules}) == 1
    ]
    assert ((bits, wanted, word) == UNGUARDED) == (not alike)


def test_it_asks_what_most_packets_are_not() -> None:
    """All IPv4 packets have 0 where IPv6 addresses go on."""
    words = (
        (lib.OW_ETH_TYPE, 0xFFFF0000),
        (lib.OW_IP_DST, 0xFFFFFFFF),
        (lib.OW_IP_DST + 1, 0xFFFFFFFF),
    )
    multicast = Common(words, (0x86DD0000, 0xFF020000, 0))
    assert multicast.guard == (0xFFFFFFFF, 0xFF020000, lib.OW_IP_DST)
    assert multicast.also((0x86DD0000, 0xFE800000, 0)).guard[2] == lib.OW_ETH_TYPE
