# SPDX-License-Identifier: Apache-2.0
"""The watcher's end of what the program shows of packets: ovn-bpf-ctl monitor, capture.

One watcher at a time: it says in ovn_watch what it wants to see, and reads a ring of
each CPU.  When it dies the kernel takes its rings away, and the program stops by
itself (csrc/bpf/witness.h).
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import locks, probe
from ovn_bpf_controller.datapath.loader import pinned_map
from ovn_bpf_controller.datapath.maps import ArrayMap, check, pinned
from ovn_bpf_controller.datapath.punts import cpus
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.plaindata import dataclass

IN: Final = lib.OVN_SEEN_IN
TUNNEL: Final = lib.OVN_SEEN_TUNNEL
OUT: Final = lib.OVN_SEEN_OUT
REMOTE: Final = lib.OVN_SEEN_REMOTE
DROP: Final = lib.OVN_SEEN_DROP
ALL: Final = IN | TUNNEL | OUT | REMOTE | DROP

# A record's length is 16 bits wide.
MAX_SNAP: Final = 32_768
_ORDER: Final = 8  # 256 pages for each CPU
_WITNESS: Final = record("struct ovn_witness")
_WATCH: Final = record("struct ovn_watch")
_BATCH: Final = 64


@dataclass(frozen=True, slots=True)
class Witness:
    """struct ovn_witness.  at: ns of CLOCK_MONOTONIC.  frame: from its (inner) Ethernet
    header on, as much as was taken; length: all of that."""

    at: int
    seen: int
    a: int
    dp: int
    inport: int
    outport: int
    flow: int
    table: int
    length: int
    frame: bytes


class Watcher:
    """Watches from __enter__ on.  Raises StartupError when somebody else does, or there is
    no data plane; DataPlaneError when the kernel refuses."""

    def __init__(self, instance: str, bpffs: Path = probe.BPFFS) -> None:
        """instance: as Plane has it."""
        self._instance, self._bpffs = instance, bpffs
        self._undo = ExitStack()
        self._rings: list[Any] = []
        self._sample = ffi.new("char[]", _WITNESS.size + MAX_SNAP + 64)

    def __enter__(self) -> Self:
        with self._undo as undo:
            self._watch = ArrayMap("ovn_watch", self._open("ovn_watch", undo))
            fd = self._open("ovn_witness", undo)
            self._lock(undo)
            for cpu in sorted(cpus()):
                ring = ffi.new("struct ovn_ring *")
                check(lib.ovn_ring_open(ring, fd, cpu, _ORDER), f"ring of CPU {cpu}")
                undo.callback(lib.ovn_ring_close, ring)
                self._rings.append(ring)
            undo.callback(self._watch.put, 0, bytes(_WATCH.size))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rings = []
        self._undo.close()

    def watch(self, seen: int, dp: int = 0, port: int = 0, snap: int = 256) -> None:
        """What to see from now on.  seen: IN … DROP, or'ed.  dp, port: keys, 0 for any."""
        self._watch.put(0, _WATCH.pack(seen, dp, port, min(snap, MAX_SNAP)))

    @property
    def lost(self) -> int:
        """Packets that were too many."""
        return sum(int(ring.lost) for ring in self._rings)

    def read(self, seconds: float) -> Iterator[Witness]:
        """What comes in the next `seconds`, at most; returns earlier when there was some."""
        poller = select.poll()
        for ring in self._rings:
            poller.register(ring.fd, select.POLLIN)
        deadline = time.monotonic() + seconds
        while not (found := self._batch()) and time.monotonic() < deadline:
            poller.poll(max(1, round((deadline - time.monotonic()) * 1000)))
        # CPUs are read one after the other: within a batch the order is put right.
        yield from sorted(found, key=lambda witness: witness.at)

    def _batch(self) -> list[Witness]:
        return [each for ring in self._rings for each in self._read(ring)]

    def _read(self, ring: Any) -> Iterator[Witness]:
        for _ in range(_BATCH):
            size = lib.ovn_ring_read(ring, self._sample, len(self._sample))
            if size < _WITNESS.size:
                return
            data = bytes(ffi.buffer(self._sample, size))
            *head, length, off, taken = _WITNESS.unpack(data[: _WITNESS.size])
            at, seen, a, dp, inport, outport, flow, table = head
            frame = data[_WITNESS.size + off : _WITNESS.size + taken]
            yield Witness(at, seen, a, dp, inport, outport, flow, table, length - off, frame)

    def _pin(self, name: str) -> Path:
        path = pinned_map(self._instance, name, self._bpffs)
        if path is None:
            raise StartupError("there is no data plane to watch")
        return path

    def _open(self, name: str, undo: ExitStack) -> int:
        fd = pinned(self._pin(name))
        undo.callback(os.close, fd)
        return fd

    def _lock(self, undo: ExitStack) -> None:
        lock = locks.taken(self._pin("ovn_watch").parent.parent, locks.WATCH)
        if lock is None:
            raise StartupError("another ovn-bpf-ctl watches")
        undo.callback(os.close, lock)
