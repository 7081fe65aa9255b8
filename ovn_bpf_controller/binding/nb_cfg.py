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
        self._held = (0, 0)
        self.since = 0  # when what live() says came into force, ms of the Unix epoch
        self.delay = 0  # seconds

    def see(self, nb_cfg: int, seq: int, settled: bool) -> None:
        """SB_Global says `nb_cfg` in iteration `seq`; counts only when settled."""
        if settled and nb_cfg != self._last:
            self._last = nb_cfg
            self._seen.append((seq, nb_cfg))

    def live(self, acked: int, wall: int) -> int:
        """The newest number that is in force when iteration `acked` is; 0: none.

        wall: now, in ms of the Unix epoch.  Both databases are told one time for one
        number, `since`: OVN's tests and exporters compare them.
        """
        while self._seen and self._seen[0][0] <= acked:
            self._live = self._seen.popleft()[1]
            self.since = wall
        return self._live

    def may_tell(self, live: int, now: int) -> bool:
        """Not yet for a while if debug/delay-nb-cfg-report says so; now: monotonic ms."""
        if not self.delay:
            return True
        if self._held[0] != live:
            self._held = live, now + self.delay * 1000
            _log.info(f"Sleep for {self.delay} sec")
        return now >= self._held[1]

    @property
    def wake(self) -> int:
        """When may_tell() will say something else, ms of the monotonic clock."""
        return self._held[1]

    def due(self, acked: int) -> bool:
        """Would live(acked) say something new?"""
        return bool(self._seen) and self._seen[0][0] <= acked
