# SPDX-License-Identifier: Apache-2.0
"""Logical ports, the devices they are behind, and multicast groups.

Both are VersionedTables keyed by (datapath, port).  An element says by itself
what it holds (datapath, chassis, members), so that adoption needs no more than
the maps.
"""

from __future__ import annotations

import struct
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.chassis import Chassis, name_of
from ovn_bpf_controller.datapath.interned import Datapaths, MemberLists
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.versioned import HEADER, Index, VersionedTable
from ovn_bpf_controller.model import McGroup, Port, PortKind

KEY: Final = struct.Struct("=II")  # struct ovn_port_key and struct ovn_ifport_key
PORT: Final = struct.Struct("=12I")  # struct ovn_port after the slot
_WAKES: Final = {
    "rarp": lib.OVN_PORT_F_RARP,
    "garp": lib.OVN_PORT_F_GARP,
    "na": lib.OVN_PORT_F_NA,
}
GROUP: Final = struct.Struct("=8I")  # struct ovn_mcgroup after the slot

assert PORT.size + HEADER.size == ffi.sizeof("struct ovn_port")
assert GROUP.size + HEADER.size == ffi.sizeof("struct ovn_mcgroup")


def port_key(dp: int, port: int) -> bytes:
    """Key of ovn_port_idx and ovn_mc_idx."""
    return KEY.pack(dp, port)


class Ports:
    """Maps ovn_ports, ovn_port_idx and ovn_ifports."""

    def __init__(
        self,
        index: Index,
        array: ArrayMap,
        devices: Index,
        datapaths: Datapaths,
        chassis: Chassis,
    ) -> None:
        self.table = VersionedTable(index, array, ffi.offsetof("struct ovn_port", "key"))
        self._devices = devices
        self._datapaths = datapaths
        self._chassis = chassis
        self._owner: dict[bytes, bytes] = {}  # device -> port
        self._moved: set[bytes] = set()

    def put(self, port: Port, generation: int, journal: Journal) -> None:
        """Makes or replaces a port.  Raises DataPlaneError when a map is full."""
        key = port_key(port.dp, port.port)
        chassis = port.chassis if port.kind == PortKind.REMOTE else ""
        old = self.table.index.live.get(key, 0)
        if old:
            at = self._datapaths.shared.find(port.dp), self._chassis.shared.find(chassis)
            if self.table.body(old) == self._body(port, *at):
                return
        dp_index = self._datapaths.shared.hold(port.dp, journal)
        number = self._chassis.shared.hold(chassis, journal) if chassis else 0
        self.table.put(key, self._body(port, dp_index, number), generation, journal)
        if old:
            self._leave(key, old, journal)
        if port.kind == PortKind.VIF and port.ifindex and not port.mirror:
            self._own(KEY.pack(port.ifindex, port.vlan), key, journal)

    def delete(self, key: bytes, generation: int, journal: Journal) -> None:
        """Takes a port away; one that is not there is no error."""
        old = self.table.delete(key, generation, journal)
        if old:
            self._leave(key, old, journal)

    def point_devices(self) -> None:
        """Once all ports of a change are put: devices follow their ports' slots."""
        for device in self._moved:
            owner = self._owner.get(device)
            if owner is None:
                self._devices.remove(device)
            else:
                self._devices.set(device, self.table.index.live[owner])
        self._moved = set()

    def roll_back(self) -> None:
        """The change failed: its undo calls have been made."""
        self._moved = set()

    def _body(self, port: Port, dp_index: int, chassis: int) -> bytes:
        flags = lib.OVN_PORT_F_LOCALPORT if port.localport else 0
        for name in port.wakes:
            flags |= _WAKES[name]
        if port.nested:
            flags |= lib.OVN_PORT_F_NESTED
        if port.mirror:
            flags |= lib.OVN_PORT_F_MIRROR
        if port.gateway:
            flags |= lib.OVN_PORT_F_GATEWAY
        return PORT.pack(
            port.dp,
            port.port,
            dp_index,
            port.kind,
            flags,
            port.ifindex,
            port.vlan,
            port.ct_zone,
            chassis,
            port.peer_port,
            port.peer_dp,
            0,
        )

    def _leave(self, key: bytes, slot: int, journal: Journal) -> None:
        """What a version that ends gives back."""
        dp, _, _, kind, _, ifindex, vlan, _, chassis, *_ = PORT.unpack(self.table.body(slot))
        journal.after_grace(self._datapaths.shared.drop, dp)
        if chassis:
            journal.after_grace(self._drop_chassis, chassis)
        device = KEY.pack(ifindex, vlan)
        if kind == PortKind.VIF and self._owner.get(device) == key:
            self._own(device, None, journal)

    def _drop_chassis(self, index: int) -> None:
        self._chassis.shared.drop(self._chassis.shared.key(index))

    def _own(self, device: bytes, key: bytes | None, journal: Journal) -> None:
        journal.undo(self._set_owner, device, self._owner.get(device))
        self._set_owner(device, key)
        self._moved.add(device)

    def _set_owner(self, device: bytes, key: bytes | None) -> None:
        if key is None:
            self._owner.pop(device, None)
        else:
            self._owner[device] = key

    # --- adoption -------------------------------------------------------------

    def adopt(self, generation: int) -> set[int]:
        """Takes the ports that live in `generation`; returns the chassis they name."""
        self.table.adopt(generation)
        self._owner = {}
        right: dict[bytes, int] = {}
        named = set()
        for key, slot in self.table.index.live.items():
            body = self.table.body(slot)
            _, _, _, kind, flags, ifindex, vlan, _, chassis, *_ = PORT.unpack(body)
            named.add(chassis)
            if kind == PortKind.VIF and ifindex and not flags & lib.OVN_PORT_F_MIRROR:
                self._owner[KEY.pack(ifindex, vlan)] = key
                right[KEY.pack(ifindex, vlan)] = slot
        self._devices.adopt()
        wrong = {k: v for k, v in right.items() if self._devices.live.get(k) != v}
        self._devices.repair(wrong, [k for k in self._devices.live if k not in right])
        return named - {0}

    def report_holds(self) -> None:
        """Tells datapaths and chassis what the adopted ports hold of them."""
        for slot in self.table.index.live.values():
            dp, _, dp_index, _, _, _, _, _, chassis, *_ = PORT.unpack(self.table.body(slot))
            self._datapaths.shared.adopt(dp, dp_index)
            if chassis:
                self._chassis.shared.adopt(name_of(chassis), chassis)


