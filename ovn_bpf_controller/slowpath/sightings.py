# SPDX-License-Identifier: Apache-2.0
"""Packets that came, for the agent's log, while somebody looks (packet_log).

slowpath.service notes each before its duty sees it.  Bounded: what came between two
words to the agent and finds no room is not told.
"""

from __future__ import annotations

from typing import Any, Final

from ovn_bpf_controller.datapath.punts import Punt

MOST: Final = 200  # what one source may have in a second


class Sightings:
    """Those since the last take()."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, int, tuple[int, ...]]] = []

    def note(self, duty: str, punt: Punt) -> None:
        """A packet for a duty."""
        if len(self._seen) < MOST:
            self._seen.append((duty, len(punt.frame), punt.words))

    def take(self) -> dict[str, Any]:
        """A member for the agent, `seen`: duty, bytes and context of each; or none."""
        seen, self._seen = self._seen, []
        return {"seen": seen} if seen else {}
