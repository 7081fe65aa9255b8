# SPDX-License-Identifier: Apache-2.0
"""IPv6 prefixes that router ports get by delegation: options:ipv6_prefix.

A router port with ipv6_prefix_delegation, when it is resident, is where all ports of
its router ask for theirs; slowpath.delegation does.  What they get becomes
Port_Binding.options:ipv6_ra_pd_list, which ovn-northd takes to the Northbound.
Behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any, Final

from ovn_bpf_controller.duties.addresses import lport_addresses
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import PortBinding
from ovn_bpf_controller.ovsdb.transact import Transaction

_KEY: Final = "ipv6_ra_pd_list"


class Delegation(Duty):
    """Who asks, as whom, and for what again."""

    name = "prefix-delegation"
    tables = (PortBinding,)

    def __init__(self) -> None:
        self._asking: dict[str, str] = {}  # logical port -> uuid

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        rows = view.southbound.table(PortBinding).values()
        found: dict[str, Any] = {}
        self._asking = {}
        for door in rows:
            if door.options.get("ipv6_prefix_delegation") != "true" or not _resident(view, door):
                continue
            way = _way(view, door, rows)
            if way is None:
                continue
            for row in rows:
                if row.datapath != door.datapath or row.options.get("ipv6_prefix") != "true":
                    continue
                client = _mac(row)
                if client is not None:
                    before = parse(row.options.get(_KEY, ""))
                    found[row.logical_port] = {**way, "client": client[0], "before": before}
                    self._asking[row.logical_port] = row.uuid
        return {"delegations": found}

    def needed(self, told: Mapping[str, Any]) -> bool:
        """See Duty."""
        return bool(told["delegations"])

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """See Duty."""
        got: Mapping[str, str] = reports.get("delegated", {})
        rows = view.southbound.table(PortBinding)
        transaction = Transaction("ovn-controller: delegated prefixes")
        for name in got.keys() & self._asking.keys():
            row = rows.get(self._asking[name])
            if row is not None and row.options.get(_KEY) != got[name]:
                transaction.set_keys(PortBinding, row.uuid, "options", {_KEY: got[name]})
        return transaction


def _resident(view: View, row: PortBinding) -> bool:
    here = view.desired.resident
    return f"cr-{row.logical_port}" in here or (
        row.type == "l3gateway" and row.logical_port in here
    )


def _way(view: View, door: PortBinding, rows: Collection[PortBinding]) -> dict[str, Any] | None:
    """Where messages go in, and from whom; None as long as that is not known."""
    name = door.options.get("peer", "")
    peer = next((row for row in rows if row.logical_port == name), None) if name else None
    local = view.desired.datapaths.get(peer.datapath) if peer else None
    own = _mac(door)
    if peer is None or local is None or own is None:
        return None
    mac, source = own
    return {"dp": local.key, "port": peer.tunnel_key, "mac": mac, "source": source}


def _mac(row: PortBinding) -> tuple[int, int] | None:
    """A router port's MAC and its IPv6 address, or the one that its MAC makes."""
    for text in row.mac:
        found = lport_addresses(text)
        if found is not None:
            mac, interfaces = found
            own = [int(each.ip) for each in interfaces if each.version == 6]
            return mac, own[0] if own else link_local(mac)
    return None


def link_local(mac: int) -> int:
    """RFC 4291, appendix A."""
    high, low = mac >> 24, mac & 0xFFFFFF
    return 0xFE80 << 112 | (high ^ 0x020000) << 40 | 0xFFFE << 24 | low


def parse(text: str) -> list[int] | None:
    """ "IAID:PREFIX/LENGTH" as its three numbers; None if it is not that."""
    iaid, colon, prefix = text.partition(":")
    try:
        interface = ipaddress.IPv6Interface(prefix)
        return [int(iaid), int(interface.ip), interface.network.prefixlen] if colon else None
    except ValueError:
        return None
