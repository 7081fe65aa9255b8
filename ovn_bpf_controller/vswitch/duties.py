# SPDX-License-Identifier: Apache-2.0
"""What ovs-vswitchd would write into the local database, decided from rows alone.

`ovs-vsctl add-port` blocks until somebody raises cur_cfg, and OVN binds no port
without an ofport: where no ovs-vswitchd runs, that somebody is the agent.  Pure:
the rows and the kernel's devices in, column values out; service.py does the I/O.
Values follow ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ovn_bpf_controller.ovsdb.local_tables import Bridge, Interface, OpenVSwitch
from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.underlay.links import NetDevice

LOCAL_OFPORT = 65534  # OFPP_LOCAL: the port that is named as its bridge
MAX_OFPORT = 65279  # below OFPP_MAX
IFACE_TYPES = ("geneve", "internal", "patch", "system", "tap", "vxlan")
DATAPATH_TYPES = ("netdev", "system")

# Types that are a device of the kernel, already there under the row's name.
_DEVICE_TYPES = frozenset({"", "system", "tap", "internal"})
# Types that need no device: OVN's and provider bridges' patch cables.
_VIRTUAL_TYPES = frozenset({"patch"})
_DEVICE_COLUMNS = ("ifindex", "link_state", "admin_state", "mac_in_use", "mtu")


@dataclass(frozen=True, slots=True)
class Switch:
    """The Open_vSwitch row with its bridges, each with the Interfaces of its Ports.

    served: uuids of Interfaces whose packets the agent's data plane carries although
    there is no device of their name.
    """

    row: OpenVSwitch
    bridges: tuple[tuple[Bridge, tuple[Interface, ...]], ...] = ()
    served: frozenset[str] = frozenset()


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

    def __init__(self, ovs_version: str) -> None:
        self._ovs_version = ovs_version
        self._ofports: dict[tuple[str, str], int] = {}

    def decide(self, switch: Switch, devices: Mapping[str, NetDevice]) -> SwitchWrites:
        """Writes that bring the database level with the configuration.

        All of them belong into one transaction: who waits for cur_cfg reads ofport
        right after.
        """
        writes = SwitchWrites()
        names: set[tuple[str, str]] = set()
        for bridge, interfaces in switch.bridges:
            names.update((bridge.name, iface.name) for iface in interfaces)
            self._bridge(writes, bridge, interfaces, switch.served, devices)
        for key in self._ofports.keys() - names:
            del self._ofports[key]
        _switch(writes, switch.row, self._ovs_version)
        return writes

    def _bridge(
        self,
        writes: SwitchWrites,
        bridge: Bridge,
        interfaces: tuple[Interface, ...],
        served: frozenset[str],
        devices: Mapping[str, NetDevice],
    ) -> None:
        virtual = {i.uuid for i in interfaces if i.uuid in served or i.type in _VIRTUAL_TYPES}
        errors = {
            iface.uuid: None if iface.uuid in virtual else _error(bridge, iface, devices)
            for iface in interfaces
        }
        mac = _bridge_mac(bridge, interfaces, devices)
        identity = bridge.other_config.get("datapath-id") or bridge.datapath_id
        wanted = identity or f"0000{mac.replace(':', '')}"
        if bridge.datapath_id != wanted:
            writes.bridges[bridge.uuid] = {"datapath_id": wanted}
        ofports = self._assign(bridge, interfaces, errors)
        for iface in interfaces:
            values = (
                _virtual() if iface.uuid in virtual else _interface(bridge, iface, devices, mac)
            )
            values["ofport"] = ofports.get(iface.uuid, -1)
            values["error"] = errors[iface.uuid]
            changed = {k: v for k, v in values.items() if getattr(iface, k) != v}
            if changed:
                writes.interfaces[iface.uuid] = changed

    def _assign(
        self,
        bridge: Bridge,
        interfaces: tuple[Interface, ...],
        errors: Mapping[str, str | None],
    ) -> dict[str, int]:
        """Interface uuid -> ofport, for those that can have one."""
        usable = [iface for iface in interfaces if errors[iface.uuid] is None]
        found: dict[str, int] = {}
        taken: set[int] = set()
        choices: tuple[Callable[[Interface], int], ...] = (
            _current,
            lambda iface: self._ofports.get((bridge.name, iface.name), 0),
            lambda iface: iface.ofport_request or 0,
        )
        for choice in choices:
            for iface in usable:
                wanted = choice(iface)
                fresh = iface.uuid not in found and wanted not in taken
                if iface.name != bridge.name and fresh and 0 < wanted <= MAX_OFPORT:
                    found[iface.uuid] = wanted
                    taken.add(wanted)
        free = (port for port in range(1, MAX_OFPORT + 1) if port not in taken)
        for iface in usable:
            if iface.name == bridge.name:
                found[iface.uuid] = LOCAL_OFPORT
            elif iface.uuid not in found:
                found[iface.uuid] = next(free, -1)
            self._ofports[bridge.name, iface.name] = found[iface.uuid]
        return found


def _current(iface: Interface) -> int:
    """A request that was changed beats what the port has."""
    if iface.ofport_request and iface.ofport_request != iface.ofport:
        return iface.ofport_request
    return iface.ofport or 0


def _error(bridge: Bridge, iface: Interface, devices: Mapping[str, NetDevice]) -> str | None:
    """Why the interface cannot be opened; None when it can."""
    if iface.name == bridge.name:
        return None
    if iface.type not in _DEVICE_TYPES:
        return f"{iface.name}: type {iface.type} is not supported without ovs-vswitchd"
    if iface.name not in devices:
        return f"could not open network device {iface.name} (No such device)"
    return None


def _virtual() -> dict[str, Any]:
    """Columns of what has no device, as ovs-vswitchd fills them."""
    values: dict[str, Any] = dict.fromkeys(_DEVICE_COLUMNS)
    values["admin_state"] = values["link_state"] = "up"
    values["ifindex"] = 0
    return values


def _interface(
    bridge: Bridge, iface: Interface, devices: Mapping[str, NetDevice], bridge_mac: str
) -> dict[str, Any]:
    """Columns that say what the kernel has under the interface's name."""
    values: dict[str, Any] = dict.fromkeys(_DEVICE_COLUMNS)
    device = devices.get(iface.name)
    if device is not None:
        values["ifindex"] = device.ifindex
        values["admin_state"] = "up" if device.up else "down"
        values["link_state"] = "up" if device.carrier else "down"
        values["mac_in_use"] = device.mac or None
        values["mtu"] = device.mtu
    elif iface.name == bridge.name:
        values["mac_in_use"] = bridge_mac
    return values


def _bridge_mac(
    bridge: Bridge, interfaces: tuple[Interface, ...], devices: Mapping[str, NetDevice]
) -> str:
    """other_config:hwaddr, or the lowest of the ports' addresses, as OVS chooses."""
    configured = bridge.other_config.get("hwaddr", "").lower()
    if configured:
        return configured
    macs = (devices[iface.name].mac for iface in interfaces if iface.name in devices)
    return min((mac for mac in macs if mac), default=f"02:00:{_tail(bridge.uuid)}")


def _tail(uuid: str) -> str:
    """Four octets that stay the same for a row."""
    digits = uuid.replace("-", "")[-8:].rjust(8, "0")
    return ":".join(digits[i : i + 2] for i in range(0, 8, 2))


def _switch(writes: SwitchWrites, row: OpenVSwitch, ovs_version: str) -> None:
    if not row.ovs_version:
        writes.switch["ovs_version"] = ovs_version
    if not row.iface_types:
        writes.switch["iface_types"] = IFACE_TYPES
    if not row.datapath_types:
        writes.switch["datapath_types"] = DATAPATH_TYPES
    if row.cur_cfg != row.next_cfg:
        writes.switch["cur_cfg"] = row.next_cfg
