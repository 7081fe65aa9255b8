# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf/ports, chassis and tunnels: what there is on this chassis, a row for each.

For ovn-bpf-ctl; a port's traffic is what the kernel counted for its device, so it
costs the data plane nothing and counts from the device's birth on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.observe.chassis import Chassis, Rows, datapath_keys, datapath_names
from ovn_bpf_controller.ovsdb.tables import Chassis as ChassisRow
from ovn_bpf_controller.ovsdb.tables import Encap
from ovn_bpf_controller.plaindata import NamedTuple

_DEVICES: Final = Path("/sys/class/net")
_UNKNOWN: Final = "-"


class Traffic(NamedTuple):
    """What a device's guest sent and got; a host's device receives what a guest sends."""

    sent_packets: int
    sent_bytes: int
    got_packets: int
    got_bytes: int


def traffic(device: str) -> Traffic | None:
    """Counters of a device; None when it is not there (any more)."""
    base = _DEVICES / device / "statistics"
    names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
    try:
        return Traffic(*(int((base / name).read_text()) for name in names))
    except (OSError, ValueError):
        return None


def ports(chassis: Chassis, which: str) -> Rows:
    """Logical ports of local datapaths, where they are and what they carried.

    which: a datapath, as datapath_keys() takes it.  Raises CommandError.
    """
    keys = datapath_keys(chassis, which)
    names = datapath_names(chassis)
    states = chassis.binding.port_states()
    found: Rows = []
    for local in chassis.desired.datapaths.values():
        if local.key not in keys:
            continue
        known = {key: name for name, key in local.port_keys.items()}
        for key, port in sorted(local.ports.items()):
            name = known.get(key, _UNKNOWN)
            device = chassis.devices.index(port.ifindex) if port.ifindex else None
            carried = traffic(device.name) if device is not None else None
            found.append(
                {
                    "port": name,
                    "datapath": names[local.key],
                    "key": f"{local.key}/{key}",
                    "kind": port.kind.name.lower(),
                    "where": device.name if device is not None else _where(port),
                    "vlan": port.vlan or _UNKNOWN,
                    "zone": port.ct_zone or _UNKNOWN,
                    "state": states[name].name.lower() if name in states else _UNKNOWN,
                    **(carried or Traffic(0, 0, 0, 0))._asdict(),
                }
            )
    return found


def _where(port: Port) -> str:
    """Of a port that is behind no device here."""
    if port.kind is PortKind.REMOTE:
        return port.chassis
    if port.peer_dp:
        return f"peer {port.peer_dp}/{port.peer_port}"
    return _UNKNOWN


def others(chassis: Chassis, _which: str) -> Rows:
    """Rows of the Southbound's Chassis table, and whether we have a tunnel there."""
    encaps = chassis.southbound.table(Encap)
    peers = chassis.binding.peers
    found: Rows = []
    for row in sorted(chassis.southbound.table(ChassisRow).values(), key=lambda row: row.name):
        ways = (encaps[uuid] for uuid in row.encaps if uuid in encaps)
        if row.name == chassis.desired.chassis:
            reach = "this chassis"
        else:
            reach = peers.skipped.get(row.name) or (
                "tunnel" if row.uuid in peers.default else "no tunnel yet"
            )
        found.append(
            {
                "chassis": row.name,
                "hostname": row.hostname or _UNKNOWN,
                "encaps": ",".join(sorted(f"{way.type}:{way.ip}" for way in ways)) or _UNKNOWN,
                "reach": reach,
            }
        )
    return found


def tunnels(chassis: Chassis, _which: str) -> Rows:
    """The ways to other chassis, as the program uses them."""
    found: Rows = []
    for name, tunnel in sorted(chassis.desired.tunnels.items()):
        device = chassis.devices.index(tunnel.ifindex)
        found.append(
            {
                "tunnel": name,
                "local": tunnel.local,
                "remote": tunnel.remote,
                "port": tunnel.dst_port,
                "device": device.name if device is not None else _UNKNOWN,
                "mtu": tunnel.mtu,
                "next hop": tunnel.dst_mac.hex(":") or _UNKNOWN,
                "ports": sum(
                    port.chassis == name
                    for local in chassis.desired.datapaths.values()
                    for port in local.ports.values()
                ),
            }
        )
    return found
