# SPDX-License-Identifier: Apache-2.0
"""The parts of an AND, sorted by how `normal` combines them, and what each allows.

`normal` fills Conjuncts while it flattens an AND: what fixes bits decides at once, ranges
and exclusions of one field are put together before anything is multiplied out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from ovn_bpf_controller.lang import intervals
from ovn_bpf_controller.lang.intervals import Intervals, Prefix
from ovn_bpf_controller.lang.nodes import Cmp, Or, Relop
from ovn_bpf_controller.lang.sets import Barred
from ovn_bpf_controller.lang.terms import Conj

Subfield: TypeAlias = tuple[str, int, int]  # root, offset, width


def excluded(values: Iterable[Prefix], width: int) -> Intervals:
    """All values of a field but those; the masks are prefixes."""
    full = (1 << width) - 1
    ranges = intervals.union((value, value | (full & ~mask)) for value, mask in values)
    return intervals.complement(ranges, width)


def ordered(cmp: Cmp) -> Intervals:
    """The values that <, <=, > or >= allows."""
    top = (1 << cmp.width) - 1
    if cmp.relop in (Relop.LT, Relop.LE):
        high = cmp.value - (cmp.relop is Relop.LT)
        return ((0, high),) if high >= 0 else ()
    low = cmp.value + (cmp.relop is Relop.GT)
    return ((low, top),) if low <= top else ()


def differing(value: int, mask: int) -> list[Prefix]:
    """`!= value/mask` as alternatives, whatever the mask: one for each bit."""
    found = []
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            upper = mask >> bit << bit
            found.append(((value & upper) ^ (1 << bit), upper))
    return found


class Conjuncts:
    """The parts of one AND.

    fixed: bits that must be so.  lists: alternatives.  later: ORs to expand.  allowed:
    values left of what ranges and exclusions are about.
    """

    def __init__(self) -> None:
        self.fixed: dict[str, tuple[int, int]] = {}
        self.lists: list[list[Conj]] = []
        self.later: list[tuple[Or, Barred]] = []
        self.allowed: dict[Subfield, Intervals] = {}

    def fix(self, conj: Conj) -> bool:
        """Demand conj; False when that contradicts what is fixed."""
        for root, value, mask in conj:
            known = self.fixed.get(root)
            if known is not None:
                if (known[0] ^ value) & known[1] & mask:
                    return False
                value, mask = known[0] | value, known[1] | mask
            self.fixed[root] = (value, mask)
        return True

    def allow(self, subfield: Subfield, values: Intervals) -> None:
        """Demand that the subfield has one of the values."""
        known = self.allowed.get(subfield)
        both = values if known is None else intervals.intersection(known, values)
        self.allowed[subfield] = both
