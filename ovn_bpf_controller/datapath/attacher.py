# SPDX-License-Identifier: Apache-2.0
"""Attachments by a thread of their own: each waits for an RCU grace period.

That is 8 to 20 ms in which the agent's loop should go on; 50 devices took it half a
second.  attaching.Attaching says with want() what is to run and asks progress() when
fileno() is readable.  From its first want() on only this thread touches Attachments,
but for supersede(), before which it pauses; so what is done is done in one order.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

from ovn_bpf_controller.datapath.attach import Attachment, Attachments, Hook
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.plaindata import dataclass

# Between what is told of many that are being attached, at first and at most: it costs the
# agent a round, and a transaction with each database.
_TELL_SECONDS: Final = 0.1
_TELL_SECONDS_MOST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """running: attachments that do.  failed: those that cannot, with why.  request: the
    want() whose doing this is; what was first wanted later is not spoken of."""

    request: int
    running: frozenset[Attachment]
    failed: Mapping[Attachment, str]


class Attacher:
    """Keeps the devices as was last wanted.  fileno() is readable when there is news."""

    def __init__(self, plane: Plane, hook: Hook | None = None) -> None:
        self._links = Attachments(plane, hook)
        self._changed = threading.Condition()
        self._wanted: frozenset[Attachment] = frozenset()
        self._looking = False
        self._asked = 0  # requests so far
        self._begun = 0  # how many of them the thread has seen
        self._at_work = False
        self._working_for = self._wanted
        self._untold = False  # something was done that nobody was told
        self._tell_at = 0.0
        self._paused = False
        self._closed = False
        self._progress = Progress(0, frozenset(), {})
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def want(self, wanted: Iterable[Attachment]) -> int:
        """From here on these are to run, and no others: what was wanted before and is not
        done yet is left.  Returns the number of this request, 1, 2, …."""
        return self._ask(frozenset(wanted), looking=False)

    def look(self) -> None:
        """Others may have taken programs away: they come back.  What failed is tried again."""
        self._ask(self._wanted, looking=True)

    def _ask(self, wanted: frozenset[Attachment], *, looking: bool) -> int:
        with self._changed:
            self._wanted = wanted
            self._looking |= looking
            self._asked += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="attach", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._asked

    def progress(self) -> Progress | None:
        """What is new since the last call, if anything.  Raises what went wrong."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return None
        with self._changed:
            error, self._error = self._error, None
            if error is not None:
                raise error
            return self._progress

    def hold(self) -> None:
        """Returns when nothing is being attached; nothing is until resume() or supersede()."""
        with self._changed:
            self._paused = True
            self._changed.wait_for(lambda: not self._at_work)

    def supersede(self) -> None:
        """Attachments.supersede(), between two attachments."""
        self.hold()
        try:
            self._links.supersede()
        finally:
            self.resume()

    def resume(self) -> None:
        """After hold(): what is wanted is done, and what failed tried again."""
        with self._changed:
            self._paused = False
        self.look()

    def fileno(self) -> int:
        """For a poll loop."""
        return self._event

    def close(self) -> None:
        """Ends the thread, after the attachment that it is at; what runs goes on."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        os.close(self._event)

    # --- the thread ---------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._at_work = False
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._closed or (self._asked > self._begun and not self._paused)
                )
                if self._closed:
                    return
                self._at_work, self._begun = True, self._asked
                self._working_for = self._wanted
                looking, self._looking = self._looking, False
            try:
                self._links.set_wanted(self._working_for)
                self._work(looking)
            except Exception as error:  # the caller's to judge: progress() raises it
                self._tell(error)
                self._untold = True  # who hears of an error hears of nothing else

    def _work(self, looking: bool) -> None:
        links = self._links
        before = (set(links.running), links.failed)
        pause = _TELL_SECONDS
        if not self._untold:
            self._tell_at = time.monotonic() + pause
        if looking:
            links.look()
        for done in links.steps():
            self._untold |= done
            if self._untold and time.monotonic() >= self._tell_at:
                self._tell()
                pause = min(4 * pause, _TELL_SECONDS_MOST)
                self._tell_at = time.monotonic() + pause
            if self._interrupted:
                return
        if self._untold or not looking or before != (links.running, links.failed):
            self._tell()

    @property
    def _interrupted(self) -> bool:
        """Something else is wanted now."""
        with self._changed:
            return self._closed or self._paused or self._wanted is not self._working_for

    def _tell(self, error: Exception | None = None) -> None:
        with self._changed:
            self._error = error or self._error
            self._untold = False
            links = self._links
            self._progress = Progress(self._begun, frozenset(links.running), dict(links.failed))
            os.eventfd_write(self._event, 1)
