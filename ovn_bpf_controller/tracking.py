# SPDX-License-Identifier: Apache-2.0
"""What the databases mean for connections: zones, their limits, backends that go.

The agent owns one.  Until everything local has been seen nothing is flushed and no
limit changes: connections of an earlier agent's time go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ovn_bpf_controller.backends import Backends, Pair
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.binding.zones import Moved
from ovn_bpf_controller.datapath.conntrack import Connection, Conntrack, Tuple
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("ct")
_rate = RateLimit(5, 5)


class Tracking:
    """The agent's share in connection tracking.  table: closed by its owner."""

    def __init__(self, table: Conntrack, cache: SouthboundCache) -> None:
        self.table = table
        self._backends = Backends(cache)
        self._gone: set[Pair] = set()
        self._released: set[int] = set()
        self._limits: Mapping[int, int] | None = None

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
        for zone in self._released - set(desired.zones.values()):
            self.table.flush_zone(zone)
        self._released.clear()
        if desired.zone_limits != self._limits:
            self.table.set_limits(desired.zone_limits)
            self._limits = desired.zone_limits
        if not self._gone:
            return
        gone, self._gone = self._gone, set()
        try:
            ended = self.table.kill(self._of(gone))
        except DataPlaneError as error:
            _rate.warn(_log, f"connections to {len(gone)} removed backends go on: {error}")
            return
        _log.dbg(f"flushed {ended} connections to {len(gone)} removed backends")

    def _of(self, pairs: Iterable[Pair]) -> Iterator[Connection]:
        """Connections from a VIP to a backend that is gone."""
        by_address: dict[tuple[int, int], list[Pair]] = {}
        for pair in pairs:
            by_address.setdefault((pair.vip, pair.backend), []).append(pair)
        for batch in self.table.dump():
            for conn in batch:
                for pair in by_address.get((conn.orig.dst, conn.reply.src), ()):
                    if _meets(pair, conn.proto, conn.orig, conn.reply):
                        yield conn
                        break


def _meets(pair: Pair, proto: int, orig: Tuple, reply: Tuple) -> bool:
    """Addresses agree already; 0 is any."""
    return (
        pair.proto in (0, proto)
        and pair.vip_port in (0, orig.dport)
        and pair.backend_port in (0, reply.sport)
    )
