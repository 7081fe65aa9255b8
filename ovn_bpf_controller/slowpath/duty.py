# SPDX-License-Identifier: Apache-2.0
"""One thing that the slow path does: answer packets of some verbs, send when it is time.

service.Service runs all of them, each in its turn; none may block.  What a duty knows
of the databases it hears from the agent's half (ovn_bpf_controller.duties), and what
the databases should know it reports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

FOREVER = float("inf")


class RejectedError(OvnBpfError):
    """A packet that is not answered; the text is the reason it is counted under."""


Handler = Callable[[Punt, Mapping[str, Any], Knowledge], Iterable[Punt]]
"""(packet, its verb's argument, what is known) -> packets that go on.  Raises
RejectedError."""


class Duty:
    """The base of all: does nothing.

    name: for counters and the status.  due: time (time.monotonic()) at which run() is
    wanted next.  news: reports() has changed; the service takes it back.
    """

    name: str

    def __init__(self) -> None:
        self.due = FOREVER
        self.news = False

    def verbs(self) -> Mapping[int, Handler]:
        """The packets it serves, by enum ovn_punt_verb."""
        return {}

    def hears(self) -> Mapping[str, Callable[[Any], Any]]:
        """What it is told: name in the agent's lines -> made of its JSON
        (Knowledge.facts).  May raise KeyError, ValueError, TypeError, AttributeError."""
        return {}

    def learnt(self, known: Knowledge) -> None:
        """Called after each line of the agent."""

    def run(self, now: float) -> Iterable[Punt]:
        """What is to be sent by now; it sets `due` again.  A Punt with pc 0 begins in
        `table` of the pipeline of its words' datapath, from their inport."""
        return ()

    @property
    def waiting(self) -> int:
        """Packets that wait for something."""
        return 0

    def reports(self) -> Mapping[str, Any]:
        """What the agent is to know, JSON by name: all of it, each time."""
        return {}


class Verbs(Duty):
    """A duty that only answers packets."""

    def __init__(self, name: str, served: Mapping[int, Handler]) -> None:
        super().__init__()
        self.name = name
        self._served = served

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return self._served
