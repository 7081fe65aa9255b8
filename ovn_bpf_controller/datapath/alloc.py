# SPDX-License-Identifier: Apache-2.0
"""Who owns which element of an array map: single slots, runs, and shared runs.

Index 0 of every map means "none" and is never given out.  Nothing here touches
the kernel except SharedRuns, which writes a run's contents when it takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.errors import MapFullError


class Slots:
    """Single elements 1 … capacity - 1 of map `name`."""

    def __init__(self, name: str, capacity: int) -> None:
        self._name = name
        self._capacity = capacity
        self._free: list[int] = []
        self._top = 1

    def take(self, journal: Journal) -> int:
        """A free element.  Raises MapFullError when the map is full."""
        if self._free:
            slot = self._free.pop()
        elif self._top < self._capacity:
            slot = self._top
            self._top += 1
        else:
            raise MapFullError(f"map {self._name} is full ({self._capacity} entries)")
        journal.undo(self.release, slot)
        return slot

    def take_several(self, count: int, journal: Journal) -> list[int]:
        """The same of many.  Raises MapFullError when there are not so many."""
        taken = self._free[-count:]
        fresh = count - len(taken)
        if self._top + fresh > self._capacity:
            raise MapFullError(f"map {self._name} is full ({self._capacity} entries)")
        del self._free[-count:]
        taken += range(self._top, self._top + fresh)
        self._top += fresh
        journal.undo(self._free.extend, taken)
        return taken

    def release(self, slot: int) -> None:
        """Makes an element free at once."""
        self._free.append(slot)

    def adopt(self, used: Iterable[int]) -> None:
        """Starts over with exactly these elements taken."""
        taken = set(used)
        self._top = max(taken, default=0) + 1
        self._free = [slot for slot in range(1, self._top) if slot not in taken]

    @property
    def in_use(self) -> int:
        """How many elements are taken."""
        return self._top - 1 - len(self._free)


class Runs:
    """Consecutive elements of map `name`."""

    def __init__(self, name: str, capacity: int) -> None:
        self._name = name
        self._capacity = capacity
        self._free: dict[int, list[int]] = {}  # length -> first elements
        self._top = 1

    def take(self, length: int, journal: Journal) -> int:
        """First element of a free run.  Raises MapFullError when there is none."""
        first = self._exact(length) or self._fresh(length) or self._split(length)
        if not first:
            self._merge()
            first = self._exact(length) or self._fresh(length) or self._split(length)
        if not first:
            raise MapFullError(f"map {self._name} is full ({self._capacity} entries)")
        journal.undo(self.release, first, length)
        return first

    def release(self, first: int, length: int) -> None:
        """Makes a run free at once."""
        self._free.setdefault(length, []).append(first)

    def adopt(self, used: Iterable[tuple[int, int]]) -> None:
        """Starts over with exactly these (first, length) taken."""
        self._free = {}
        self._top = 1
        for first, length in sorted(set(used)):
            if first > self._top:
                self.release(self._top, first - self._top)
            self._top = max(self._top, first + length)

    def _exact(self, length: int) -> int:
        firsts = self._free.get(length)
        return firsts.pop() if firsts else 0

    def _fresh(self, length: int) -> int:
        if self._top + length > self._capacity:
            return 0
        self._top += length
        return self._top - length

    def _split(self, length: int) -> int:
        longer = min((n for n, firsts in self._free.items() if n > length and firsts), default=0)
        if not longer:
            return 0
        first = self._free[longer].pop()
        self.release(first + length, longer - length)
        return first

    def _merge(self) -> None:
        """Joins neighbours, and gives the last of them back to the fresh rest."""
        runs = sorted((first, n) for n, firsts in self._free.items() for first in firsts)
        self._free = {}
        start = end = 0
        for first, length in runs:
            if first != end:
                if end > start:
                    self.release(start, end - start)
                start = first
            end = first + length
        if end == self._top and end:
            self._top = start
        elif end > start:
            self.release(start, end - start)


Key = TypeVar("Key")


class Shared(Generic[Key]):
    """Things that are stored once, however many hold them.

    make(key, journal) takes and writes a new one and returns its index;
    free(key, index) gives it back.  Both are the owner's.
    """

    def __init__(
        self, make: Callable[[Key, Journal], int], free: Callable[[Key, int], None]
    ) -> None:
        self._make = make
        self._free = free
        self._held: dict[Key, list[int]] = {}  # index, holders
        self._keys: dict[int, Key] = {}

    def hold(self, key: Key, journal: Journal, times: int = 1) -> int:
        """Index of `key`, made if need be; dropped again if the change fails."""
        held = self._held.get(key)
        if held is None:
            index = self._make(key, journal)
            self._held[key] = [index, times]
            self._keys[index] = key
            journal.undo(self._forget, key)
            return index
        held[1] += times
        journal.undo(self._unhold, held, times)
        return held[0]

    def drop(self, key: Key, times: int = 1) -> None:
        """So many holders less, at once; the last one frees it."""
        held = self._held[key]
        held[1] -= times
        if not held[1]:
            self._forget(key)
            self._free(key, held[0])

    def adopt(self, key: Key, index: int) -> None:
        """One holder more of a thing that is found at `index`."""
        held = self._held.setdefault(key, [index, 0])
        held[0] = index
        held[1] += 1
        self._keys[index] = key

    def find(self, key: Key) -> int:
        """Index of `key`, or 0."""
        held = self._held.get(key)
        return held[0] if held is not None else 0

    def key(self, index: int) -> Key:
        """What `index` was made for.  Raises KeyError."""
        return self._keys[index]

    def rename(self, old: Key, new: Key) -> None:
        """Another name for the same thing; `new` must not be in use."""
        held = self._held[new] = self._held.pop(old)
        self._keys[held[0]] = new

    def items(self) -> list[tuple[Key, int]]:
        """Every (key, index)."""
        return [(key, held[0]) for key, held in self._held.items()]

    def __len__(self) -> int:
        return len(self._held)

    @staticmethod
    def _unhold(held: list[int], times: int) -> None:
        held[1] -= times

    def _forget(self, key: Key) -> None:
        del self._keys[self._held.pop(key)[0]]
