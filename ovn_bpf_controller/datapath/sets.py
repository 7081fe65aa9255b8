# SPDX-License-Identifier: Apache-2.0
"""What addresses, MACs and ports are members of: maps ovn_set_idx, ovn_sets, ovn_set_plens.

Keyed by member, so that one address more or less is one entry, however many
rules name its sets.  A member's list is versioned as a whole; what does not fit
its slot goes on in slots that only `more` leads to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.records import record, word
from ovn_bpf_controller.datapath.versioned import HEADER, Index, VersionedTable
from ovn_bpf_controller.model import SetMember

PER_SLOT: Final[int] = lib.OVN_SET_IDS
KEY: Final = record("struct ovn_set_key")
BODY: Final = struct.Struct(f"={2 + PER_SLOT}I")  # after the key: n, more, ids
_KEY_AT: Final[int] = ffi.offsetof("struct ovn_set_list", "key")
_COUNT: Final = word("struct ovn_set_plens", "n")
_PLENS: Final[int] = ffi.offsetof("struct ovn_set_plens", "plen")

assert _KEY_AT == HEADER.size
assert HEADER.size + KEY.size + BODY.size == ffi.sizeof("struct ovn_set_list")


def set_key(member: SetMember) -> bytes:
    """struct ovn_set_key."""
    return KEY.pack(member.kind, member.plen, *member.value)


class Sets:
    """Members and the numbers of the sets that have them."""

    def __init__(self, index: Index, array: ArrayMap, plens: ArrayMap) -> None:
        self.table = VersionedTable(index, array, _KEY_AT)
        self._plens = plens

    def put(self, member: SetMember, generation: int, journal: Journal) -> bool:
        """Makes or replaces a member's list.

        False, and no change, for a prefix length more than packets can try.
        Raises DataPlaneError when a map is full.
        """
        key = set_key(member)
        if self.numbers(key) == member.sets:
            return True
        if not self._learn_plen(member.kind, member.plen):
            return False
        rest = self._rest(self.table.index.live.get(key, 0))
        starts = range(0, len(member.sets), PER_SLOT)
        cuts = [member.sets[at : at + PER_SLOT] for at in starts]
        more = 0
        for cut in reversed(cuts[1:]):
            more = self.table.put_unindexed(_body(key, cut, more), generation, journal)
        self.table.put(key, _body(key, cuts[0], more), generation, journal)
        self._bury(rest, generation, journal)
        return True

    def delete(self, key: bytes, generation: int, journal: Journal) -> None:
        """Takes a member out of all its sets; one that is not there is no error."""
        rest = self._rest(self.table.index.live.get(key, 0))
        self.table.delete(key, generation, journal)
        self._bury(rest, generation, journal)

    def numbers(self, key: bytes) -> tuple[int, ...]:
        """The sets of a member, as they were put."""
        found: list[int] = []
        slot = self.table.index.live.get(key, 0)
        while slot:
            count, slot, *ids = self._list(slot)
            found += ids[:count]
        return tuple(found)

    def all(self) -> Iterator[SetMember]:
        """Every member, as the next generation has it."""
        for key in self.table.index.live:
            kind, plen, a, b, c, d = KEY.unpack(key)
            yield SetMember(kind, plen, (a, b, c, d), self.numbers(key))

    def adopting(self, generation: int) -> Iterator[None]:
        """Takes the members that live in `generation`, one by one."""
        yield from self.table.adopting(generation)
        rest: list[int] = []
        for head in self.table.index.live.values():
            rest += self._rest(head)
            yield
        yield from self.table.taking(rest)

    def _list(self, slot: int) -> tuple[int, ...]:
        return BODY.unpack_from(self.table.body(slot), KEY.size)

    def _rest(self, slot: int) -> list[int]:
        """Slots that `slot` leads to by `more`."""
        found: list[int] = []
        while slot and (slot := self._list(slot)[1]):
            found.append(slot)
        return found

    def _bury(self, slots: list[int], generation: int, journal: Journal) -> None:
        for slot in slots:
            self.table.delete_unindexed(slot, generation, journal)

    def _learn_plen(self, kind: int, plen: int) -> bool:
        """Has packets try this prefix length too; harmless if the change fails."""
        if kind == lib.OVN_SET_PORT:
            return True
        count = self._plens.words[kind * self._plens.pitch + _COUNT]
        if plen in self._plens.get(kind)[_PLENS : _PLENS + count]:
            return True
        if count >= lib.OVN_SET_PLENS:
            return False
        self._plens.put(kind, bytes([plen]), _PLENS + count)
        self._plens.publish(kind, _COUNT, count + 1)
        return True


def _body(key: bytes, numbers: Sequence[int], more: int) -> bytes:
    padding = [0] * (PER_SLOT - len(numbers))
    return key + BODY.pack(len(numbers), more, *numbers, *padding)
