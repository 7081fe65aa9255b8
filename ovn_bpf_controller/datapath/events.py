# SPDX-License-Identifier: Apache-2.0
"""What the program tells of packets that go on: ring buffers ovn_logs and ovn_samples.

The agent reads the one (acl_log.py), `ovn-bpf-ctl samples` the other.  They are
pinned, so what was told while nobody read is there for the next reader, as far as
there was room; what was not is counted (told()).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.counters import Counters
from ovn_bpf_controller.datapath.maps import check, map_info
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.plaindata import dataclass

LOGS: Final = "ovn_logs"
SAMPLES: Final = "ovn_samples"

_EVENT: Final = record("struct ovn_event")
_HEAD: Final = 7  # fields in front of the words
_TOLD: Final = {
    "logged": lib.OVN_TOLD_LOG,
    "logs lost": lib.OVN_TOLD_LOG_LOST,
    "logs limited": lib.OVN_TOLD_LOG_LIMITED,
    "sampled": lib.OVN_TOLD_SAMPLE,
    "samples lost": lib.OVN_TOLD_SAMPLE_LOST,
}


@dataclass(frozen=True, slots=True)
class Event:
    """struct ovn_event; words: the packet context, OVN_WORDS of them."""

    at: int
    arg: int
    flow: int
    egress: int
    length: int
    domain: int
    point: int
    words: tuple[int, ...]


class Events:
    """The one reader of a ring buffer.  Raises DataPlaneError when it cannot be mapped."""

    def __init__(self, name: str, fd: int) -> None:
        """fd stays the caller's."""
        self._events: Any = ffi.new("struct ovn_events *")
        self._record = ffi.new("char[]", _EVENT.size)
        size = map_info(fd).max_entries
        check(lib.ovn_events_open(self._events, fd, size), f"map {name} cannot be read")

    @property
    def fd(self) -> int:
        """To poll for input."""
        return int(self._events.fd)

    def read(self, most: int) -> Iterator[Event]:
        """Up to `most` events, the oldest first, without waiting."""
        for _ in range(most):
            size = lib.ovn_events_read(self._events, self._record, _EVENT.size)
            if size < _EVENT.size:
                return
            values = _EVENT.unpack(bytes(ffi.buffer(self._record)))
            at, arg, flow, egress, length, domain, point = values[:_HEAD]
            yield Event(at, arg, flow, egress, length, domain, point, tuple(values[_HEAD:]))

    def close(self) -> None:
        """Unmaps."""
        lib.ovn_events_close(self._events)


def told(maps: Mapping[str, int]) -> dict[str, int]:
    """How many packets were told of, and how many were not.  maps: fds by name."""
    counters = Counters("ovn_told", maps["ovn_told"])
    return {name: counters.read(index).packets for name, index in _TOLD.items()}
