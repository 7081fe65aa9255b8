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
from typing import NamedTuple

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import check, map_info

_COUNT = struct.Struct("=QQ")  # struct ovn_count
_DROP = struct.Struct("=IIII")  # struct ovn_drop_key
_BATCH = 4096  # elements read by one system call


class Count(NamedTuple):
    """Packets, and bytes of their frames as they came in."""

    packets: int
    bytes: int


def possible_cpus() -> int:
    """How many values a per-CPU element has (cpu/possible, as libbpf reads it)."""
    text = Path("/sys/devices/system/cpu/possible").read_text()
    return int(text.strip().replace(",", "-").split("-")[-1]) + 1


class Counters:
    """A per-CPU array of struct ovn_count.  fd stays the caller's."""

    def __init__(self, name: str, fd: int) -> None:
        self._name = name
        self._fd = fd
        self._entries = map_info(fd).max_entries
        self._buffer = ffi.new("char[]", possible_cpus() * _COUNT.size)

    def read(self, index: int) -> Count:
        """One element.  Raises DataPlaneError for an index that is not there."""
        key = ffi.new("uint32_t *", index)
        check(lib.ovn_map_lookup(self._fd, key, self._buffer), f"{self._name}[{index}]")
        values = list(_COUNT.iter_unpack(ffi.buffer(self._buffer)))
        return Count(sum(v[0] for v in values), sum(v[1] for v in values))

    def used(self) -> dict[int, Count]:
        """Every element that counted something, by index."""
        counts = ((index, self.read(index)) for index in range(self._entries))
        return {index: count for index, count in counts if count.packets}

    def clear(self, indexes: Iterable[int]) -> None:
        """Counts from 0 again.  Raises DataPlaneError."""
        nothing = bytes(possible_cpus() * _COUNT.size)
        for index in indexes:
            key = ffi.new("uint32_t *", index)
            check(lib.ovn_map_update(self._fd, key, nothing), f"{self._name}[{index}]")

    def used_batch(self) -> dict[int, Count]:
        """The same, for arrays with many elements."""
        counts = _dump(self._name, self._fd, 4)
        return {int.from_bytes(key, sys.byteorder): count for key, count in counts if count.packets}


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
        for key, count in _dump("ovn_drop_flows", self._fd, _DROP.size):
            found[Drop(*_DROP.unpack(key))] = count
        return found

    def forget(self, drops: Iterable[Drop]) -> None:
        """Takes entries out; those that are gone already are no error."""
        for drop in drops:
            key = _DROP.pack(*drop)
            done = ffi.new("uint32_t *")
            check(lib.ovn_hash_delete(self._fd, key, _DROP.size, 1, done), "ovn_drop_flows")


def _dump(name: str, fd: int, key_size: int) -> Iterator[tuple[bytes, Count]]:
    """All elements of a per-CPU map of struct ovn_count."""
    width = possible_cpus() * _COUNT.size
    keys = ffi.new("char[]", _BATCH * key_size)
    values = ffi.new("char[]", _BATCH * width)
    cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
    while more[0]:
        count = check(lib.ovn_hash_dump(fd, cursor, keys, values, _BATCH, more), name)
        read = bytes(ffi.buffer(values, count * width))
        names = bytes(ffi.buffer(keys, count * key_size))
        nothing = bytes(width)
        for n in range(count):
            data = read[n * width : (n + 1) * width]
            if data != nothing:
                each = list(_COUNT.iter_unpack(data))
                total = Count(sum(v[0] for v in each), sum(v[1] for v in each))
                yield names[n * key_size : (n + 1) * key_size], total