class Groups:
    """Maps ovn_mcgroups, ovn_mc_idx and ovn_members."""

    def __init__(
        self,
        index: Index,
        array: ArrayMap,
        members: MemberLists,
        datapaths: Datapaths,
        chassis: Chassis,
    ) -> None:
        self.table = VersionedTable(index, array, ffi.offsetof("struct ovn_mcgroup", "key"))
        self._members = members
        self._datapaths = datapaths
        self._chassis = chassis

    def put(self, group: McGroup, generation: int, journal: Journal) -> None:
        """Makes or replaces a group.  Raises DataPlaneError when a map is full."""
        key = port_key(group.dp, group.key)
        old = self.table.index.live.get(key, 0)
        if old and self.table.body(old) == self._known_body(group):
            return
        dp_index = self._datapaths.shared.hold(group.dp, journal)
        remote = [self._chassis.shared.hold(name, journal) for name in group.remote]
        members = (*group.local, *remote)
        first = self._members.shared.hold(members, journal) if members else 0
        self.table.put(key, self._body(group, dp_index, first), generation, journal)
        if old:
            self._leave(old, journal)

    def delete(self, key: bytes, generation: int, journal: Journal) -> None:
        """Takes a group away; one that is not there is no error."""
        old = self.table.delete(key, generation, journal)
        if old:
            self._leave(old, journal)

    def _known_body(self, group: McGroup) -> bytes:
        """The body, if nothing new had to be held for it."""
        remote = (self._chassis.shared.find(name) for name in group.remote)
        first = self._members.shared.find((*group.local, *remote))
        return self._body(group, self._datapaths.shared.find(group.dp), first)

    @staticmethod
    def _body(group: McGroup, dp_index: int, first: int) -> bytes:
        counts = len(group.local), len(group.remote)
        return GROUP.pack(group.dp, group.key, dp_index, first, *counts, 0, 0)

    def _leave(self, slot: int, journal: Journal) -> None:
        dp, _, _, first, n_local, n_remote, *_ = GROUP.unpack(self.table.body(slot))
        journal.after_grace(self._datapaths.shared.drop, dp)
        if not first:
            return
        members = self._members.shared.key(first)
        journal.after_grace(self._members.shared.drop, members)
        for index in members[n_local:]:
            journal.after_grace(self._drop_chassis, index)

    def _drop_chassis(self, index: int) -> None:
        self._chassis.shared.drop(self._chassis.shared.key(index))

    # --- adoption -------------------------------------------------------------

    def adopt(self, generation: int) -> set[int]:
        """Takes the groups that live in `generation`; returns the chassis they name."""
        self.table.adopt(generation)
        named: set[int] = set()
        for slot in self.table.index.live.values():
            _, _, _, first, n_local, n_remote, *_ = GROUP.unpack(self.table.body(slot))
            if first:
                members = self._members.read(first, n_local + n_remote)
                self._members.shared.adopt(members, first)
                named.update(members[n_local:])
        self._members.adopt()
        return named

    def report_holds(self) -> None:
        """Tells datapaths and chassis what the adopted groups hold of them."""
        for slot in self.table.index.live.values():
            dp, _, dp_index, first, n_local, *_ = GROUP.unpack(self.table.body(slot))
            self._datapaths.shared.adopt(dp, dp_index)
            for chassis in self._members.shared.key(first)[n_local:] if first else ():
                self._chassis.shared.adopt(name_of(chassis), chassis)
