# SPDX-License-Identifier: Apache-2.0
"""The loop of the slow-path process: packets in, answers out, one at a time.

A handler is a function from a packet to the packets that go on because of it.  It
never blocks and never fails: what a packet says can only cost that packet, and is
counted under its reason.
"""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from ovn_bpf_controller.datapath.punts import Punt, Punts
from ovn_bpf_controller.errors import DataPlaneError, OvnBpfError
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.slowpath.checksums import whole
from ovn_bpf_controller.slowpath.knowledge import Knowledge, Teacher

_log = Logger("slowpath")
_rate = RateLimit(5, 5)

# Packets of one CPU in a round: then it is another one's turn.
BATCH = 16
TELL_SECONDS = 1.0
LOOK_SECONDS = 0.005  # while packets wait


class RejectedError(OvnBpfError):
    """A packet that is not answered; the text is the reason it is counted under."""


Handler = Callable[[Punt, Mapping[str, Any], Knowledge], Iterable[Punt]]
"""(packet, its verb's argument, what is known) -> packets that go on.  Raises
RejectedError."""


class Buffer(Protocol):
    """Packets that wait: neighbours.Neighbours."""

    @property
    def waiting(self) -> int:
        """How many do."""

    def run(self) -> Iterable[Punt]:
        """Those that need to wait no longer."""


class Service:
    """One slow path."""

    def __init__(
        self,
        punts: Punts,
        teacher: Teacher,
        knowledge: Knowledge,
        handlers: Mapping[int, Handler],
        buffer: Buffer,
    ) -> None:
        """handlers: by enum ovn_punt_verb.  buffer: packets that wait for something."""
        self._punts = punts
        self._teacher = teacher
        self._knowledge = knowledge
        self._handlers = handlers
        self._buffer = buffer
        self.counts: Counter[str] = Counter()
        self._worst = 0.0
        self._tell_at = 0.0
        self._lesson = 0

    def run(self, stop: Callable[[], bool], wake: int) -> None:
        """Until stop(); wake: a descriptor that becomes readable then."""
        poller = select.poll()
        for fd in (*self._punts.fds, wake):
            poller.register(fd, select.POLLIN)
        teacher = self._teacher.fd
        if teacher >= 0:
            poller.register(teacher, select.POLLIN)
        while not stop():
            if self._round() == 0:
                seconds = LOOK_SECONDS if self._buffer.waiting else TELL_SECONDS
                poller.poll(seconds * 1000)
            for punt in self._buffer.run():
                self._send(punt)
            self._teacher.run()
            if teacher >= 0 and self._teacher.fd < 0:
                poller.unregister(teacher)
                teacher = -1
            self._tell()

    def _round(self) -> int:
        """Serves what waits, a batch at most; returns how many packets."""
        served = 0
        for punt in self._punts.read(BATCH):
            start = time.monotonic()
            self.serve(punt)
            self._worst = max(self._worst, time.monotonic() - start)
            served += 1
        return served

    def serve(self, punt: Punt) -> None:
        """One packet."""
        self.counts["packets"] += 1
        handler = self._handlers.get(punt.verb)
        argument = self._knowledge.arguments.get(punt.arg)
        if handler is None or argument is None:
            self.counts["unknown verb" if handler is None else "unknown argument"] += 1
            return
        try:
            for answer in handler(punt, argument, self._knowledge):
                self._send(answer)
        except RejectedError as error:
            self.counts[str(error)] += 1

    def _send(self, punt: Punt) -> None:
        try:
            self._punts.send(replace(punt, frame=whole(punt.frame)))
        except DataPlaneError as error:
            self.counts["not sent"] += 1
            _rate.warn(_log, str(error))

    def _tell(self) -> None:
        """The agent's status shows it."""
        now = time.monotonic()
        if now < self._tell_at and self._lesson == self._knowledge.lesson:
            return
        self._lesson = self._knowledge.lesson
        self._tell_at = now + TELL_SECONDS
        counts = {**self.counts, "lost": self._punts.lost, "waiting": self._buffer.waiting}
        self._teacher.say(
            {"lesson": self._lesson, "counts": counts, "worst_ms": round(self._worst * 1000, 3)}
        )
