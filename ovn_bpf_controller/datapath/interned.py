# SPDX-License-Identifier: Apache-2.0
"""What many rules and groups share: datapath numbers, masks, action and member lists.

Each is written once, into elements nobody can reach yet, and given back when the
last holder is gone and a grace period is over.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.alloc import Runs, Shared, Slots
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.records import record, word
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import Datapath

Mask = tuple[tuple[int, int], ...]  # model.Rule.mask

WORDS_OF_CLASS: Final[tuple[int, ...]] = (lib.OVN_CLASS_S, lib.OVN_CLASS_M, lib.OVN_CLASS_L)
MASK: Final = record("struct ovn_mask")
INSN: Final = record("struct ovn_insn")
DATAPATH: Final = record("struct ovn_datapath")
_FLAGS: Final = word("struct ovn_datapath", "flags")


# By number of words: the smallest class with room.
_CLASSES: Final = tuple(
    next(number for number, room in enumerate(WORDS_OF_CLASS) if words <= room)
    for words in range(WORDS_OF_CLASS[-1] + 1)
)


def key_class(mask: Mask) -> int:
    """0, 1 or 2: the smallest class with room.  Raises DataPlaneError over 40 words."""
    if len(mask) < len(_CLASSES):
        return _CLASSES[len(mask)]
    raise DataPlaneError(f"a match looks at {len(mask)} words; {WORDS_OF_CLASS[-1]} is the limit")


class Masks:
    """Map ovn_masks."""

    def __init__(self, array: ArrayMap) -> None:
        self._array = array
        self._slots = Slots(array.name, array.capacity)
        self.shared: Shared[Mask] = Shared(self._make, lambda _, index: self._slots.release(index))

    def _make(self, mask: Mask, journal: Journal) -> int:
        number = key_class(mask)
        index = self._slots.take(journal)
        sets = [w for w, _ in mask if w >= lib.OW_SETS]
        # The program finds them in OW_TMP while they are tried.
        place = {word: lib.OW_TMP + at for at, word in enumerate(sets)}
        words = bytes(place.get(w, w) for w, _ in mask)
        masks = [m for _, m in mask] + [0] * (WORDS_OF_CLASS[-1] - len(mask))
        which = bytes(word - lib.OW_SETS for word in sets)
        self._array.put(index, MASK.pack(len(mask), number, len(sets), which, words, *masks))
        return index

    def read(self, index: int) -> Mask:
        """The mask that element `index` holds."""
        count, _, n_sets, which, words, *masks = MASK.unpack(self._array.get(index))
        real = {lib.OW_TMP + i: lib.OW_SETS + which[i] for i in range(n_sets)}
        named = (real.get(word, word) for word in words[:count])
        return tuple(zip(named, masks[:count], strict=True))

    def adopt(self, used: set[int]) -> None:
        """Takes these elements for taken; holders report themselves later."""
        self._slots.adopt(used)


def list_length(insn: Callable[[int], bytes], limit: int) -> int:
    """Instructions up to and including the OP_END of the list itself, not of a
    clone's body.  insn(i) is the i-th; 0 if there is none before `limit`."""
    at = 0
    while at < limit:
        op, _, _, _, a, _, _ = INSN.unpack(insn(at))
        if op == lib.OP_END:
            return at + 1
        at += 1 + (a if op == lib.OP_CLONE else 0)
    return 0


