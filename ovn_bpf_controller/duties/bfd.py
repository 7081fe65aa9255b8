# SPDX-License-Identifier: Apache-2.0
"""BFD rows of router ports that are resident: peers to watch, and how they are.

A port is resident on the chassis of its gateway router, or of its chassisredirect
port.  The status of a row is ours to write, except for "admin_down", by which northd
says that no route needs the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovn_bpf_controller.duties.addresses import lport_addresses, mac_bytes, packed
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import BFD, DatapathBinding, PortBinding
from ovn_bpf_controller.ovsdb.transact import Transaction

_ADMIN_DOWN = "admin_down"


class BfdRows(Duty):
    """The agent's half of slowpath.bfd."""

    name = "bfd"
    tables = (BFD, PortBinding, DatapathBinding)

    def __init__(self) -> None:
        self._ours: frozenset[str] = frozenset()

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        rows = view.southbound.table(BFD)
        self._ours = frozenset()
        if not rows:
            return {"bfd": {}}
        ports = {row.logical_port: row for row in view.southbound.table(PortBinding).values()}
        found = {}
        for uuid, row in rows.items():
            port = ports.get(row.logical_port)
            if port is not None and _resident(view, port) and port.options.get("peer") in ports:
                session = _session(view, row, port)
                if session is not None:
                    found[uuid] = session
        self._ours = frozenset(found)
        return {"bfd": found}

    def needed(self, told: Mapping[str, Any]) -> bool:
        """See Duty."""
        return bool(told["bfd"])

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """See Duty."""
        rows = view.southbound.table(BFD)
        transaction = Transaction("ovn-bpf-controller: BFD")
        for uuid, status in reports.get("bfd", {}).items():
            row = rows.get(uuid) if uuid in self._ours else None
            if row is not None and row.status not in (status, _ADMIN_DOWN):
                transaction.update(BFD, uuid, status=status)
        return transaction


def _resident(view: View, port: PortBinding) -> bool:
    if f"cr-{port.logical_port}" in view.desired.resident:
        return True
    return port.type == "l3gateway" and port.logical_port in view.desired.resident


def _session(view: View, row: BFD, port: PortBinding) -> dict[str, Any] | None:
    datapath = view.southbound.table(DatapathBinding).get(port.datapath)
    peer = packed(row.dst_ip)
    source = _source(port, peer) if peer is not None else None
    if datapath is None or peer is None or source is None:
        return None
    mac, address = source
    return {
        "dp": datapath.tunnel_key,
        "port": port.tunnel_key,
        "mac": mac.hex(),
        "src": address.hex(),
        "dst": peer.hex(),
        "sport": row.src_port,
        "disc": row.disc & 0xFFFFFFFF,
        "min_tx": row.min_tx,
        "min_rx": row.min_rx,
        "mult": row.detect_mult,
        "wanted": row.status != _ADMIN_DOWN,
        "up": row.status == "up",
    }


def _source(port: PortBinding, peer: bytes) -> tuple[bytes, bytes] | None:
    """The port's address in the peer's network, else its first one of that family."""
    found = [
        (mac_bytes(addresses[0]), interface)
        for addresses in map(lport_addresses, port.mac)
        if addresses is not None
        for interface in addresses[1]
        if len(interface.packed) == len(peer)
    ]
    number = int.from_bytes(peer, "big")
    for mac, interface in found:
        if int(interface.network.network_address) == number & int(interface.netmask):
            return mac, interface.packed
    return (found[0][0], found[0][1].packed) if found else None
