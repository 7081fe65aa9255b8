# SPDX-License-Identifier: Apache-2.0
"""When to probe a service, and what its answers say of it; without I/O.

slowpath.services sends and receives.  Time is an argument, in seconds.  Behaviour:
ovn-controller's pinctrl.c; counts begin anew only when one of them is reached.
"""

from __future__ import annotations

from typing import Final

from ovn_bpf_controller.plaindata import dataclass

ONLINE: Final = "online"
OFFLINE: Final = "offline"
_OFTEN: Final = 0.1  # seconds between probes at least


@dataclass(frozen=True, slots=True)
class Pace:
    """interval, timeout: seconds.  successes, failures: how many make it on- or offline.

    silence: whether no answer in time is a success, as it is of UDP.
    """

    interval: float
    timeout: float
    successes: int
    failures: int
    silence: bool = False


class Watch:
    """One service.  due: when run() is wanted.  status: "" until it is known."""

    def __init__(self, pace: Pace, now: float) -> None:
        self.pace = pace
        self.due = now
        self.status = ""
        self.waiting = False
        self._good = 0
        self._bad = 0

    def run(self, now: float) -> bool:
        """Whether to send a probe now."""
        if now < self.due:
            return False
        if self.waiting:
            self.answered(self.pace.silence, now)
            return False
        self.waiting = True
        self.due = now + self.pace.timeout
        return True

    def answered(self, good: bool, now: float) -> None:
        """The probe's outcome; there is one for each."""
        if not self.waiting:
            return
        self.waiting = False
        self.due = now + max(self.pace.interval, _OFTEN)
        self._good += good
        self._bad += not good
        if good and self._good >= self.pace.successes:
            self._known(ONLINE)
        elif not good and self._bad >= self.pace.failures:
            self._known(OFFLINE)

    def _known(self, status: str) -> None:
        self.status = status
        self._good = self._bad = 0
