# SPDX-License-Identifier: Apache-2.0
"""The program's per-CPU counters, summed up.

observe reads them for operators, tests for the proof that nothing is lost
without a reason.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import check, map_info

_COUNT = struct.Struct("=QQ")  # struct ovn_count


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
