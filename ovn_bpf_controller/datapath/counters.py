# SPDX-License-Identifier: Apache-2.0
"""The program's per-CPU counters, summed up.

observe reads them for operators, tests for the proof that nothing is lost
without a reason.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import check, map_info
from ovn_bpf_controller.plaindata import NamedTuple

_ARRAYS = (2, 6)  # enum bpf_map_type: array, per-CPU array
_COUNT = struct.Struct("=QQ")  # struct ovn_count
_DROP = struct.Struct("=IIII")  # struct ovn_drop_key
_BATCH = 1 << 22  # bytes read by one system call


class Count(NamedTuple):
    """Packets, and bytes of their frames as they came in."""

    packets: int
    bytes: int


def possible_cpus() -> int:
    """How many values a per-CPU element has (cpu/possible, as libbpf reads it)."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    return int(text.strip().replace(",", "-").split("-")[-1]) + 1


class Counters:
    """A per-CPU array of struct ovn_count, one or a page of them to an element.

    fd stays the caller's.
    """

    def __init__(self, name: str, fd: int) -> None:
        info = map_info(fd)
        self._name = name
        self._fd = fd
        self._page = info.value_size // _COUNT.size
        self._entries = info.max_entries * self._page
        self._buffer = ffi.new("char[]", possible_cpus() * info.value_size)

    def read(self, index: int) -> Count:
        """One count.  Raises DataPlaneError for an index that is not there."""
        element, place = divmod(index, self._page)
        self._look_up(element)
        return _summed(bytes(ffi.buffer(self._buffer)), self._page)[place]

    def used(self) -> dict[int, Count]:
        """Every index that counted something."""
        found: dict[int, Count] = {}
        for key, counts in _dump(self._name, self._fd):
            first = int.from_bytes(key, sys.byteorder) * self._page
            for index, count in enumerate(counts, first):
                if count.packets:
                    found[index] = count
        return found

    def clear(self, indexes: Iterable[int]) -> None:
        """Counts from 0 again; those without a place are passed over.

        What others of the same page count meanwhile is lost: some microseconds' worth.
        Raises DataPlaneError.
        """
        pages: dict[int, list[int]] = {}
        for index in indexes:
            if index < self._entries:
                pages.setdefault(index // self._page, []).append(index % self._page)
        width = self._page * _COUNT.size
        for element, places in pages.items():
            self._look_up(element)
            for cpu in range(possible_cpus()):
                for place in places:
                    at = cpu * width + place * _COUNT.size
                    ffi.memmove(self._buffer + at, bytes(_COUNT.size), _COUNT.size)
            key = ffi.new("uint32_t *", element)
            check(lib.ovn_map_update(self._fd, key, self._buffer), f"{self._name}[{element}]")

    def _look_up(self, element: int) -> None:
        key = ffi.new("uint32_t *", element)
        check(lib.ovn_map_lookup(self._fd, key, self._buffer), f"{self._name}[{element}]")


class Drop(NamedTuple):
    """struct ovn_drop_key."""

    reason: int
    dp: int
    flow: int
    table: int


class DropCounters:
    """Map ovn_drop_flows.  fd stays the caller's."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self) -> dict[Drop, Count]:
        """Everything that the map remembers.  Raises DataPlaneError."""
        found: dict[Drop, Count] = {}
        for key, (count,) in _dump("ovn_drop_flows", self._fd):
            found[Drop(*_DROP.unpack(key))] = count
        return found

    def forget(self, drops: Iterable[Drop]) -> None:
        """Takes entries out; those that are gone already are no error."""
        for drop in drops:
            key = _DROP.pack(*drop)
            done = ffi.new("uint32_t *")
            check(lib.ovn_hash_delete(self._fd, key, _DROP.size, 1, done), "ovn_drop_flows")


def _dump(name: str, fd: int) -> Iterator[tuple[bytes, list[Count]]]:
    """All elements of a per-CPU map of struct ovn_count that counted something."""
    info = map_info(fd)
    size, width = info.key_size, possible_cpus() * info.value_size
    batch = min(max(1, _BATCH // width), info.max_entries)
    if info.type not in _ARRAYS:
        batch = max(batch, 256)  # a bucket's elements come together
    keys = ffi.new("char[]", batch * size)
    values = ffi.new("char[]", batch * width)
    cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
    nothing = bytes(width)
    while more[0]:
        count = check(lib.ovn_hash_dump(fd, cursor, keys, values, batch, more), name)
        read = bytes(ffi.buffer(values, count * width))
        names = bytes(ffi.buffer(keys, count * size))
        for n in range(count):
            data = read[n * width : (n + 1) * width]
            if data != nothing:
                page = info.value_size // _COUNT.size
                yield names[n * size : (n + 1) * size], _summed(data, page)


def _summed(data: bytes, page: int) -> list[Count]:
    """A per-CPU element's counts, over all CPUs."""
    each = list(_COUNT.iter_unpack(data))
    places = (each[place::page] for place in range(page))
    return [Count(sum(p for p, _ in of), sum(b for _, b in of)) for of in places]
