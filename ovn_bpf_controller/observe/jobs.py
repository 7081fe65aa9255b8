# SPDX-License-Identifier: Apache-2.0
"""Long answers to control commands, a piece in each iteration of the main loop.

A table of a million connections takes many seconds to print; the agent goes on with
its work meanwhile.  The agent owns one; commands hand over iterators.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.process.unixctl import Request

_log = Logger("jobs")
_SLICE: Final = 0.05  # seconds of an iteration


@dataclass(slots=True)
class _Job:
    request: Request
    pieces: Iterator[str]
    done: list[str] = field(default_factory=list)
    note: str = ""


class Jobs:
    """Answers under way.  Each gets its share of every round: short ones overtake."""

    def __init__(self) -> None:
        self._waiting: list[_Job] = []
        self._at_work: _Job | None = None

    @property
    def busy(self) -> bool:
        """Whether any is under way."""
        return bool(self._waiting)

    def progress(self) -> str:
        """A line for each: how far it has come."""
        return "".join(f"{job.note or f'{len(job.done):,} lines'}\n" for job in self._waiting)

    def note(self, text: str) -> None:
        """For what is at work just now: what it does, to be told to who waits for it."""
        if self._at_work is not None:
            self._at_work.note = text

    def start(self, request: Request, pieces: Iterator[str]) -> None:
        """Answers with all pieces, now if there are few.

        An empty piece: it is to be asked again in the next iteration.  An OvnBpfError
        becomes an error reply.
        """
        job = _Job(request, pieces)
        if self._goes_on(job, time.monotonic() + _SLICE):
            self._waiting.append(job)

    def run(self) -> None:
        """Goes on for a moment."""
        share = _SLICE / max(1, len(self._waiting))
        self._waiting = [
            job for job in self._waiting if self._goes_on(job, time.monotonic() + share)
        ]

    def wait(self, poller: Any) -> None:
        """Wakes the poller while there is something left."""
        if self._waiting:
            poller.immediate_wake()

    def _goes_on(self, job: _Job, until: float) -> bool:
        self._at_work = job
        try:
            return _goes_on(job, until)
        finally:
            self._at_work = None


def _goes_on(job: _Job, until: float) -> bool:
    """Works on it until then; False once it is answered."""
    while True:
        try:
            piece = next(job.pieces, None)
        except OvnBpfError as error:
            job.request.error(str(error))
            return False
        except Exception as error:
            # A bug in one command must not take the chassis down.
            _log.exception(f"{error}")
            job.request.error("internal error, see the log")
            return False
        if piece is None:
            job.request.reply("".join(job.done))
            return False
        job.done.append(piece)
        if not piece or time.monotonic() >= until:
            return True
