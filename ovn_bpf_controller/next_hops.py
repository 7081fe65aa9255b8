# SPDX-License-Identifier: Apache-2.0
"""ECMP_Nexthop rows -> next hops that are gone, whose connections are to end.

Connections that came by an ECMP next hop with symmetric replies have its MAC address
in their label, and answer there.  Rows are of OVN 24.09 and later (ovn-controller's
ecmp-next-hop-monitor.c); tracking.py ends the connections.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ovn_bpf_controller.binding.desired import LocalDatapath
from ovn_bpf_controller.datapath.conntrack import Connection
from ovn_bpf_controller.ovsdb.tables import ECMPNexthop
from ovn_bpf_controller.plaindata import NamedTuple

# ct_label.ecmp_reply_eth.
_SHIFT: Final = 32
_MASK: Final = (1 << 48) - 1


class NextHop(NamedTuple):
    """Whose connections are in `zone`; mac: 48 bits."""

    nexthop: str
    mac: int
    zone: int

    def of(self, conn: Connection) -> bool:
        """Did this connection come by it?"""
        return conn.zone == self.zone and conn.label >> _SHIFT & _MASK == self.mac


class NextHops:
    """Remembers the next hops of local routers."""

    def __init__(self) -> None:
        self._known: set[NextHop] = set()

    def run(
        self, rows: Iterable[ECMPNexthop], datapaths: Mapping[str, LocalDatapath]
    ) -> set[NextHop]:
        """Next hops that are gone since the last time, by address, MAC or datapath."""
        now = set(_hops(rows, datapaths))
        gone, self._known = self._known - now, now
        return gone


def _hops(rows: Iterable[ECMPNexthop], datapaths: Mapping[str, LocalDatapath]) -> Iterator[NextHop]:
    for row in rows:
        local = datapaths.get(row.datapath)
        mac = _mac(row.mac)
        if local is not None and mac and local.datapath.dnat_zone:
            yield NextHop(row.nexthop, mac, local.datapath.dnat_zone)


def _mac(text: str) -> int:
    """0 for what is no address, as when it was not resolved yet."""
    parts = text.split(":")
    try:
        return int("".join(f"{int(part, 16):02x}" for part in parts), 16) if len(parts) == 6 else 0
    except ValueError:
        return 0
