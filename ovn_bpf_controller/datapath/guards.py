# SPDX-License-Identifier: Apache-2.0
"""Guards: what all rules under a mask of a stage ask of one word of the packet.

OVN's tables are lists of special cases (ARP, IPv6 discovery, a bit of a register),
each a mask of its own, and a packet is none of most of them.  One comparison then
spares it a key and a look-up.  Stages keep a Common for each mask of theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.interned import Mask

Guard = tuple[int, int, int]  # bits, value, word: as in struct ovn_tuple

UNGUARDED: Final[Guard] = (0, 0, 0)
_SETS: Final[int] = lib.OW_SETS
_ETH_TYPE: Final[int] = lib.OW_ETH_TYPE


class Common:
    """What rules under one mask have in common; never changes, also() makes another.

    mask and values are those of the first of them (model.Rule), alike the places where
    all have the same value, None while there is one rule only.
    """

    __slots__ = ("_mask", "_values", "_alike", "_guard")

    def __init__(
        self, mask: Mask, values: Sequence[int], alike: tuple[int, ...] | None = None
    ) -> None:
        self._mask = mask
        self._values = values
        self._alike = alike
        self._guard: Guard | None = None

    @classmethod
    def of(cls, mask: Mask, several: Collection[Sequence[int]]) -> Common:
        """Of some rules' values, no two the same."""
        first = next(iter(several))
        if len(several) == 1:
            return cls(mask, first)
        columns = enumerate(zip(*several, strict=True))
        alike = [place for place, column in columns if column.count(column[0]) == len(column)]
        return cls(mask, first, tuple(alike))

    def also(self, values: Sequence[int]) -> Common:
        """With one rule more; itself if that changes nothing."""
        mine, alike = self._values, self._alike
        if alike is None:
            if values == mine:
                return self
            alike = tuple(range(len(mine)))
        for place in alike:
            if values[place] != mine[place]:
                alike = tuple(place for place in alike if values[place] == mine[place])
                return Common(self._mask, mine, alike)
        return self

    @property
    def guard(self) -> Guard:
        """The word that tells most packets apart, as far as one can say beforehand."""
        if self._guard is None:
            alike = range(len(self._values)) if self._alike is None else self._alike
            places = [place for place in alike if self._mask[place][0] < _SETS]
            best = max(places, key=self._worth, default=-1) if len(places) != 1 else places[0]
            self._guard = UNGUARDED
            if best >= 0:
                word, bits = self._mask[best]
                self._guard = (bits, self._values[best], word)
        return self._guard

    def _worth(self, place: int) -> tuple[bool, int, bool, int]:
        """0 is what most words of most packets are; more bits are less likely to be met;
        whatever asks for more than an ether type does is met by fewer packets of it."""
        word, bits = self._mask[place]
        return self._values[place] != 0, bits.bit_count(), word != _ETH_TYPE, word
