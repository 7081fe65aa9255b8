# SPDX-License-Identifier: Apache-2.0
"""Whom this chassis announces on switches with a localnet port, by GARP or RARP.

Guests that are here, and the NAT addresses of routers whose gateway is; the frames are
slowpath.announcements' work.  Routers here learn them from MAC_Binding rows at once.
Behaviour: ovn-controller's garp_rarp.c and pinctrl.c.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller.binding.claims import PortType
from ovn_bpf_controller.duties.addresses import lport_addresses
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import Chassis, DatapathBinding, MACBinding, PortBinding
from ovn_bpf_controller.ovsdb.transact import Transaction
from ovn_bpf_controller.plaindata import NamedTuple

_RESIDENT: Final = r'is_chassis_resident\s*\(\s*"([^"]*)"\s*\)\s*$'
_DISABLED: Final = "disable_garp_rarp"
_LEARNS: Final = "always_learn_from_arp_request"


class Announced(NamedTuple):
    """ip: 0 for RARP.  lport: whose residency it depends on, or ""."""

    dp: int
    port: int
    mac: int
    ip: int
    lport: str


class Announcements(Duty):
    """The agent's half of slowpath.announcements."""

    name = "announcements"
    tables = (PortBinding, DatapathBinding, Chassis)

    def __init__(self) -> None:
        self._known: dict[Announced, PortBinding] = {}
        self._untold: dict[Announced, PortBinding] = {}

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        known = dict(_all(view))
        new = {item: row for item, row in known.items() if item not in self._known and item.ip}
        self._untold = {i: row for i, row in (self._untold | new).items() if i in known}
        self._known = known
        most = view.config.garp_max_seconds
        return {"announcements": {"items": sorted(known), "most": most}}

    def needed(self, told: Mapping[str, Any]) -> bool:
        """See Duty."""
        return bool(told["announcements"]["items"])

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """The routers of a switch get to know what is announced on it, once."""
        if not self._untold:
            return None
        ports = {row.logical_port: row for row in view.southbound.table(PortBinding).values()}
        bindings = {
            (row.logical_port, row.ip): row for row in view.southbound.table(MACBinding).values()
        }
        txn = Transaction("ovn-bpf-controller: announcements")
        for item, row in list(self._untold.items()):
            before = bool(txn)
            for peer in _routers(view, row, ports):
                _bind(txn, view, item, peer, bindings)
            if bool(txn) == before:
                del self._untold[item]  # the routers know it
        return txn


def _all(view: View) -> Iterator[tuple[Announced, PortBinding]]:
    """What is announced, and the port of the switch by which it enters."""
    networks = _networks(view)
    rows = view.southbound.table(PortBinding).values() if networks else ()
    localnet = PortType.LOCALNET.value
    switches = {
        row.datapath
        for row in rows
        if row.type == localnet and row.options.get("network_name") in networks
    }
    switches &= view.desired.datapaths.keys()
    if not switches:
        return
    chassis = view.southbound.table(Chassis).values()
    me = next((row.uuid for row in chassis if row.name == view.desired.chassis), "")
    ports = {row.logical_port: row for row in rows}
    for row in rows:
        if row.datapath in switches and _enabled(view, row, ports):
            dp = view.desired.datapaths[row.datapath].key
            for mac, ip, lport in _addresses(view, row, me):
                yield Announced(dp, row.tunnel_key, mac, ip, lport), row


def _networks(view: View) -> set[str]:
    """The physical networks that this chassis has a bridge for."""
    mappings = dict(view.config.echoed).get("ovn-bridge-mappings", "")
    return {each.partition(":")[0].strip() for each in mappings.split(",") if ":" in each}


def _addresses(view: View, row: PortBinding, me: str) -> Iterator[tuple[int, int, str]]:
    if row.type == PortType.VIF.value:
        if row.chassis == me:
            yield from _guest(row)
    elif row.type == PortType.PATCH.value:
        yield from _translated(view, row)
    elif row.type == PortType.L3GATEWAY.value and row.chassis == me:
        yield from _translated(view, row)


def _guest(row: PortBinding) -> Iterator[tuple[int, int, str]]:
    """The first addresses that there are, the first of IPv4 in them."""
    for text in row.mac:
        found = lport_addresses(text)
        if found is not None:
            ips = [int(ip.ip) for ip in found[1] if isinstance(ip, ipaddress.IPv4Interface)]
            yield found[0], ips[0] if ips else 0, ""
            return


def _translated(view: View, row: PortBinding) -> Iterator[tuple[int, int, str]]:
    """ "MAC [IP …] [is_chassis_resident("PORT")]"; distributed gateways say the port."""
    old = row.options.get("nat-addresses")
    for text in row.nat_addresses or ((old,) if old else ()):
        resident = re.search(_RESIDENT, text)
        lport = resident[1] if resident else ""
        found = lport_addresses(text[: resident.start()] if resident else text)
        if found is None or (not lport and row.type == PortType.PATCH.value):
            continue
        if lport and lport not in view.desired.resident:
            continue
        ips = [int(ip.ip) for ip in found[1] if isinstance(ip, ipaddress.IPv4Interface)]
        for ip in ips or [0]:
            yield found[0], ip, lport


def _enabled(view: View, row: PortBinding, ports: Mapping[str, PortBinding]) -> bool:
    if row.options.get(_DISABLED, "") == "true":
        return False
    peer = ports.get(row.options.get("peer", ""))
    datapath = view.southbound.table(DatapathBinding).get(peer.datapath) if peer else None
    return datapath is None or datapath.external_ids.get(_DISABLED, "") != "true"


def _routers(
    view: View, port: PortBinding, ports: Mapping[str, PortBinding]
) -> Iterable[PortBinding]:
    """Router ports beside the one by which it enters, in datapaths that are here."""
    for row in ports.values():
        peer = ports.get(row.options.get("peer", ""))
        if row.datapath == port.datapath and row is not port and peer is not None:
            if peer.datapath in view.desired.datapaths:
                yield peer


def _bind(
    txn: Transaction,
    view: View,
    item: Announced,
    peer: PortBinding,
    bindings: Mapping[tuple[str, str], MACBinding],
) -> None:
    """A row that is not there is made only if the router learns from requests."""
    ip, mac = str(ipaddress.IPv4Address(item.ip)), item.mac.to_bytes(6, "big").hex(":")
    row = bindings.get((peer.logical_port, ip))
    now = time.time_ns() // 1_000_000
    if row is not None and row.mac != mac:
        txn.update(MACBinding, row.uuid, mac=mac, timestamp=now)
    elif row is None:
        router = view.southbound.table(DatapathBinding).get(peer.datapath)
        if router is not None and router.external_ids.get(_LEARNS, "true") != "false":
            txn.absent(MACBinding, logical_port=peer.logical_port, ip=ip)
            columns = {"logical_port": peer.logical_port, "ip": ip, "mac": mac}
            txn.insert(MACBinding, **columns, datapath=peer.datapath, timestamp=now)
