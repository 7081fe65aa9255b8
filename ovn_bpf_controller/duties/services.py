# SPDX-License-Identifier: Apache-2.0
"""Service_Monitor rows of ports that are bound here: what to probe, and its status.

A network function (newer schemas) is probed through: in at one port, out at another.
Behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from ovn_bpf_controller.duties.addresses import lport_addresses, mac, mac_bytes
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import DatapathBinding, PortBinding, ServiceMonitor
from ovn_bpf_controller.ovsdb.transact import Transaction

_FUNCTION: Final = "network-function"
_PROTOCOLS: Final = {
    _FUNCTION: ("icmp",),
    "logical-switch-port": ("tcp", "udp", "icmp"),
    "load-balancer": ("tcp", "udp"),
}
_DEFAULTS: Final = {"interval": 5, "timeout": 3, "success_count": 1, "failure_count": 1}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ServiceMonitors(Duty):
    """The agent's half of slowpath.services."""

    name = "services"
    tables = (ServiceMonitor, PortBinding, DatapathBinding)

    def __init__(self) -> None:
        self._ours: frozenset[str] = frozenset()

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        rows = view.southbound.table(ServiceMonitor)
        self._ours = frozenset()
        if not rows:
            return {"services": {}}
        names = {row.logical_port for row in rows.values()}
        names |= {row.logical_input_port for row in rows.values()}
        bindings = view.southbound.table(PortBinding).values()
        ports = {row.logical_port: row for row in bindings if row.logical_port in names}
        found = {}
        for uuid, row in rows.items():
            target = _target(view, row, ports)
            if target is not None:
                found[uuid] = target
        self._ours = frozenset(found)
        return {"services": found}

    def needed(self, told: Mapping[str, Any]) -> bool:
        """See Duty."""
        return bool(told["services"])

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """See Duty."""
        rows = view.southbound.table(ServiceMonitor)
        transaction = Transaction("ovn-bpf-controller: service monitors")
        for uuid, status in reports.get("services", {}).items():
            if uuid in self._ours and uuid in rows and rows[uuid].status != status:
                transaction.update(ServiceMonitor, uuid, status=status)
        return transaction


def _target(
    view: View, row: ServiceMonitor, ports: Mapping[str, PortBinding]
) -> dict[str, Any] | None:
    """What slowpath.services.heard reads; None: not ours to watch, or not to be watched."""
    port = ports.get(row.logical_port)
    if port is None or row.remote or port.up is False or not _here(view, port):
        return None
    datapath = view.southbound.table(DatapathBinding).get(port.datapath)
    protocol = row.protocol or "tcp"
    kind = row.type or "load-balancer"
    entry = ports.get(row.logical_input_port) if kind == _FUNCTION else port
    if datapath is None or entry is None or not _here(view, entry):
        return None
    addresses = _addresses(row)
    source = mac(row.src_mac)
    if protocol not in _PROTOCOLS.get(kind, ()) or addresses is None or source is None:
        return None
    ether = mac(row.mac) if kind == _FUNCTION else _ether(port, addresses[0])
    if ether is None:
        return None
    return {
        "dp": datapath.tunnel_key,
        "port": port.tunnel_key,
        "out": entry.tunnel_key,
        "ip": addresses[0].packed.hex(),
        "src_ip": addresses[1].packed.hex(),
        "mac": mac_bytes(ether).hex(),
        "src_mac": mac_bytes(source).hex(),
        "protocol": protocol,
        "number": row.port,
        **{name: _number(row.options, name) for name in _DEFAULTS},
    }


def _here(view: View, port: PortBinding) -> bool:
    return port.logical_port in view.desired.resident


def _addresses(row: ServiceMonitor) -> tuple[Address, Address] | None:
    """(the service's, the probe's); None unless both are of one family."""
    try:
        found = (ipaddress.ip_address(row.ip), ipaddress.ip_address(row.src_ip))
    except ValueError:
        return None
    return found if found[0].version == found[1].version else None


def _ether(port: PortBinding, ip: Address) -> int | None:
    """Of the port's addresses, the one with this IP, or the first one with none at all."""
    for text in port.mac:
        addresses = lport_addresses(text)
        if addresses is None:
            continue
        ether, interfaces = addresses
        if not interfaces or any(each.ip == ip for each in interfaces):
            return ether
    return None


def _number(options: Mapping[str, str], name: str) -> int:
    text = options.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else _DEFAULTS[name]
