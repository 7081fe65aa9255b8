# SPDX-License-Identifier: Apache-2.0
"""Hash indexes whose changes wait for the flip, and slots that have versions.

An Index is one hash map with its contents known; a VersionedTable adds the
slots its values point to.  Rules of the three classes, ports and groups are
VersionedTables; device and peer look-ups are plain Indexes.  The scheme is told
at the top of include/ovn_bpf/tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ovn_bpf_controller.datapath.alloc import Slots
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap, HashMap
from ovn_bpf_controller.datapath.records import word

FOREVER: Final = 0xFFFFFFFF
BORN: Final = word("struct ovn_slot", "born")
DEAD: Final = word("struct ovn_slot", "dead")
NEXT: Final = word("struct ovn_slot", "next")
HEADER: Final = struct.Struct("=III")
_PART: Final = 4096  # entries written without a break


class Index:
    """A hash map and what it holds.

    live: entries as the next generation has them.  Until flush() the kernel
    knows of none of the changes, until finish() of no removal.  doomed: keys that
    the kernel still has, with the generation that has them no more.
    """

    def __init__(self, table: HashMap) -> None:
        self._map = table
        self.name = table.name
        self.live: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}  # before this change; 0: not there
        self.doomed: dict[bytes, int] = {}

    def set(self, key: bytes, value: int) -> None:
        """Points `key` to `value` from the flip on; the kernel learns it at flush()."""
        self._old.setdefault(key, self.live.get(key, 0))
        self.doomed.pop(key, None)
        self.live[key] = value

    def set_fresh(self, keys: Sequence[bytes], values: Sequence[int]) -> None:
        """set() of keys that there are not."""
        if self._old.keys().isdisjoint(keys):
            self._old.update(dict.fromkeys(keys, 0))
        else:
            for key in keys:
                self._old.setdefault(key, 0)
        if self.doomed:
            for key in keys:
                self.doomed.pop(key, None)
        self.live.update(zip(keys, values, strict=True))

    def remove(self, key: bytes) -> int:
        """Takes `key` out after the grace period; returns its value, or 0."""
        value = self.live.pop(key, 0)
        if value:
            self._old.setdefault(key, value)
        return value

    @property
    def touched(self) -> bool:
        """True if this change changed it."""
        return bool(self._old)

    @property
    def changes(self) -> int:
        """How many keys this change touches."""
        return len(self._old)

    def flush(self) -> Iterator[None]:
        """Writes what was set, a part at a time.

        Raises DataPlaneError; then roll_back() is due.
        """
        live = self.live
        fresh = [key for key in self._old if key in live]
        for start in range(0, len(fresh), _PART):
            part = fresh[start : start + _PART]
            self._map.write(part, [live[key] for key in part])
            yield

    def roll_back(self) -> None:
        """Makes memory and kernel what they were before this change."""
        back = {key: value for key, value in self._old.items() if value}
        new = [key for key, value in self._old.items() if not value]
        for key in new:
            self.live.pop(key, None)
        self.live.update(back)
        self._old = {}
        if back:
            self._map.update(back)
        if new:
            self._map.delete(new)

    def commit(self, generation: int) -> list[bytes]:
        """The flip is done: returns what finish() is to take away."""
        gone = [key for key in self._old if key not in self.live]
        self.doomed.update(dict.fromkeys(gone, generation))
        self._old = {}
        return gone

    def finish(self, keys: Iterable[bytes], generation: int) -> None:
        """No packet obeys a generation before this one: the kernel forgets the keys
        that commit() gave for it, unless they came back since."""
        gone = [key for key in keys if self.doomed.get(key) == generation]
        if gone:
            self._map.delete(gone)
        for key in gone:
            del self.doomed[key]

    def adopt(self) -> None:
        """Takes the contents from the kernel."""
        self.live = self._map.dump()
        self._old = {}
        self.doomed = {}

    def repair(self, set_to: dict[bytes, int], gone: Iterable[bytes]) -> None:
        """Corrects adopted entries, in memory and in the kernel."""
        doomed = list(gone)
        for key in doomed:
            self.live.pop(key, None)
        self.live.update(set_to)
        if set_to:
            self._map.update(set_to)
        if doomed:
            self._map.delete(doomed)


class VersionedTable:
    """An Index and its slots: an element is {struct ovn_slot, body}.

    key_at: where in an element its key is repeated.
    """

    def __init__(self, index: Index, array: ArrayMap, key_at: int) -> None:
        self.index = index
        self.array = array
        self.slots = Slots(array.name, array.capacity)
        self._key_at = key_at
        self._leaving: list[int] = []

    def body(self, slot: int) -> bytes:
        """An element without its header."""
        self.array.reach(slot)
        at = slot * self.array.stride
        return self.array.memory[at + HEADER.size : at + self.array.size]

    def put(self, key: bytes, body: bytes, generation: int, journal: Journal) -> int:
        """A version of `key` that is born in `generation`; returns the slot it
        replaces, or 0.  Raises DataPlaneError when there is no slot left."""
        slot = self.slots.take(journal)
        old = self.index.live.get(key, 0)
        if key in self.index.doomed:  # the new version does not lead to the one that went
            journal.ensure_past(self.index.doomed[key])
        self.array.put(slot, HEADER.pack(generation, FOREVER, old) + body)
        self.index.set(key, slot)
        if old:
            self._bury(old, generation, journal)
            journal.after_grace(self._unlink, slot, old)
        return old

    def put_fresh(
        self, keys: Sequence[bytes], bodies: Sequence[bytes], generation: int, journal: Journal
    ) -> None:
        """put() of keys that there are not."""
        slots = self.slots.take_several(len(keys), journal)
        if self.index.doomed:
            for key in keys:
                if key in self.index.doomed:
                    journal.ensure_past(self.index.doomed[key])
        self._fill(slots, bodies, generation)
        self.index.set_fresh(keys, slots)

    def _fill(self, slots: list[int], bodies: Sequence[bytes], generation: int) -> None:
        """Writes first versions; slots side by side with one copy."""
        head = HEADER.pack(generation, FOREVER, 0)
        if slots == list(range(slots[0], slots[0] + len(slots))):
            gap = bytes(self.array.stride - self.array.size)
            self.array.put(slots[0], gap.join([head + body for body in bodies]))
        else:
            for slot, body in zip(slots, bodies, strict=True):
                self.array.put(slot, head + body)

    def delete_all(self, keys: Iterable[bytes], generation: int, journal: Journal) -> list[int]:
        """delete() of many; returns the slots of those that were there."""
        slots = [slot for key in keys if (slot := self.index.remove(key))]
        places = [slot * self.array.pitch + DEAD for slot in slots]
        journal.undo(self._set_words, places, FOREVER)
        self._set_words(places, generation)
        journal.after_grace(self._leaving.extend, slots)
        return slots

    def put_unindexed(self, body: bytes, generation: int, journal: Journal) -> int:
        """A slot that is reached otherwise than by key; returns it."""
        slot = self.slots.take(journal)
        self.array.put(slot, HEADER.pack(generation, FOREVER, 0) + body)
        return slot

    def put_unindexed_all(
        self, bodies: Sequence[bytes], generation: int, journal: Journal
    ) -> list[int]:
        """put_unindexed() of many."""
        slots = self.slots.take_several(len(bodies), journal)
        self._fill(slots, bodies, generation)
        return slots

    def delete_unindexed(self, slot: int, generation: int, journal: Journal) -> None:
        """The end of such a slot: nobody reaches it after the grace period."""
        self._bury(slot, generation, journal)
        journal.after_grace(self.slots.release, slot)

    def delete(self, key: bytes, generation: int, journal: Journal) -> int:
        """The end of `key` from `generation` on; returns its slot, or 0.

        A packet that comes later may still find the key in the hash and look at
        the dead slot: so the slot waits one grace period more, see take_leaving().
        """
        slot = self.index.remove(key)
        if slot:
            self._bury(slot, generation, journal)
            journal.after_grace(self._leaving.append, slot)
        return slot

    def take_leaving(self) -> list[int]:
        """Slots whose keys the kernel has just forgotten, free after a grace period."""
        leaving = self._leaving.copy()
        self._leaving.clear()
        return leaving

    def _bury(self, slot: int, generation: int, journal: Journal) -> None:
        at = slot * self.array.pitch + DEAD
        self.array.words[at] = generation
        journal.undo(self._set_word, at, FOREVER)

    def _unlink(self, slot: int, old: int) -> None:
        self.array.words[slot * self.array.pitch + NEXT] = 0
        self.slots.release(old)

    def _set_words(self, places: Sequence[int], value: int) -> None:
        words = self.array.words
        for at in places:
            words[at] = value

    def _set_word(self, at: int, value: int) -> None:
        self.array.words[at] = value

    # --- adoption -----------------------------------------------------------

    def adopt(self, generation: int) -> None:
        """adopting() to its end."""
        for _ in self.adopting(generation):
            pass

    def adopting(self, generation: int, extra: Iterable[int] = ()) -> Iterator[None]:
        """Takes over what an agent left, killed wherever it was; key by key.

        The version that counts in `generation` becomes the only one of its key;
        keys without one, and keys whose slot says another key, go.  extra:
        slots that are reached otherwise than by key.
        """
        self.index.adopt()
        set_to: dict[bytes, int] = {}
        gone: list[bytes] = []
        for key, head in self.index.live.items():
            slot = self._live_version(key, head, generation)
            if not slot:
                gone.append(key)
            elif slot != head:
                set_to[key] = slot
            yield
        self.index.repair(set_to, gone)
        self._leaving.clear()
        yield from self.taking(extra)

    def taking(self, extra: Iterable[int]) -> Iterator[None]:
        """After the keys are adopted: exactly their slots and `extra` are in use."""
        used = [*self.index.live.values(), *extra]
        self.array.reach(max(used, default=0))
        for slot in used:
            at = slot * self.array.pitch
            self.array.words[at + DEAD] = FOREVER
            self.array.words[at + NEXT] = 0
            yield
        self.slots.adopt(used)

    def _live_version(self, key: bytes, head: int, generation: int) -> int:
        slot = head
        for _ in range(self.array.capacity):
            if not 0 < slot < self.array.capacity:
                return 0
            self.array.reach(slot)
            at = slot * self.array.stride + self._key_at
            if self.array.memory[at : at + len(key)] != key:
                return 0
            base = slot * self.array.pitch
            words = self.array.words
            if 0 < words[base + BORN] <= generation < words[base + DEAD]:
                return slot
            slot = words[base + NEXT]
        return 0
