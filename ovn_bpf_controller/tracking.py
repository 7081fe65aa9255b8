# SPDX-License-Identifier: Apache-2.0
"""What the databases mean for connections: zones, limits, backends and next hops that go.

The agent owns one.  Until everything local has been seen nothing is flushed and no
limit changes: connections of an earlier agent's time go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller.backends import Backends
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.binding.zones import Moved
from ovn_bpf_controller.datapath.conntrack import Conntrack, Pair
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.next_hops import NextHop, NextHops
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import ECMPNexthop
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("ct")
_rate = RateLimit(5, 5)
_SLICE: Final = 0.05  # seconds of an iteration


class Tracking:
    """The agent's share in connection tracking.  table: closed by its owner."""

    def __init__(self, table: Conntrack, cache: SouthboundCache) -> None:
        self.table = table
        self._backends = Backends(cache)
        self._cache = cache
        self._next_hops = NextHops()
        self._gone: set[Pair] = set()
        self._lost: set[NextHop] = set()
        self._released: set[int] = set()
        self._limits: Mapping[int, int] | None = None
        self._ending: Iterator[None] | None = None

    def zones_moved(self, moved: Moved) -> None:
        """See binding.engine.Binding.

        Released zones are flushed again when their flows are gone: packets may make
        connections in them until then.
        """
        self._released |= moved.released
        for zone in sorted(moved.allotted | moved.released):
            self.table.flush_zone(zone)
            _log.dbg(f"flushed zone {zone}")

    def changed(self, changes: Changes, variables: Mapping[str, str]) -> None:
        """Takes in what changed in the Southbound, in each iteration."""
        self._gone |= self._backends.run(changes, variables)

    def live(self, desired: Desired) -> None:
        """What is desired is in the tables: what it leaves behind can end."""
        if self._released:
            for zone in self._released - set(desired.zones.values()):
                self.table.flush_zone(zone)
            self._released.clear()
        if desired.zone_limits != self._limits:
            self.table.set_limits(desired.zone_limits)
            self._limits = desired.zone_limits
        rows = self._cache.table(ECMPNexthop).values()
        self._lost |= self._next_hops.run(rows, desired.datapaths)
        self.go_on()

    def go_on(self) -> None:
        """Ends connections of what is gone, for a moment in each iteration.

        Among a million it takes a while to find them, and nothing else may wait for that.
        """
        until = time.monotonic() + _SLICE
        while self._ending is not None or self._gone or self._lost:
            if self._ending is None and self._gone:
                self._ending = self._end(self._gone)
                self._gone = set()
            elif self._ending is None:
                self._ending = self._end_by(self._lost)
                self._lost = set()
            try:
                next(self._ending)
            except StopIteration:
                self._ending = None
            except DataPlaneError as error:
                _rate.warn(_log, f"connections to what was removed go on: {error}")
                self._ending = None
            if time.monotonic() >= until:
                return

    def wait(self, poller: Any) -> None:
        """Wakes the poller while go_on() has something to do."""
        if self._ending is not None:
            poller.immediate_wake()

    def _end(self, pairs: set[Pair]) -> Iterator[None]:
        """Connections from a VIP to a backend that is gone, batch by batch."""
        ended = 0
        for batch in self.table.dump(pairs=sorted(pairs)):
            ended += self.table.kill(batch)
            yield
        _log.dbg(f"flushed {ended} connections to {len(pairs)} removed backends")

    def _end_by(self, hops: set[NextHop]) -> Iterator[None]:
        """Connections that came by a next hop that is gone, batch by batch."""
        ended = 0
        for zone in sorted({hop.zone for hop in hops}):
            for batch in self.table.dump(zone):
                ended += self.table.kill(c for c in batch if any(hop.of(c) for hop in hops))
                yield
        _log.dbg(f"flushed {ended} connections by {len(hops)} removed next hops")
