# SPDX-License-Identifier: Apache-2.0
"""What ovs-vswitchd would write into the local database, decided from rows alone.

`ovs-vsctl add-port` blocks until somebody raises cur_cfg, and OVN binds no port
without an ofport: where no ovs-vswitchd runs, that somebody is the agent.  Pure:
the rows and the kernel's devices in, column values out; service.py does the I/O.
Values follow ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ovn_bpf_controller.underlay.links import NetDevice

LOCAL_OFPORT = 65534  # OFPP_LOCAL: the port that is named as its bridge
MAX_OFPORT = 65279  # below OFPP_MAX
IFACE_TYPES = ("geneve", "internal", "patch", "system", "tap", "vxlan")
DATAPATH_TYPES = ("netdev", "system")

# Types that are a device of the kernel, already there under the row's name.
_DEVICE_TYPES = frozenset({"", "system", "tap", "internal"})
# Types that need no device: OVN's and provider bridges' patch cables.
_VIRTUAL_TYPES = frozenset({"patch"})


@dataclass(frozen=True, slots=True)
class IfaceRow:
    """An Interface row on some bridge; sets of at most one element are optional."""

    uuid: str
    name: str
    type: str = ""
    ofport: int | None = None
    ofport_request: int | None = None
    ifindex: int | None = None
    link_state: str | None = None
    admin_state: str | None = None
    mac_in_use: str | None = None
    mtu: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BridgeRow:
    """A Bridge row with the Interfaces of its Ports."""

    uuid: str
    name: str
    datapath_id: str | None = None
    other_config: Mapping[str, str] = field(default_factory=dict)
    interfaces: tuple[IfaceRow, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchRow:
    """The Open_vSwitch row."""

    next_cfg: int = 0
    cur_cfg: int = 0
    ovs_version: str | None = None
    db_version: str | None = None
    iface_types: tuple[str, ...] = ()
    datapath_types: tuple[str, ...] = ()
    bridges: tuple[BridgeRow, ...] = ()


@dataclass(slots=True)
class SwitchWrites:
    """Columns to set; mappings of Bridge and Interface are by row uuid.

    None clears an optional column.
    """

    switch: dict[str, Any] = field(default_factory=dict)
    bridges: dict[str, dict[str, Any]] = field(default_factory=dict)
    interfaces: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.switch or self.bridges or self.interfaces)


class Duties:
    """Decides; remembers ofports, so that a device that returns gets its own back."""

    def __init__(self, ovs_version: str, db_version: str) -> None:
        self._ovs_version = ovs_version
        self._db_version = db_version
        self._ofports: dict[tuple[str, str], int] = {}

    def decide(self, switch: SwitchRow, devices: Mapping[str, NetDevice]) -> SwitchWrites:
        """Writes that bring the database level with the configuration.

        All of them belong into one transaction: who waits for cur_cfg reads ofport
        right after.
        """
        writes = SwitchWrites()
        names: set[tuple[str, str]] = set()
        for bridge in switch.bridges:
            names.update((bridge.name, iface.name) for iface in bridge.interfaces)
            self._bridge(writes, bridge, devices)
        for key in self._ofports.keys() - names:
            del self._ofports[key]
        _switch(writes, switch, self._ovs_version, self._db_version)
        return writes

    def _bridge(
        self, writes: SwitchWrites, bridge: BridgeRow, devices: Mapping[str, NetDevice]
    ) -> None:
        mac = _bridge_mac(bridge, devices)
        identity = bridge.other_config.get("datapath-id") or bridge.datapath_id
        wanted = identity or f"0000{mac.replace(':', '')}"
        if bridge.datapath_id != wanted:
            writes.bridges[bridge.uuid] = {"datapath_id": wanted}
        ofports = self._assign(bridge, devices)
        for iface in bridge.interfaces:
            values = _interface(bridge, iface, devices.get(iface.name), mac, ofports)
            changed = {k: v for k, v in values.items() if getattr(iface, k) != v}
            if changed:
                writes.interfaces[iface.uuid] = changed

    def _assign(self, bridge: BridgeRow, devices: Mapping[str, NetDevice]) -> dict[str, int]:
        """Interface uuid -> ofport, for those that can have one."""
        usable = [i for i in bridge.interfaces if _error(bridge, i, devices) is None]
        found: dict[str, int] = {}
        for choice in (_current, self._remembered(bridge.name), _requested):
            for iface in usable:
                wanted = choice(iface)
                fresh = iface.uuid not in found and wanted not in found.values()
                if iface.name != bridge.name and fresh and 0 < wanted <= MAX_OFPORT:
                    found[iface.uuid] = wanted
        taken = set(found.values())
        free = (port for port in range(1, MAX_OFPORT + 1) if port not in taken)
        for iface in usable:
            if iface.name == bridge.name:
                found[iface.uuid] = LOCAL_OFPORT
            elif iface.uuid not in found:
                found[iface.uuid] = next(free)
            self._ofports[bridge.name, iface.name] = found[iface.uuid]
        return found

    def _remembered(self, bridge: str) -> Any:
        return lambda iface: self._ofports.get((bridge, iface.name), 0)


def _current(iface: IfaceRow) -> int:
    """A request that was changed beats what the port has."""
    if iface.ofport_request and iface.ofport_request != iface.ofport:
        return iface.ofport_request
    return iface.ofport or 0


def _requested(iface: IfaceRow) -> int:
    return iface.ofport_request or 0


def _error(bridge: BridgeRow, iface: IfaceRow, devices: Mapping[str, NetDevice]) -> str | None:
    """Why the interface cannot be opened; None when it can."""
    if iface.name == bridge.name or iface.type in _VIRTUAL_TYPES:
        return None
    if iface.type not in _DEVICE_TYPES:
        return f"{iface.name}: type {iface.type} is not supported without ovs-vswitchd"
    if iface.name not in devices:
        return f"could not open network device {iface.name} (No such device)"
    return None


def _interface(
    bridge: BridgeRow,
    iface: IfaceRow,
    device: NetDevice | None,
    bridge_mac: str,
    ofports: Mapping[str, int],
) -> dict[str, Any]:
    """Every column that is ours, as it must be."""
    values: dict[str, Any] = dict.fromkeys(
        ("ifindex", "link_state", "admin_state", "mac_in_use", "mtu", "error")
    )
    values["ofport"] = ofports.get(iface.uuid, -1)
    if device is not None and iface.type not in _VIRTUAL_TYPES:
        values["ifindex"] = device.ifindex
        values["admin_state"] = "up" if device.up else "down"
        values["link_state"] = "up" if device.carrier else "down"
        values["mac_in_use"] = device.mac or None
        values["mtu"] = device.mtu
    elif iface.name == bridge.name:
        values["mac_in_use"] = bridge_mac
    if values["ofport"] < 0:
        values["error"] = _error(bridge, iface, {} if device is None else {iface.name: device})
    return values


def _bridge_mac(bridge: BridgeRow, devices: Mapping[str, NetDevice]) -> str:
    """other_config:hwaddr, or the lowest of the ports' addresses, as OVS chooses."""
    configured = bridge.other_config.get("hwaddr", "").lower()
    if configured:
        return configured
    macs = (devices[i.name].mac for i in bridge.interfaces if i.name in devices)
    return min((mac for mac in macs if mac), default=f"02:00:{_tail(bridge.uuid)}")


def _tail(uuid: str) -> str:
    """Four octets that stay the same for a row."""
    digits = uuid.replace("-", "")[-8:].rjust(8, "0")
    return ":".join(digits[i : i + 2] for i in range(0, 8, 2))


def _switch(writes: SwitchWrites, switch: SwitchRow, ovs_version: str, db_version: str) -> None:
    if not switch.ovs_version:
        writes.switch["ovs_version"] = ovs_version
    if not switch.db_version and db_version:
        writes.switch["db_version"] = db_version
    if not switch.iface_types:
        writes.switch["iface_types"] = IFACE_TYPES
    if not switch.datapath_types:
        writes.switch["datapath_types"] = DATAPATH_TYPES
    if switch.cur_cfg != switch.next_cfg:
        writes.switch["cur_cfg"] = switch.next_cfg
