# SPDX-License-Identifier: Apache-2.0
"""What is not carried out as the Southbound says, and why: kept for operators.

compile.compiler puts in what comes of a flow, of a port's port_security or of a MAC
binding.  What is new is told once, for the log; all of it when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from ovn_bpf_controller.plaindata import dataclass


class Problem(Enum):
    """What keeps a flow from being carried out as written."""

    VERB = "unsupported verb"  # its packets are dropped
    INVALID = "invalid"  # left out
    MATCH = "unsupported match"  # left out
    ROOM = "no room"  # in its stage: its packets are dropped, see datapath.unplaced


@dataclass(frozen=True, slots=True)
class UnsupportedFlow:
    """A flow that is not carried out as written, and why.

    uuid: of the Logical_Flow, or of nothing ("") for a port's port_security.
    what: the verb, or the error.  datapaths: where; all of the flow's, unless
    names differ between them.
    """

    uuid: str
    stage: str
    problem: Problem
    what: str
    datapaths: tuple[int, ...]


class Problems:
    """By owner: (its name, datapath)."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], list[UnsupportedFlow]] = {}
        self._news: list[UnsupportedFlow] = []

    def put(
        self,
        owner: tuple[str, int],
        uuid: str,
        stage: str,
        problems: Sequence[tuple[Problem, str]],
    ) -> None:
        """Makes these all that the owner has; what it did not have is news."""
        old = self._of.pop(owner, [])
        if problems:
            found = [UnsupportedFlow(uuid, stage, *each, (owner[1],)) for each in problems]
            self._news += [each for each in found if each not in old]
            self._of[owner] = found

    def drop(self, owner: tuple[str, int]) -> None:
        """It is gone, or has none any more."""
        self._of.pop(owner, None)

    def every(self) -> Iterator[UnsupportedFlow]:
        """All of them, each with all datapaths that have it."""
        where: dict[tuple[str, str, Problem, str], list[int]] = {}
        for found in self._of.values():
            for each in found:
                what = (each.uuid, each.stage, each.problem, each.what)
                where.setdefault(what, []).extend(each.datapaths)
        for what, datapaths in where.items():
            yield UnsupportedFlow(*what, tuple(sorted(datapaths)))

    def take_news(self) -> list[UnsupportedFlow]:
        """Those that are new since the last call."""
        news, self._news = self._news, []
        return news
