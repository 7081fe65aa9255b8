# SPDX-License-Identifier: Apache-2.0
"""When nb_cfg may be acknowledged: `ovn-nbctl --wait=hv` returns because of it.

Seeing a number is not enough.  All monitor conditions must have been answered at
that moment, and the data plane must run a generation that holds everything seen
up to then (OVN documents no less: ovn-architecture(7), nb_cfg).
"""

from __future__ import annotations

from collections import deque

from ovn_bpf_controller.process.log import Logger

_log = Logger("main")


class NbCfg:
    """Numbers seen, with the iteration that must be live before they are told."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()
        self._live = 0
        self._last = 0
        self._held = (0, 0, 0)
        self.delay = 0  # seconds

    def see(self, nb_cfg: int, seq: int, settled: bool) -> None:
        """SB_Global says `nb_cfg` in iteration `seq`; counts only when settled."""
        if settled and nb_cfg != self._last:
            self._last = nb_cfg
            self._seen.append((seq, nb_cfg))

    def live(self, acked: int) -> int:
        """The newest number that is in force when iteration `acked` is; 0: none."""
        while self._seen and self._seen[0][0] <= acked:
            self._live = self._seen.popleft()[1]
        return self._live

    def told(self, live: int, now: int, wall: int) -> int | None:
        """When `live` was in force, ms of the Unix epoch, if it may be told now.

        now: ms of the monotonic clock; wall: of the Unix epoch.  It may, but for
        debug/delay-nb-cfg-report.
        """
        if not self.delay:
            return wall
        if self._held[0] != live:
            self._held = live, now + self.delay * 1000, wall
            _log.info(f"Sleep for {self.delay} sec")
        _, until, since = self._held
        return since if now >= until else None

    @property
    def wake(self) -> int:
        """When told() will say something else, ms of the monotonic clock."""
        return self._held[1]

    def due(self, acked: int) -> bool:
        """Would live(acked) say something new?"""
        return bool(self._seen) and self._seen[0][0] <= acked
