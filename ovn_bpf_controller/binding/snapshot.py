# SPDX-License-Identifier: Apache-2.0
"""The engine's hand in the local database: LocalView out of it, LocalWrites into it.

Made by the agent around its LocalDatabase, which the agent runs.  Only here does
binding touch rows of Open_vSwitch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ovs.vlog

from ovn_bpf_controller.binding.if_status import INSTALLED
from ovn_bpf_controller.binding.ovs_writes import LocalWrites, PortWish
from ovn_bpf_controller.binding.tunnel_ports import CHASSIS_ID
from ovn_bpf_controller.binding.view import Bridge, Interface, LocalView, OvsPort
from ovn_bpf_controller.binding.writer import BackOff, now_ms
from ovn_bpf_controller.ovsdb import local_tables as rows
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.local_transact import LocalTransaction
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending
from ovn_bpf_controller.underlay.route import Underlay

vlog = ovs.vlog.Vlog("binding_local")
binding_log = ovs.vlog.Vlog("binding")


class LocalAdapter:
    """Implements engine.LocalSide.  underlay: knows the ifindex of devices."""

    def __init__(self, database: LocalDatabase, underlay: Underlay) -> None:
        self._database = database
        self._underlay = underlay
        self._view = LocalView()
        self._key: tuple[object, ...] = ()
        self._made = LocalView()  # what _parts() returned
        self._ports: tuple[Mapping[str, Row], ...] = ()  # and of what
        self._bridges: tuple[str, list[tuple[str, tuple[str, ...]]]] = ("", [])
        self._pending: Pending | None = None
        self._back_off = BackOff()

    # --- reading ------------------------------------------------------------------

    def view(self, bridge: str) -> LocalView:
        """The rows as they are now; the same object while nothing has changed."""
        if not self._database.synced:
            return self._view
        key: tuple[object, ...] = (bridge, self._database.has_lock)
        key += tuple(map(self._database.table, (rows.OpenVSwitch, rows.Bridge)))
        key += tuple(map(self._database.table, (rows.Port, rows.Interface)))
        # LocalDatabase makes new mappings when anything has changed, and only then.
        same = len(key) == len(self._key) and all(map(_is, key[1:], self._key[1:]))
        if same and key[0] == self._key[0] and self._devices_stand():
            return self._view
        self._key = key
        view = self._read(bridge)
        if view != self._view:
            self._view = view
        return self._view

    def _devices_stand(self) -> bool:
        find = self._underlay.ifindex
        return all(find(iface.name) == iface.ifindex for iface in self._view.interfaces)

    def _read(self, name: str) -> LocalView:
        row = self._database.open_vswitch
        if row is None:
            return LocalView()
        bridge = self._database.bridge(name)
        parts = self._parts(bridge)
        return LocalView(
            present=True,
            external_ids=row.external_ids,
            other_config=row.other_config,
            iface_types=row.iface_types,
            bridge=_bridge(bridge) if bridge is not None else None,
            interfaces=parts.interfaces,
            alone=self._database.has_lock,
            datapaths=row.datapaths if self._database.has(rows.Datapath) else None,
            bridges={found.name: found.uuid for found in self._database.bridges()},
            port_names=parts.port_names,
            cables=parts.cables,
        )

    def _parts(self, bridge: rows.Bridge | None) -> LocalView:
        """What follows from ports and devices alone: the same objects while those stand."""
        key = (self._database.table(rows.Port), self._database.table(rows.Interface))
        bridges = [(found.uuid, found.ports) for found in self._database.bridges()]
        known = len(self._ports) == len(key) and all(map(_is, key, self._ports))
        name = bridge.name if bridge is not None else ""
        if not (known and (name, bridges) == self._bridges and self._devices_stand()):
            interfaces = self._database.interfaces(bridge) if bridge is not None else []
            self._ports, self._bridges = key, (name, bridges)
            self._made = LocalView(
                interfaces=tuple(self._interface(iface) for iface in interfaces),
                port_names=frozenset(port.name for port in key[0].values()),
                cables=tuple(self._cables()),
            )
        return self._made

    def _cables(self) -> Iterator[OvsPort]:
        interfaces = self._database.table(rows.Interface)
        for bridge in self._database.bridges():
            for port in self._database.ports(bridge):
                iface = interfaces.get(next(iter(port.interfaces), ""))
                if iface is None or not (iface.type == "patch" or CHASSIS_ID in port.external_ids):
                    continue
                yield OvsPort(
                    port.uuid,
                    port.name,
                    bridge.uuid,
                    iface.uuid,
                    iface.type,
                    iface.options,
                    port.external_ids,
                    len(port.interfaces) == 1,
                )

    def _interface(self, row: rows.Interface) -> Interface:
        return Interface(
            uuid=row.uuid,
            name=row.name,
            type=row.type,
            ofport=row.ofport,
            ifindex=self._underlay.ifindex(row.name),
            external_ids=row.external_ids,
        )

    # --- writing ------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Can it be written now?"""
        return self._database.connected and self._database.synced

    def write(self, writes: LocalWrites) -> None:
        """Send, unless a write is in flight: wishes come again."""
        now = now_ms()
        if self._pending is not None:
            if not self._pending.done:
                return
            if self._pending.ok:
                self._back_off.reset()
            else:
                pause = self._back_off.fail(now)
                vlog.warn(f"the local database took no write: {self._pending}; again in {pause} ms")
            self._pending = None
        if not self._database.synced or now < self._back_off.until_ms:
            return
        with self._database.transaction("ovn-bpf-controller") as txn:
            self._fill(txn, writes)
        self._pending = txn.pending

    def _fill(self, txn: LocalTransaction, writes: LocalWrites) -> None:
        if writes.create_bridge is not None:
            self._create(txn, str(self._key[0]), writes.create_bridge)
        if self._view.bridge is not None:
            uuid = self._view.bridge.uuid
            if writes.bridge:
                txn.set(rows.Bridge, uuid, **writes.bridge)
            txn.set_keys(rows.Bridge, uuid, "external_ids", writes.bridge_ids)
        for uuid, pairs in writes.iface_ids.items():
            self._say(uuid, pairs)
            txn.set_keys(rows.Interface, uuid, "external_ids", pairs)
        self._fill_switch(txn, writes)
        for wish in writes.ports:
            _fill_port(txn, wish)

    def _fill_switch(self, txn: LocalTransaction, writes: LocalWrites) -> None:
        switch = self._database.open_vswitch
        if switch is None:
            return
        txn.set_keys(rows.OpenVSwitch, switch.uuid, "other_config", writes.other_config)
        if writes.datapath:
            made = txn.insert(rows.Datapath, datapath_version="")
            txn.set_keys(rows.OpenVSwitch, switch.uuid, "datapaths", {writes.datapath: made})

    def _say(self, uuid: str, pairs: Mapping[str, str | None]) -> None:
        iface = next((i for i in self._view.interfaces if i.uuid == uuid), None)
        if iface is not None and iface.external_ids.get(INSTALLED) != pairs[INSTALLED]:
            verb = "Setting" if pairs[INSTALLED] else "Removing"
            lport = iface.external_ids.get("iface-id", iface.name)
            binding_log.info(f"{verb} lport {lport} ovn-installed in OVS")

    def _create(self, txn: LocalTransaction, name: str, other_config: dict[str, str]) -> None:
        switch = self._database.open_vswitch
        if switch is None:
            return
        vlog.info(f"creating integration bridge '{name}'")
        iface = txn.insert(rows.Interface, name=name, type="internal")
        port = txn.insert(rows.Port, name=name, interfaces=(iface,))
        bridge = txn.insert(
            rows.Bridge, name=name, fail_mode="secure", ports=(port,), other_config=other_config
        )
        txn.add(rows.OpenVSwitch, switch.uuid, "bridges", bridge)

    def wait(self, poller: Any) -> None:
        """Wake the poller when a pause after a failed write is over."""
        if self._back_off.until_ms > now_ms():
            poller.timer_wait_until(self._back_off.until_ms)


