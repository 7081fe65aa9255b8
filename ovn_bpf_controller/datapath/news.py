# SPDX-License-Identifier: Apache-2.0
"""What the program has learnt just now: struct ovn_news, through a ring for each CPU.

learning.Learning reads it.  The rings belong to the agent that opened them last; what
is learnt while nobody reads, or finds a ring full, is in datapath.learnt's maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import check
from ovn_bpf_controller.datapath.punts import cpus
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.plaindata import NamedTuple

_NEWS: Final = record("struct ovn_news")
_ROOM: Final = 256
_ORDER: Final = 2  # pages: nearly 300 records


class Kind(Enum):
    """What a record is about."""

    NEIGHBOUR = lib.OVN_NEWS_MAC
    STATION = lib.OVN_NEWS_FDB
    VIRTUAL = lib.OVN_NEWS_VPORT
    AWAKE = lib.OVN_NEWS_AWAKE


class Item(NamedTuple):
    """group: the frame was for many, so other chassis may have seen it, too.  dp, port:
    keys; vport: of a VIRTUAL port that `port` speaks for.  ip: 128 bits, of a
    NEIGHBOUR.  at: when, as the rings of several CPUs do not say what came first.
    """

    kind: Kind
    group: bool
    dp: int
    port: int
    vport: int
    ip: int
    mac: int
    at: int


class News:
    """Open rings.  fd: of map ovn_news.  Raises DataPlaneError."""

    def __init__(self, fd: int) -> None:
        self._sample = ffi.new("char[]", _ROOM)
        self._rings: list[Any] = []
        self._lost = 0
        with ExitStack() as undo:
            undo.callback(self.close)
            for cpu in sorted(cpus()):
                ring = ffi.new("struct ovn_ring *")
                check(lib.ovn_ring_open(ring, fd, cpu, _ORDER), f"ring of CPU {cpu} for news")
                self._rings.append(ring)
            undo.pop_all()

    def close(self) -> None:
        """From here on nobody is told."""
        for ring in self._rings:
            lib.ovn_ring_close(ring)
        self._rings = []

    @property
    def fds(self) -> list[int]:
        """To poll for input."""
        return [int(ring.fd) for ring in self._rings]

    def read(self, most: int) -> Iterator[Item]:
        """Up to `most` records of each CPU."""
        for ring in self._rings:
            for _ in range(most):
                size = lib.ovn_ring_read(ring, self._sample, _ROOM)
                if size < _NEWS.size:
                    break
                at, kind, group, dp, port, vport, *words = _NEWS.unpack_from(
                    ffi.buffer(self._sample, size)
                )
                ip = words[0] << 96 | words[1] << 64 | words[2] << 32 | words[3]
                mac = words[4] << 32 | words[5]
                yield Item(Kind(kind), bool(group), dp, port, vport, ip, mac, at)

    def lost(self) -> bool:
        """Whether a record was lost since the last call."""
        before, self._lost = self._lost, sum(int(ring.lost) for ring in self._rings)
        return self._lost != before
