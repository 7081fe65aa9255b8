# SPDX-License-Identifier: Apache-2.0
"""Binding: from database rows to what the data plane should be, and back.

The agent owns one.  In each iteration of its loop:

    changes = southbound.run()
    desired = binding.run(changes)      # new Desired; writes to both databases
    ...compile flows, make `desired` and them live...
    binding.acknowledge(desired.seq)    # all seen up to that iteration is live
    binding.wait(poller)

`up`, `ovn-installed` and nb_cfg are written only because of acknowledge(), and
only for iterations in which the Southbound had answered every condition.  All
deciding is done in pure modules (claims, if_status, local, physical, …); this one
keeps their inputs current and recomputes only datapaths that a change touched.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import ovs.vlog

from ovn_bpf_controller.binding import bridge, local, physical, tunnels
from ovn_bpf_controller.binding.claims import Bind, Claim, ClaimRules, by_iface_id
from ovn_bpf_controller.binding.config import (
    Config,
    chassis_override,
    ovn_sysconfdir,
    read_config,
)
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath, PortSecurity
from ovn_bpf_controller.binding.if_status import IfStatus, Moment, State, Writes, release_write
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.nb_cfg import NbCfg
from ovn_bpf_controller.binding.registration import Registration
from ovn_bpf_controller.binding.tunnels import Peers
from ovn_bpf_controller.binding.view import Interface, LocalView
from ovn_bpf_controller.binding.writer import Lane, PortLane, add_port_write, now_ms
from ovn_bpf_controller.binding.zones import ZoneTable, dnat_name, snat_name
from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.model import Tunnel
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import (
    Chassis,
    ChassisPrivate,
    DatapathBinding,
    Encap,
    HAChassis,
    HAChassisGroup,
    MulticastGroup,
    PortBinding,
    Row,
    SBGlobal,
)
from ovn_bpf_controller.ovsdb.transact import Transaction
from ovn_bpf_controller.underlay.route import Underlay

vlog = ovs.vlog.Vlog("binding")

# Tables whose changes can change what is local; others only pass through.
_INPUTS: tuple[type[Row], ...] = (
    Chassis,
    Encap,
    DatapathBinding,
    PortBinding,
    MulticastGroup,
    HAChassis,
    HAChassisGroup,
)


class LocalSide(Protocol):
    """The local database as the engine uses it; binding.snapshot implements it."""

    def view(self, bridge: str) -> LocalView:
        """The rows as they are now; the same object while nothing has changed.

        bridge: name of the integration bridge.
        """

    def write(self, writes: bridge.LocalWrites) -> None:
        """Send, unless a write is in flight: wishes come again."""

    def wait(self, poller: Any) -> None:
        """Wake the poller when write() would send what it held back."""


class Binding:
    """Everything this chassis knows about who is where.

    name: the chassis name that option -n gave; without it the system-id-override
    file is looked for, now and never again.  startup_ms: when the daemon started, in
    ms of the Unix epoch, for ovn-startup-ts.  Raises StartupError when that file is
    there but cannot be read.
    """

    def __init__(
        self,
        southbound: SouthboundCache,
        local_side: LocalSide,
        underlay: Underlay,
        name: str | None = None,
        startup_ms: int | None = None,
    ) -> None:
        self._sb = southbound
        self._local = local_side
        self._underlay = underlay
        self._override = chassis_override(name, ovn_sysconfdir())
        self._startup_ms = startup_ms if startup_ms is not None else _wall_ms()
        self._view = LocalView()
        self.config: Config = read_config({}, self._override)
        self._ports = PortIndex()
        self._me: Chassis | None = None
        self._rules = ClaimRules()
        self._claims: dict[str, Claim] = {}
        self._status = IfStatus()
        self._zones = ZoneTable()
        self._restored = ""
        self._nb_cfg = NbCfg()
        self._peers = Peers()
        self._chassis_moved = True
        self._tunnels: dict[str, Tunnel] = {}
        self._groups: dict[str, set[str]] = {}
        self._keys: dict[str, int] = {}
        self._conditions: local.Conditions | None = None
        self._local_datapaths: dict[str, LocalDatapath] = {}
        self._omitted: set[tuple[str, str]] = set()
        self._registration = Registration(southbound)
        self._port_lane = PortLane(southbound, self._status.claim_sent)
        self._nb_cfg_lane = Lane(southbound, "Chassis_Private")
        self._seq = 0
        self._acked = 0
        self._settled = False
        self._complete = False
        self._wake_ms: int | None = None
        self._desired = Desired()
        self._port_writes = Writes()

    # --- the loop ---------------------------------------------------------------

    def run(self, changes: Changes) -> Desired:
        """Take in what has changed, write what we owe, say what should be live."""
        now = now_ms()
        self._seq += 1
        moved = self._underlay.run()
        moved |= self._read_local()
        touched = self._read_southbound(changes)
        # A Chassis row that somebody deleted comes back; traffic need not notice.
        gone = self._me is None and self._complete
        if (moved or any(changes.of(table) for table in _INPUTS)) and not gone:
            self._decide(touched)
        self._settle()
        self._port_writes = Writes()
        if self._sb.synced:
            self._write_southbound(now)
        self._write_local()
        self._desired = replace(self._desired, seq=self._seq, complete=self._complete)
        return self._desired

    def acknowledge(self, seq: int) -> None:
        """Everything handed out and seen up to iteration `seq` is live."""
        self._acked = max(self._acked, seq)

    def wait(self, poller: Any) -> None:
        """Wake the poller when run() has something to do by itself."""
        now = now_ms()
        if self._status.due(self._acked) or self._nb_cfg.due(self._acked):
            poller.immediate_wake()
        if self._wake_ms is not None:
            poller.timer_wait_until(self._wake_ms)
        self._underlay.wait(poller)
        self._local.wait(poller)
        self._registration.wait(poller, now)
        self._port_lane.wait(poller, now)
        self._nb_cfg_lane.wait(poller, now)

    # --- inputs -----------------------------------------------------------------

    def _read_local(self) -> bool:
        view = self._local.view(self.config.bridge)
        if view is self._view:
            return False
        if view.external_ids != self._view.external_ids:
            self._configure(read_config(view.external_ids, self._override))
            view = self._local.view(self.config.bridge)
        if view.bridge is not None and view.bridge.uuid != self._restored:
            self._zones.restore(view.bridge.external_ids)
            self._restored = view.bridge.uuid
        self._view = view
        return True

    def _configure(self, config: Config) -> None:
        self.config = config
        self._chassis_moved = True
        self._zones.set_range(*config.ct_zones)
        try:
            self._sb.set_remotes(config.remotes)
            self._sb.set_probe_interval(config.probe_ms)
        except DatabaseError as error:
            vlog.err(f"ovn-remote is not usable: {error}")

    def _read_southbound(self, changes: Changes) -> set[str]:
        """Update the indexes; returns the datapaths that a change touches."""
        touched: set[str] = set()
        ports = changes.of(PortBinding)
        self._ports.apply(ports)
        for old, new in ports.values():
            for row in (old, new):
                if row is None:
                    continue
                touched.add(row.datapath)
                peer = self._ports.name(row.options.get("peer", ""))
                if peer is not None:
                    touched.add(peer.datapath)
        for uuid, (old_group, new_group) in changes.of(MulticastGroup).items():
            if old_group is not None:
                self._groups.get(old_group.datapath, set()).discard(uuid)
                touched.add(old_group.datapath)
            if new_group is not None:
                self._groups.setdefault(new_group.datapath, set()).add(uuid)
                touched.add(new_group.datapath)
        touched.update(changes.of(DatapathBinding))
        self._find_ourselves(changes, touched)
        return touched

    def _find_ourselves(self, changes: Changes, touched: set[str]) -> None:
        me = self._me
        if changes.of(Chassis) or changes.of(Encap):
            self._chassis_moved = True
        if changes.of(Chassis) or (me is not None and me.name != self.config.chassis) or not me:
            rows = self._sb.table(Chassis).values()
            me = next((row for row in rows if row.name == self.config.chassis), None)
        if (me.uuid if me else "") != (self._me.uuid if self._me else ""):
            touched.update(self._keys)
        self._me = me

    # --- decisions --------------------------------------------------------------

    def _decide(self, touched: set[str]) -> None:
        plugged = by_iface_id(self._view.interfaces)
        touched |= self._decide_claims(plugged)
        self._decide_datapaths(touched)
        self._decide_conditions()
        self._decide_peers(touched)
        self._decide_tunnels()
        self._decide_zones(touched)
        self._recompute(touched)
        self._desired = self._build()

    def _decide_claims(self, plugged: Mapping[str, Interface]) -> set[str]:
        """Returns datapaths of ports that are newly or no longer plugged here."""
        claims = self._rules.decide(self._me, plugged, self._ports) if self._me else {}
        changed = {
            claim.row.datapath
            for one, other in ((claims, self._claims), (self._claims, claims))
            for name, claim in one.items()
            if other.get(name) != claim
        }
        self._claims = claims
        return changed

    def _decide_datapaths(self, touched: set[str]) -> None:
        """Find the local datapaths; touches those that came or went, and their peers."""
        rows = self._sb.table(DatapathBinding)
        found: frozenset[str] = frozenset()
        if self._me is not None:
            seeds = {c.row.datapath for c in self._claims.values() if c.bind is not Bind.NO}
            groups = local.HAGroups(self._sb.table(HAChassisGroup), self._sb.table(HAChassis))
            found = local.local_datapaths(seeds, self._me, self._ports, groups)
        keys: dict[str, int] = {}
        for uuid in sorted(found):
            row = rows.get(uuid)
            if row is None:
                continue
            if physical.valid_datapath(row) and row.tunnel_key not in keys.values():
                keys[uuid] = row.tunnel_key
            else:
                self._omit(uuid, f"datapath tunnel key {row.tunnel_key} is not usable")
        for uuid in {u for u, _ in keys.items() ^ self._keys.items()}:
            touched.add(uuid)
            # Patch ports of the neighbours lead somewhere else now.
            for port in self._ports.peered(uuid):
                peer = self._ports.name(port.options.get("peer", ""))
                if peer is not None:
                    touched.add(peer.datapath)
        self._keys = keys

    def _decide_conditions(self) -> None:
        wanted = {i.external_ids.get("iface-id", "") for i in self._view.interfaces} - {""}
        conditions = local.conditions(
            self._me, self.config.chassis, wanted, self._keys, self.config.monitor_all
        )
        if conditions != self._conditions:
            self._conditions = conditions
            self._sb.set_conditions(conditions)

    def _settle(self) -> None:
        """Has the server answered all that follows from what it has told us?"""
        self._settled = self._sb.conditions_settled
        if self._settled and self._me is not None and not self._complete:
            vlog.info("all of the Southbound that concerns this chassis has been read")
            self._complete = True

    def _decide_peers(self, touched: set[str]) -> None:
        if self._me is None:
            self._peers = Peers()
            return
        if not self._chassis_moved:
            return
        self._chassis_moved = False
        rows, encaps = self._sb.table(Chassis), self._sb.table(Encap)
        peers = tunnels.choose(self._me, self.config, rows.values(), encaps)
        if peers.default != self._peers.default or peers.by_encap != self._peers.by_encap:
            touched.update(self._keys)
        for name, why in peers.skipped.items():
            if self._peers.skipped.get(name) != why:
                vlog.info(f"No tunnel to chassis {name}: {why}")
        self._peers = peers

    def _decide_tunnels(self) -> None:
        links = self._peers.links
        self._underlay.want((link.remote, link.local) for link in links.values())
        tos = self.config.encap_tos or 0
        self._tunnels = {
            name: physical.tunnel(
                link, self._underlay.path(link.remote, link.local), tos, self.config.encap_df
            )
            for name, link in links.items()
        }

    def _decide_zones(self, touched: set[str]) -> None:
        rows = self._sb.table(DatapathBinding)
        names = set(self._claims)
        requested: dict[str, int] = {}
        for uuid in self._keys:
            names |= {dnat_name(uuid), snat_name(uuid)}
            pinned = rows[uuid].external_ids.get("snat-ct-zone", "")
            if pinned.isdecimal() and int(pinned) <= 65535:
                requested[snat_name(uuid)] = int(pinned)
        for name in self._zones.update(names, requested, keep=not self._complete):
            claim = self._claims.get(name)
            touched.add(claim.row.datapath if claim else name.rpartition("_")[0])

    def _recompute(self, touched: set[str]) -> None:
        for uuid in self._local_datapaths.keys() - self._keys.keys():
            del self._local_datapaths[uuid]
        site = physical.Site(
            self._me.uuid if self._me else "",
            self._ports,
            self._claims,
            self._peers,
            self._zones.zones,
            self._keys,
            self._omit,
        )
        for uuid in self._keys:
            if uuid in touched or uuid not in self._local_datapaths:
                self._local_datapaths[uuid] = self._datapath(site, uuid)

    def _datapath(self, site: physical.Site, uuid: str) -> LocalDatapath:
        key = self._keys[uuid]
        table = self._sb.table(MulticastGroup)
        rows = [table[g] for g in sorted(self._groups.get(uuid, ())) if g in table]
        groups = {row.name: physical.group(site, row) for row in rows}
        security = {
            name: PortSecurity(key, row.tunnel_key, name, row.port_security)
            for row in self._ports.datapath(uuid)
            if (name := row.logical_port) in self._claims
        }
        ports = physical.ports(site, uuid)
        return LocalDatapath(
            uuid,
            physical.datapath(self._sb.table(DatapathBinding)[uuid], self._zones.zones),
            ports,
            {group.key: group for group in groups.values() if group is not None},
            {
                row.logical_port: row.tunnel_key
                for row in self._ports.datapath(uuid)
                if row.tunnel_key in ports
            },
            {name: group.key for name, group in groups.items() if group is not None},
            security,
        )

    def _omit(self, subject: str, why: str) -> None:
        if (subject, why) not in self._omitted:
            self._omitted.add((subject, why))
            vlog.warn(f"{subject}: {why}")

    def _build(self) -> Desired:
        mine = self._ports.chassis(self._me.uuid) if self._me else ()
        chassis = self._me.uuid if self._me else ""
        return Desired(
            chassis=self.config.chassis,
            datapaths=dict(self._local_datapaths),
            tunnels=self._tunnels,
            resident=frozenset(row.logical_port for row in mine if row.chassis == chassis),
            zones=dict(self._zones.zones),
        )

    # --- what we owe the databases ----------------------------------------------

    def _write_southbound(self, now: int) -> None:
        private = self._private()
        encaps = self._sb.table(Encap)
        if self.config.chassis:
            self._registration.run(self.config, self._view, self._me, private, encaps, now)
        self._port_writes = self._write_ports(now)
        row = next(iter(self._sb.table(SBGlobal).values()), None)
        if row is not None:
            self._nb_cfg.see(row.nb_cfg, self._seq, self._settled)
        live = self._nb_cfg.live(self._acked)
        ready = self._nb_cfg_lane.ready(now)
        if ready and private is not None and live and private.nb_cfg != live:
            txn = Transaction()
            txn.update(ChassisPrivate, private.uuid, nb_cfg=live, nb_cfg_timestamp=_wall_ms())
            self._nb_cfg_lane.send(txn)

    def _private(self) -> ChassisPrivate | None:
        rows = self._sb.table(ChassisPrivate).values()
        return next((row for row in rows if row.name == self.config.chassis), None)

    def _write_ports(self, now: int) -> Writes:
        if self._me is None:
            return Writes()
        ours = (self._sb.table(Encap).get(uuid) for uuid in self._me.encaps)
        moment = Moment(
            now_ms=now,
            seq=self._seq,
            acked=self._acked,
            settled=self._settled,
            chassis=self._me.uuid,
            encaps={row.ip: row.uuid for row in ours if row is not None and row.type == "geneve"},
        )
        bound = list(self._ports.chassis(self._me.uuid))
        writes = self._status.run(moment, self._claims, bound, self._view.interfaces)
        self._wake_ms = writes.wake_ms
        self._port_lane.write(self._me.uuid, writes.ports, now)
        return writes

    def _write_local(self) -> None:
        wall = _wall_ms()
        ports = self._port_writes
        writes = bridge.bridge_writes(self._view, self.config)
        live = self._nb_cfg.live(self._acked)
        writes.bridge_ids = bridge.nb_cfg_writes(self._view, live, wall, self._startup_ms)
        if self._complete:
            writes.bridge_ids |= bridge.zone_writes(self._view, self._zones.persistent())
        writes.iface_ids = bridge.installed_writes(ports.installed, ports.uninstalled, wall)
        if writes:
            self._local.write(writes)

    # --- leaving ----------------------------------------------------------------

    def cleanup(self, changes: Changes) -> bool:
        """Graceful `exit`: give back ports and delete our rows; True when done.

        Call instead of run(), in a loop with wait(), until it returns True.
        """
        self._read_southbound(changes)
        if not self._sb.synced:
            return not self._sb.has_ever_connected
        txn = Transaction(f"ovn-bpf-controller: unregistering chassis '{self.config.chassis}'")
        if self._me is not None:
            for row in list(self._ports.chassis(self._me.uuid)):
                if row.chassis == self._me.uuid:
                    add_port_write(txn, self._me.uuid, release_write(row, self._me.uuid))
                else:
                    txn.mutate(
                        PortBinding, row.uuid, "additional_chassis", "delete", (self._me.uuid,)
                    )
        return self._registration.remove(self._me, self._private(), now_ms(), txn)

    # --- for operators ----------------------------------------------------------

    def port_states(self) -> dict[str, State]:
        """Logical port -> where its if-status machine stands."""
        return self._status.states()

    @property
    def claims(self) -> Mapping[str, Claim]:
        """Logical ports that are plugged here."""
        return self._claims

    @property
    def peers(self) -> Peers:
        """The other chassis, and why some are not reached."""
        return self._peers


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