def _fill_port(txn: LocalTransaction, wish: PortWish) -> None:
    old = wish.old
    if old is not None and old.single and not wish.remove:
        vlog.info(f"changing port '{wish.name}'")
        txn.set(rows.Interface, old.iface, type=wish.type, options=dict(wish.options))
        txn.set_keys(rows.Port, old.uuid, "external_ids", wish.external_ids)
        return
    if old is not None:
        vlog.info(f"removing port '{old.name}'")
        txn.remove(rows.Bridge, old.bridge, "ports", old.uuid)
    if not wish.remove:
        vlog.info(f"creating {wish.type} port '{wish.name}'")
        ids, options = dict(wish.external_ids), dict(wish.options)
        iface = txn.insert(rows.Interface, name=wish.name, type=wish.type, options=options)
        port = txn.insert(rows.Port, name=wish.name, interfaces=(iface,), external_ids=ids)
        txn.add(rows.Bridge, wish.bridge, "ports", port)


def _is(one: object, other: object) -> bool:
    return one is other


def _bridge(row: rows.Bridge) -> Bridge:
    return Bridge(
        uuid=row.uuid,
        name=row.name,
        datapath_type=row.datapath_type,
        fail_mode=row.fail_mode,
        external_ids=row.external_ids,
        other_config=row.other_config,
    )
