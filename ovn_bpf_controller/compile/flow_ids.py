# SPDX-License-Identifier: Apache-2.0
"""Small numbers for logical flows: what a rule, a counter and a drop event carry.

A number is given back only at the flush after its flow went, so that no number
means two flows within one change of the data plane.  0 is nobody's: the agent's
own rules have it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from itertools import islice


class FlowIds:
    """uuid of a Logical_Flow <-> number from 1 up, the smallest free one first."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._uuids: dict[int, str] = {}
        self._free: list[int] = []
        self._leaving: list[int] = []
        self._counted: dict[int, None] = {}  # free ones that have counts of a flow that went
        self._reused: set[int] = set()

    def add(self, uuid: str) -> int:
        """The flow's number; a new one unless it has one."""
        number = self._numbers.get(uuid)
        if number is None:
            if self._free:
                number = heapq.heappop(self._free)
                if number in self._counted:
                    del self._counted[number]
                    self._reused.add(number)
            else:
                number = len(self._uuids) + 1
            self._numbers[uuid] = number
            self._uuids[number] = uuid
        return number

    def remove(self, uuid: str) -> None:
        """The number stays taken until settle()."""
        number = self._numbers.pop(uuid, None)
        if number is not None:
            self._leaving.append(number)

    def settle(self) -> None:
        """Frees the numbers of removed flows."""
        for number in self._leaving:
            del self._uuids[number]
            heapq.heappush(self._free, number)
            self._counted[number] = None
        self._leaving.clear()

    def take_free(self, most: int) -> Collection[int]:
        """Some free numbers with counts of flows that went; who asks makes them 0."""
        found = list(islice(self._counted, most))
        for number in found:
            del self._counted[number]
        return found

    def take_reused(self) -> set[int]:
        """Numbers that mean another flow than before, since the last call, and were in
        use again before take_free() gave them."""
        reused, self._reused = self._reused, set()
        return reused

    def number(self, uuid: str) -> int | None:
        """The flow's number, if it has one."""
        return self._numbers.get(uuid)

    def uuid(self, number: int) -> str | None:
        """The flow with that number; one just removed is still known until settle()."""
        return self._uuids.get(number)
