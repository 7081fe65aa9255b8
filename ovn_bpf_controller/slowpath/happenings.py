# SPDX-License-Identifier: Apache-2.0
"""trigger_event: what has happened lately, for the Southbound's Controller_Event rows.

A packet for a load balancer without backends tells who runs the service to start one;
such packets come many a second, and are one event.  duties.events writes it.
Behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

MOST: Final = 1000
LASTS: Final = 10.0  # seconds behind its last packet
_REPORT_SECONDS: Final = 0.1

Happening = tuple[str, tuple[tuple[str, str], ...]]
"""Its kind, and what the flow says of it."""


class Happenings(Duty):
    """Events, with when they were last seen (time.monotonic())."""

    name = "events"

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Happening, float] = {}
        self._changed = False
        self._report_at = 0.0

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return {lib.OVN_PUNT_EVENT: self.note}

    def note(self, _punt: Punt, argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
        """See service.Handler: nothing goes on."""
        what = (str(argument["event"]), tuple(sorted(argument["info"].items())))
        now = time.monotonic()
        if what not in self._seen and len(self._seen) >= MOST:
            raise RejectedError("more events than are kept")
        self._seen[what] = now
        self._changed = True
        self._plan(now)
        yield from ()

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        before = len(self._seen)
        self._seen = {what: at for what, at in self._seen.items() if at + LASTS > now}
        self._changed = self._changed or len(self._seen) != before
        self._plan(now)
        yield from ()

    def reports(self) -> Mapping[str, Any]:
        """events: [kind, what is said of it, when it was last seen in nanoseconds]."""
        return {
            "events": [[kind, dict(info), int(at * 1e9)] for (kind, info), at in self._seen.items()]
        }

    def _plan(self, now: float) -> None:
        if self._changed and now >= self._report_at:
            self._changed = False
            self.news = True
            self._report_at = now + _REPORT_SECONDS
        ends = min(self._seen.values(), default=FOREVER) + LASTS
        self.due = min(ends, self._report_at if self._changed else FOREVER)