class Insns:
    """Map ovn_insns: equal lists are stored once."""

    def __init__(self, array: ArrayMap) -> None:
        self._array = array
        self._runs = Runs(array.name, array.capacity)
        self.shared: Shared[bytes] = Shared(self._make, self._free)

    def _make(self, insns: bytes, journal: Journal) -> int:
        first = self._runs.take(len(insns) // INSN.size, journal)
        self._array.put(first, insns)
        return first

    def _free(self, insns: bytes, first: int) -> None:
        self._runs.release(first, len(insns) // INSN.size)

    def read(self, pc: int) -> bytes:
        """The list at `pc`, empty if there is none that ends."""
        length = list_length(lambda i: self._array.get(pc + i), self._array.capacity - pc)
        return b"".join(self._array.get(pc + i) for i in range(length))

    def adopt(self) -> None:
        """Takes exactly the lists that were adopted into `shared` for taken."""
        self._runs.adopt((pc, len(k) // INSN.size) for k, pc in self.shared.items())


Members = tuple[int, ...]


class MemberLists:
    """Map ovn_members."""

    def __init__(self, array: ArrayMap) -> None:
        self._array = array
        self._runs = Runs(array.name, array.capacity)
        self.shared: Shared[Members] = Shared(
            self._make, lambda key, first: self._runs.release(first, len(key))
        )

    def _make(self, members: Members, journal: Journal) -> int:
        first = self._runs.take(len(members), journal)
        gap = bytes(self._array.stride - 4)
        self._array.put(first, gap.join([member.to_bytes(4, sys.byteorder) for member in members]))
        return first

    def read(self, first: int, count: int) -> Members:
        """`count` members from `first` on."""
        self._array.reach(first + count)
        words, pitch = self._array.words, self._array.pitch
        return tuple(words[(first + i) * pitch] for i in range(count))

    def adopt(self) -> None:
        """Takes exactly the lists that were adopted into `shared` for taken."""
        self._runs.adopt((first, len(key)) for key, first in self.shared.items())


class Datapaths:
    """Map ovn_datapaths: a tunnel key's index, held by everything that lies in it.

    forget(index) is called when nobody needs a datapath any more.
    """

    def __init__(self, array: ArrayMap, forget: Callable[[int], None]) -> None:
        self._array = array
        self._slots = Slots(array.name, array.capacity)
        self._forget = forget
        self._declared: set[int] = set()
        self._found: dict[int, int] = {}
        self.shared: Shared[int] = Shared(self._make, self._free)

    def _make(self, dp: int, journal: Journal) -> int:
        index = self._slots.take(journal)
        self._array.put(index, DATAPATH.pack(dp, 0, 0, 0))
        return index

    def _free(self, _: int, index: int) -> None:
        self._array.put(index, bytes(DATAPATH.size))
        self._slots.release(index)
        self._forget(index)

    def put(self, datapath: Datapath, journal: Journal) -> None:
        """Declares a datapath, or gives it other zones."""
        if datapath.dp not in self._declared:
            self.shared.hold(datapath.dp, journal)
            self._declared.add(datapath.dp)
            journal.undo(self._declared.discard, datapath.dp)
        index = self.shared.find(datapath.dp)
        told = (lib.OVN_DP_DECLARED, datapath.dnat_zone, datapath.snat_zone)
        if DATAPATH.unpack(self._array.get(index))[1:] != told:
            journal.at_flip(self._array.put, index, struct.pack("=III", *told), _FLAGS * 4)

    def delete(self, dp: int, journal: Journal) -> None:
        """Takes a declaration back; what lies in the datapath keeps its index."""
        if dp in self._declared:
            self._declared.discard(dp)
            journal.undo(self._declared.add, dp)
            journal.at_flip(self._array.put, self.shared.find(dp), bytes(4), _FLAGS * 4)
            journal.after_grace(self.shared.drop, dp)

    def key_at(self, index: int) -> int:
        """Tunnel key that the map has at `index`."""
        self._array.reach(index)
        return int(self._array.words[index * self._array.pitch])

    def declared(self) -> set[int]:
        """Tunnel keys that put() declared."""
        return set(self._declared)

    def adopt(self) -> list[int]:
        """Takes what the map holds; returns the indexes.

        Holders report themselves later; then drop_unused() is due.
        """
        self.shared = Shared(self._make, self._free)
        self._declared = set()
        self._found = {}
        for index in range(1, self._array.capacity):
            dp, flags, _, _ = DATAPATH.unpack(self._array.get(index))
            if dp and dp not in self._found:
                self._found[dp] = index
                if flags & lib.OVN_DP_DECLARED:
                    self.shared.adopt(dp, index)
                    self._declared.add(dp)
        self._slots.adopt(self._found.values())
        return list(self._found.values())

    def drop_unused(self) -> None:
        """Frees adopted datapaths that nobody declared, and nothing lies in."""
        for dp, index in self._found.items():
            if not self.shared.find(dp):
                self._free(dp, index)
        self._found = {}
