# SPDX-License-Identifier: Apache-2.0
"""Packets that leave the program for the slow path, and their way back.

The slow-path process has one Punts.  Up, a perf ring for each CPU brings struct
ovn_punt and the frame; down, PROG_TEST_RUN of ovn_resume takes them.  A reader that
dies is gone from the map at once, so the program drops and counts instead of
filling queues that nobody empties.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import locks
from ovn_bpf_controller.datapath.maps import ArrayMap, check
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.datapath.run import run_once
from ovn_bpf_controller.plaindata import dataclass, replace

_PUNT: Final = record("struct ovn_punt")
_HEAD: Final = 13  # fields in front of the words
_ROOM: Final = 1 << 16
# A CPU's ring: 64 pages hold over a hundred frames of 1,500 bytes.
ORDER: Final = 6


@dataclass(frozen=True, slots=True)
class Punt:
    """struct ovn_punt, and the frame from its Ethernet header on.

    words: the packet context, OVN_WORDS of them; on the way back those of headers
    do not count.  pc 0 on the way back: begin in `table` (0..127) of the datapath
    that word OW_DP names; OVN_PUNT_OUTPUT: output to the port or group of OW_OUTPORT,
    with MLF_LOCAL_ONLY to those here, patch ports excepted.  at: nanoseconds of
    CLOCK_MONOTONIC when it came.
    """

    frame: bytes
    words: tuple[int, ...]
    verb: int = 0
    arg: int = 0
    mark: int = 0
    pc: int = 0
    egress: int = 0
    table: int = 0
    flow: int = 0
    queue: int = 0
    ifindex: int = 0
    answer: int = 0
    at: int = 0

    def with_words(self, values: Mapping[int, int]) -> Punt:
        """The same with other values of some words."""
        words = list(self.words)
        for word, value in values.items():
            words[word] = value
        return replace(self, words=tuple(words))

    def pack(self) -> bytes:
        """As the program reads it."""
        head = (0, self.verb, self.arg, self.mark, self.pc, self.egress, self.table, self.flow)
        rest = (self.queue, self.ifindex, 0, len(self.frame), self.answer)
        return _PUNT.pack(*head, *rest, *self.words)


def unpack(sample: bytes) -> Punt:
    """A sample of the ring."""
    values = _PUNT.unpack(sample[: _PUNT.size])
    at, verb, arg, mark, pc, egress, table, flow, queue, ifindex, off, length, answer = values[
        :_HEAD
    ]
    frame = sample[_PUNT.size + off : _PUNT.size + length]
    words = tuple(values[_HEAD:])
    head = (verb, arg, mark, pc, egress, table, flow, queue, ifindex, answer, at)
    return Punt(frame, words, *head)


class Resume:
    """The way back into the program.  Raises DataPlaneError when the kernel refuses."""

    def __init__(self, maps: Mapping[str, int], resume: int, plane: Path) -> None:
        """maps: fds by name.  resume: fd of program ovn_resume.  plane: directory of
        its pins, which all who send lock, since ovn_resume_ctl is one element.
        """
        self._resume = resume
        self._control = ArrayMap("ovn_resume_ctl", maps["ovn_resume_ctl"])
        self._lock = locks.opened(plane, locks.RESUME)

    def send(self, punt: Punt) -> None:
        """Lets a packet go on where `punt` says.  Raises DataPlaneError.

        Transport checksums in the frame must be whole.  Whether the packet left is
        in the program's counters, as for any other.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._control.put(0, punt.pack())
            run_once(self._resume, "a packet of the slow path cannot be sent", punt.frame)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Gives the lock and the memory back."""
        os.close(self._lock)
        self._control.close()


class Punts:
    """Open rings and the way back.  Raises DataPlaneError when the kernel refuses."""

    def __init__(self, maps: Mapping[str, int], resume: int, plane: Path) -> None:
        """maps, resume, plane: see Resume."""
        self._sample = ffi.new("char[]", _ROOM)
        self._rings: list[Any] = []
        self._back: Resume | None = None
        with ExitStack() as undo:
            undo.callback(self.close)
            self._back = Resume(maps, resume, plane)
            for cpu in sorted(cpus()):
                ring = ffi.new("struct ovn_ring *")
                what = f"ring of CPU {cpu} for the slow path"
                check(lib.ovn_ring_open(ring, maps["ovn_punts"], cpu, ORDER), what)
                self._rings.append(ring)
            undo.pop_all()

    def close(self) -> None:
        """From here on the program drops what it would send."""
        for ring in self._rings:
            lib.ovn_ring_close(ring)
        self._rings = []
        if self._back is not None:
            self._back.close()
            self._back = None

    @property
    def fds(self) -> Sequence[int]:
        """To poll for input."""
        return [int(ring.fd) for ring in self._rings]

    @property
    def lost(self) -> int:
        """Packets that found a ring full."""
        return sum(int(ring.lost) for ring in self._rings)

    @property
    def depth(self) -> float:
        """How full the fullest ring is, 0 to 1."""
        return float(max(lib.ovn_ring_waiting(ring) / ring.size for ring in self._rings))

    def read(self, most: int) -> Iterator[Punt]:
        """Up to `most` packets of each CPU, without waiting."""
        for ring in self._rings:
            for _ in range(most):
                size = lib.ovn_ring_read(ring, self._sample, _ROOM)
                if size < _PUNT.size:
                    break
                yield unpack(bytes(ffi.buffer(self._sample, size)))

    def send(self, punt: Punt) -> None:
        """See Resume."""
        assert self._back is not None
        self._back.send(punt)


def cpus() -> Iterator[int]:
    """Numbers of the CPUs that are online (sysfs: ranges, by commas)."""
    for part in Path("/sys/devices/system/cpu/online").read_text().strip().split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
