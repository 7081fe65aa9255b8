# SPDX-License-Identifier: Apache-2.0
"""The loop of the slow-path process: packets in, answers out, one at a time.

Duties do the work (slowpath.duty): they answer packets, and send what is due by the
clock.  They never block and never fail: what a packet says can only cost that packet,
and is counted under its reason.
"""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ovn_bpf_controller.datapath.punts import Punt, Punts
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.slowpath.checksums import whole
from ovn_bpf_controller.slowpath.duty import Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge, Teacher
from ovn_bpf_controller.slowpath.sightings import Sightings

_log = Logger("slowpath")
_rate = RateLimit(5, 5)

# Packets of one CPU in a round: then it is another one's turn.
BATCH = 16
LAST_ROUNDS = 64
TELL_SECONDS = 1.0


class Service:
    """One slow path."""

    def __init__(
        self, punts: Punts, teacher: Teacher, knowledge: Knowledge, duties: Sequence[Duty]
    ) -> None:
        """duties: each verb is served by one of them."""
        self._punts = punts
        self._teacher = teacher
        self._knowledge = knowledge
        self._duties = duties
        self._handlers: dict[int, tuple[Duty, Handler]] = {
            verb: (duty, handler) for duty in duties for verb, handler in duty.verbs().items()
        }
        self.counts: Counter[str] = Counter()
        # Seconds, by duty: of work on one packet, from its arrival to its answer, and
        # after the time at which something was due.
        self.worst = {duty.name: 0.0 for duty in duties}
        self.latency = {duty.name: 0.0 for duty in duties}
        self.late = {duty.name: 0.0 for duty in duties}
        self.learning = 0.0  # seconds that the longest of the agent's lessons took
        self.depth = 0.0
        self._tell_at = 0.0
        self._lesson = 0
        self._sightings = Sightings()

    def run(self, stop: Callable[[], bool], wake: int) -> None:
        """Until stop(); wake: a descriptor that becomes readable then."""
        poller = select.poll()
        for fd in (*self._punts.fds, wake):
            poller.register(fd, select.POLLIN)
        teacher = self._teacher.fd
        if teacher >= 0:
            poller.register(teacher, select.POLLIN)
        while not stop():
            self._by_the_clock()
            self._learn()
            if teacher >= 0 and self._teacher.fd < 0:
                poller.unregister(teacher)
                teacher = -1
            self._tell()  # before the first pause: ports wait to hear that we are here
            if self._round() == 0:
                poller.poll(self._pause() * 1000)
        for _ in range(LAST_ROUNDS):  # what came before a successor took over
            if not self._round():
                break

    def _learn(self) -> None:
        start = time.monotonic()
        self._teacher.run()
        if self._lesson != self._knowledge.lesson:
            for duty in self._duties:
                duty.learnt(self._knowledge)
            self.learning = max(self.learning, time.monotonic() - start)

    def _pause(self) -> float:
        """Seconds until something is due."""
        due = min(duty.due for duty in self._duties)
        return max(0.0, min(due - time.monotonic(), TELL_SECONDS))

    def _round(self) -> int:
        """Serves what waits, a batch at most, in its order; returns how many packets."""
        self.depth = max(self.depth, self._punts.depth)
        waiting = sorted(self._punts.read(BATCH), key=lambda punt: punt.at)
        for punt in waiting:
            self.serve(punt)
        return len(waiting)

    def serve(self, punt: Punt) -> None:
        """One packet."""
        self.counts["packets"] += 1
        duty, handler = self._handlers.get(punt.verb, (None, None))
        argument = self._knowledge.arguments.get(punt.arg)
        if self._knowledge.watched:
            self._sightings.note("nobody" if duty is None else duty.name, punt)
        if duty is None or handler is None or argument is None:
            self.counts["unknown verb" if handler is None else "unknown argument"] += 1
            return
        self.counts[duty.name] += 1
        self._take(duty, handler(punt, argument, self._knowledge))
        since = (time.monotonic_ns() - punt.at) / 1e9
        self.latency[duty.name] = max(self.latency[duty.name], since)

    def _by_the_clock(self) -> None:
        now = time.monotonic()
        for duty in self._duties:
            due = duty.due
            if due <= now:
                self._take(duty, duty.run(now))
                self.late[duty.name] = max(self.late[duty.name], time.monotonic() - due)

    def _take(self, duty: Duty, packets: Iterable[Punt]) -> None:
        """Sends what a duty makes; packets: it works while they are taken."""
        start = time.monotonic()
        try:
            for packet in packets:
                self._send(packet)
        except RejectedError as error:
            self.counts[str(error)] += 1
        self.worst[duty.name] = max(self.worst[duty.name], time.monotonic() - start)

    def _send(self, punt: Punt) -> None:
        try:
            self._punts.send(replace(punt, frame=whole(punt.frame)))
        except DataPlaneError as error:
            self.counts["not sent"] += 1
            _rate.warn(_log, str(error))

    def _tell(self) -> None:
        """The agent's status shows how it goes; what is reported goes to the Southbound."""
        self._teacher.flush()
        now = time.monotonic()
        news = [duty for duty in self._duties if duty.news]
        if now < self._tell_at and self._lesson == self._knowledge.lesson and not news:
            return
        if self._teacher.behind and not news:
            return
        self._lesson = self._knowledge.lesson
        self._tell_at = now + TELL_SECONDS
        reports: dict[str, Any] = {}
        for duty in news:
            duty.news = False
            reports.update(duty.reports())
        self._teacher.say(
            {
                "lesson": self._lesson,
                "counts": {**self.counts, "lost": self._punts.lost},
                "waiting": {duty.name: duty.waiting for duty in self._duties},
                "worst_ms": _milliseconds(self.worst),
                "latency_ms": _milliseconds(self.latency),
                "late_ms": _milliseconds(self.late),
                "learning_ms": round(self.learning * 1000, 3),
                "depth": round(self.depth, 3),
                **({"reports": reports} if reports else {}),
                **self._sightings.take(),
            }
        )


def _milliseconds(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(each * 1000, 3) for name, each in seconds.items()}
