# SPDX-License-Identifier: Apache-2.0
"""What is due when: duties with thousands of things to do look at those that are due.

bfd and services keep one of a session or a check each: a list that is searched in
every iteration costs more than the packets do.
"""

from __future__ import annotations

import heapq

from ovn_bpf_controller.slowpath.duty import FOREVER


class Agenda:
    """A time for each name; FOREVER is none."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def set(self, name: str, when: float) -> None:
        """From now on that time and no other."""
        if self._times.get(name, FOREVER) == when:
            return
        if when == FOREVER:
            del self._times[name]
            return
        self._times[name] = when
        heapq.heappush(self._heap, (when, name))
        if len(self._heap) > 2 * len(self._times) + 64:  # mostly what counts no more
            self._heap = [(at, each) for each, at in self._times.items()]
            heapq.heapify(self._heap)

    @property
    def due(self) -> float:
        """The next time."""
        heap = self._heap
        while heap and self._times.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else FOREVER

    def take(self, now: float) -> list[str]:
        """Names whose time has come; they have none until it is set again."""
        found = []
        while self.due <= now:
            _, name = heapq.heappop(self._heap)
            del self._times[name]
            found.append(name)
        return found
