# SPDX-License-Identifier: Apache-2.0
"""Meters in the kernel: maps ovn_meters and ovn_meter_use.

metering.Metering says which there are to be.  What a meter says is the agent's to
change; its buckets and counts are the program's, so no change and no restart of the
agent loses a packet from them.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.counters import Count
from ovn_bpf_controller.datapath.maps import check
from ovn_bpf_controller.model import Meter
from ovn_bpf_controller.plaindata import NamedTuple

METERS: Final = "ovn_meters"
USE: Final = "ovn_meter_use"
_MOST: Final = 0xFFFFFFFF
_BATCH: Final = 4096


class Use(NamedTuple):
    """What a meter let pass, and what not."""

    passed: Count
    dropped: Count


class Meters:
    """maps: fds by name; they stay the caller's.  Raises DataPlaneError throughout."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        self._meters, self._use = maps[METERS], maps[USE]

    def put(self, key: int, meter: Meter) -> None:
        """Makes a meter what it says.  One that said otherwise has full buckets again."""
        old: Any = ffi.new("struct ovn_meter *")
        place = ffi.new("uint64_t *", key)
        there = lib.ovn_map_lookup(self._meters, place, old) == 0
        new = _packed(key, meter, old.epoch)
        if there and bytes(ffi.buffer(new)) == bytes(ffi.buffer(old)):
            return
        new.epoch = (old.epoch + 1) & _MOST
        use: Any = ffi.new("struct ovn_meter_use *")
        if lib.ovn_map_lookup(self._use, place, use) < 0:
            use.key = key
            _check(lib.ovn_map_update(self._use, place, use), USE)
        _check(lib.ovn_map_update(self._meters, place, new), METERS)

    def drop(self, keys: Iterable[int]) -> None:
        """They are no more; unknown ones are passed over."""
        for key in keys:
            place = ffi.new("uint64_t *", key)
            for name, fd in ((METERS, self._meters), (USE, self._use)):
                result = lib.ovn_map_delete(fd, place)
                if result != -errno.ENOENT:
                    check(result, f"map {name} cannot be changed")

    def keys(self) -> set[int]:
        """All that there are, of an earlier agent too."""
        found = {int(use.key) for use in self._dump()}
        found.discard(0)
        return found

    def read(self) -> dict[int, Use]:
        """What each let pass, by key; each as of one moment."""
        return {
            int(use.key): Use(
                Count(use.passed, use.passed_bytes), Count(use.dropped, use.dropped_bytes)
            )
            for use in self._dump()
        }

    def _dump(self) -> Iterator[Any]:
        keys = ffi.new("uint64_t[]", _BATCH)
        values = ffi.new("struct ovn_meter_use[]", _BATCH)
        cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
        while more[0]:
            result = lib.ovn_map_dump(self._use, cursor, keys, values, _BATCH, 1, more)
            for n in range(check(result, f"map {USE} cannot be read")):
                yield values[n]


def _packed(key: int, meter: Meter, epoch: int) -> Any:
    """struct ovn_meter.  Of more bands than fit the strictest are taken."""
    made: Any = ffi.new("struct ovn_meter *")
    made.key, made.packets, made.epoch = key, meter.packets, epoch
    bands = sorted(meter.bands)[: lib.OVN_METER_BANDS]
    made.n = len(bands)
    for n, (rate, burst) in enumerate(bands):
        rate = min(max(rate, 1), _MOST)
        made.band[n].rate, made.band[n].burst = rate, min(burst or rate, _MOST)
    return made


def _check(result: int, name: str) -> None:
    if result in (-errno.E2BIG, -errno.ENOSPC):
        check(result, f"map {name} is full")
    check(result, f"map {name} cannot be changed")
