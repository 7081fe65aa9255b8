# SPDX-License-Identifier: Apache-2.0
"""Binding: from database rows to what the data plane should be, and back.

The agent owns one and calls it in each iteration of its loop: run(changes) returns a new
Desired and writes to both databases, acknowledge(seq) says that all seen up to that
iteration is live.  `up`, `ovn-installed` and nb_cfg are written only because of that, and
only for iterations in which the Southbound had answered every condition.  What is local
is topology.py's to say; here is the order of things and what we owe the databases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import ovs.vlog

from ovn_bpf_controller.binding import accepted, bridge, local, ovs_ports
from ovn_bpf_controller.binding.claims import Claim
from ovn_bpf_controller.binding.config import (
    Config,
    chassis_override,
    ovn_sysconfdir,
    read_config,
)
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.binding.gateways import GatewayWrites
from ovn_bpf_controller.binding.if_status import (
    IfStatus,
    Moment,
    PortWrite,
    State,
    Writes,
    release_write,
)
from ovn_bpf_controller.binding.nb_cfg import NbCfg
from ovn_bpf_controller.binding.ovs_writes import LocalSide
from ovn_bpf_controller.binding.registration import Registration
from ovn_bpf_controller.binding.topology import Topology
from ovn_bpf_controller.binding.tunnels import Peers
from ovn_bpf_controller.binding.view import Interface, LocalView
from ovn_bpf_controller.binding.writer import Lane, PortLane, add_port_write, now_ms
from ovn_bpf_controller.binding.zones import Moved
from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import (
    Chassis,
    ChassisPrivate,
    Encap,
    IGMPGroup,
    PortBinding,
    SBGlobal,
)
from ovn_bpf_controller.ovsdb.transact import Transaction
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.underlay.route import Underlay

vlog = ovs.vlog.Vlog("binding")


class Binding:
    """Everything this chassis knows about who is where.

    name: the chassis name that option -n gave; without it the system-id-override
    file is looked for, now and never again.  startup_ms: when the daemon started, in
    ms of the Unix epoch, for ovn-startup-ts.  on_zones_moved: ends the connections of
    zones that changed hands; called before the new owners are persisted, and never
    before everything local has been seen.  Raises StartupError when that file is
    there but cannot be read.
    """

    def __init__(
        self,
        southbound: SouthboundCache,
        local_side: LocalSide,
        underlay: Underlay,
        name: str | None = None,
        startup_ms: int | None = None,
        on_zones_moved: Callable[[Moved], None] | None = None,
    ) -> None:
        self._sb = southbound
        self._local = local_side
        self._underlay = underlay
        self._override = chassis_override(name, ovn_sysconfdir())
        self._startup_ms = startup_ms if startup_ms is not None else _wall_ms()
        self._view = LocalView()
        self.config: Config = read_config({}, self._override)
        self._without_effect = accepted.Notice()
        self._topology = Topology(southbound, underlay)
        self._status = IfStatus()
        self._restored = ""
        self._nb_cfg = NbCfg()
        self._conditions: local.Conditions | None = None
        self._registration = Registration(southbound)
        self._gateways = GatewayWrites()
        self._ovs_ports = ovs_ports.OvsPorts(southbound, underlay)
        self._port_lane = PortLane(southbound, self._claim_sent)
        self._nb_cfg_lane = Lane(southbound, "Chassis_Private")
        self._seq = 0
        self._acked = 0
        self._attached = 0
        self._unready: Set[int] = frozenset()
        self._synced = False
        self._settled = False
        self._complete = False
        self._wake_ms: int | None = None
        self._desired = Desired()
        self._port_writes = Writes()
        self._ports_rest = False  # what ports write is as it was, until something moves
        self._asked: tuple[object, ...] = ()
        self._woken = False
        self._on_zones_moved = on_zones_moved
        self._zones_told: tuple[LocalView, Mapping[str, str], Mapping[str, str | None]] = (
            self._view,
            {},
            {},
        )

    # --- the loop ---------------------------------------------------------------

    def run(self, changes: Changes) -> Desired:
        """Take in what has changed, write what we owe, say what should be live."""
        now = now_ms()
        self._seq += 1
        moved = self._underlay.run()
        moved |= self._read_local()
        moved |= self._topology.take(changes, self.config) or self._woken
        self._woken = False
        # A Chassis row that somebody deleted comes back; traffic need not notice.
        gone = self._topology.me is None and self._complete
        if moved:
            self._ports_rest = False
        if moved and not gone:
            self._desired = self._topology.decide(self.config, self._view, not self._complete)
            self._ask()
        self._settle()
        self._release_zones()
        if self._sb.synced:
            if not self._synced:
                self._reconnected()
            self._write_southbound(now, moved)
        else:
            self._port_writes = Writes()
        self._synced = self._sb.synced
        self._write_local(moved)
        self._desired = replace(self._desired, seq=self._seq, complete=self._complete)
        return self._desired

    def acknowledge(
        self, seq: int, attached: int | None = None, unready: Set[int] = frozenset()
    ) -> None:
        """Everything handed out and seen up to iteration `seq` is live.

        attached: up to which the devices are, too, `seq` unless given.  unready: devices
        (ifindex) that are not: their ports are not up, others may be.
        """
        self._acked = max(self._acked, seq)
        self._attached = max(self._attached, seq if attached is None else attached)
        self._unready = unready

    def delay_nb_cfg(self, seconds: int) -> None:
        """From now on nb_cfg is told so much later than it is in force."""
        self._nb_cfg.delay = seconds

    def wait(self, poller: Any) -> None:
        """Wake the poller when run() has something to do by itself."""
        now = now_ms()
        ports = self._status.due(self._acked, self._unready)
        if self._woken or ports or self._nb_cfg.due(self._attached):
            poller.immediate_wake()
        if self._wake_ms is not None:
            poller.timer_wait_until(self._wake_ms)
        if self._nb_cfg.wake > now:
            poller.timer_wait_until(self._nb_cfg.wake)
        self._underlay.wait(poller)
        self._local.wait(poller)
        self._registration.wait(poller, now)
        self._port_lane.wait(poller, now)
        self._nb_cfg_lane.wait(poller, now)

    # --- inputs -----------------------------------------------------------------

    def _read_local(self) -> bool:
        """True when what is local may be otherwise; what we wrote ourselves is no such news."""
        view, before = self._local.view(self.config.bridge), self._view
        if view is before:
            return False
        if view.external_ids != self._view.external_ids:
            self._configure(read_config(view.external_ids, self._override))
            for text in self._without_effect.look(view.external_ids, self.config.chassis):
                vlog.info(text)
            view = self._local.view(self.config.bridge)
        self._view = view
        if view.bridge is not None and view.bridge.uuid != self._restored:
            self._topology.zones.restore(view.bridge.external_ids)
            self._restored = view.bridge.uuid
            return True
        return view.external_ids != before.external_ids or _named(view) != _named(before)

    def _configure(self, config: Config) -> None:
        self.config = config
        self._topology.zones.set_range(*config.ct_zones)
        try:
            self._sb.set_remotes(config.remotes)
            self._sb.set_probe_interval(config.probe_ms)
        except DatabaseError as error:
            vlog.err(f"ovn-remote is not usable: {error}")

    def _ask(self) -> None:
        """Ask the Southbound for what follows from what is local."""
        me, keys = self._topology.me, self._topology.keys
        plugged = {i.external_ids.get("iface-id", "") for i in self._view.interfaces} - {""}
        of = (me, self.config.chassis, plugged, keys, self.config.monitor_all)
        if of == self._asked:
            return
        self._asked = of
        conditions = local.conditions(*of)
        if conditions != self._conditions:
            self._conditions = conditions
            self._sb.set_conditions(conditions)

    def _settle(self) -> None:
        """Has the server answered all that follows from what it has told us?"""
        before, self._settled = self._settled, self._sb.conditions_settled
        self._ports_rest &= before == self._settled
        if self._settled and self._topology.me is not None and not self._complete:
            vlog.info("all of the Southbound that concerns this chassis has been read")
            self._complete = True

    def _release_zones(self) -> None:
        if not self._complete:
            return
        moved = self._topology.zones.take_moved()
        if self._on_zones_moved is not None and any(moved):
            self._on_zones_moved(moved)

    # --- what we owe the databases ----------------------------------------------

    def _write_southbound(self, now: int, moved: bool) -> None:
        private = self._private()
        encaps = self._sb.table(Encap)
        things = (self.config, self._view, self._topology.me, private)
        if moved or not self._registration.right(things):
            self._registration.run(*things, encaps, now)
        self._port_writes = self._write_ports(now)
        row = next(iter(self._sb.table(SBGlobal).values()), None)
        if row is not None:
            self._nb_cfg.see(row.nb_cfg, self._seq, self._settled)
        live = self._nb_cfg.live(self._attached, _wall_ms())
        ready = self._nb_cfg_lane.ready(now)
        if ready and private is not None and live and private.nb_cfg != live:
            if not self._nb_cfg.may_tell(live, now):
                return
            since, txn = self._nb_cfg.since, Transaction()
            txn.update(ChassisPrivate, private.uuid, nb_cfg=live, nb_cfg_timestamp=since)
            self._nb_cfg_lane.send(txn)

    def _reconnected(self) -> None:
        self._ports_rest = False
        for lane in (self._registration, self._port_lane, self._nb_cfg_lane):
            lane.reconnected()

    def _private(self) -> ChassisPrivate | None:
        rows = self._sb.table(ChassisPrivate).values()
        return next((row for row in rows if row.name == self.config.chassis), None)

    def _write_ports(self, now: int) -> Writes:
        me = self._topology.me
        if me is None:
            return Writes()
        sent = self._port_lane.in_flight or not self._port_writes.ports
        if self._ports_rest and sent and not self._status.due(self._acked, self._unready):
            return self._port_writes
        ours = (self._sb.table(Encap).get(uuid) for uuid in me.encaps)
        moment = Moment(
            now_ms=now,
            seq=self._seq,
            acked=self._acked,
            settled=self._settled,
            chassis=me.uuid,
            encaps={row.ip: row.uuid for row in ours if row is not None and row.type == "geneve"},
            unready=self._unready,
        )
        bound = list(self._topology.ports.chassis(me.uuid))
        writes = self._status.run(moment, self._topology.claims, bound, self._view.interfaces)
        gateways, wake_ms = self._gateways.run(me.uuid, self._topology.gateways, bound, now)
        if self._settled:
            writes.ports += gateways
        self._wake_ms = min(filter(None, (writes.wake_ms, wake_ms)), default=None)
        self._port_lane.write(me.uuid, writes.ports, now)
        owed = self._wake_ms is not None or writes.installed or writes.uninstalled
        self._ports_rest = not owed
        return writes

    def _claim_sent(self, lport: str, now: int) -> None:
        if lport in self._topology.gateways:
            self._gateways.sent(lport, now)
        else:
            self._status.claim_sent(lport, now)

    def _write_local(self, moved: bool) -> None:
        wall = _wall_ms()
        ports = self._port_writes
        writes = bridge.bridge_writes(self._view, self.config)
        live = self._nb_cfg.live(self._attached, wall)
        since, startup = self._nb_cfg.since, self._startup_ms
        writes.bridge_ids = bridge.nb_cfg_writes(self._view, live, since, startup)
        if self._complete:
            writes.bridge_ids |= self._zone_writes()
        writes.iface_ids = bridge.installed_writes(ports.installed, ports.uninstalled, wall)
        view, topology = self._view, self._topology
        self._ovs_ports.fill(writes, self.config, view, topology, self._complete, moved)
        if writes:
            self._local.write(writes)

    def _zone_writes(self) -> Mapping[str, str | None]:
        """A thousand datapaths have two thousand zones: compared only when they change."""
        persistent = self._topology.zones.persistent()
        view, told, writes = self._zones_told
        if view is not self._view or told is not persistent:
            writes = bridge.zone_writes(self._view, persistent)
            self._zones_told = (self._view, persistent, writes)
        return writes

    # --- leaving ----------------------------------------------------------------

    def cleanup(self, changes: Changes) -> bool:
        """Graceful `exit`: give back ports and delete our rows; True when done.

        Call instead of run(), in a loop with wait(), until it returns True.  With
        external_ids:ovn-cleanup-on-exit=false everything stays as it is.
        """
        if not self.config.cleanup_on_exit:
            return True
        clean = ovs_ports.clean(self._local, self.config)
        self._topology.take(changes, self.config)
        if not self._sb.synced:
            return clean and not self._sb.has_ever_connected
        me = self._topology.me
        txn = Transaction(f"ovn-bpf-controller: unregistering chassis '{self.config.chassis}'")
        if me is not None:
            for row in self._topology.ports.chassis(me.uuid):
                ours = row.chassis == me.uuid
                wish = release_write(row, me.uuid) if ours else PortWrite(row, additional=False)
                add_port_write(txn, me.uuid, wish)
            for group in self._sb.table(IGMPGroup).values():
                if group.chassis == me.uuid:
                    txn.delete(IGMPGroup, group.uuid)
        return self._registration.remove(me, self._private(), now_ms(), txn) and clean

    # --- for operators ----------------------------------------------------------

    def port_states(self) -> dict[str, State]:
        """Logical port -> where its if-status machine stands."""
        return self._status.states()

    @property
    def claims(self) -> Mapping[str, Claim]:
        """Logical ports that are plugged here."""
        return self._topology.claims

    @property
    def me(self) -> Chassis | None:
        """Our row."""
        return self._topology.me

    def port(self, lport: str) -> PortBinding | None:
        """The row of a logical port."""
        return self._topology.ports.name(lport)

    def wake(self, lport: str) -> None:
        """The guest of a port that migrates has shown itself here; obeyed by run()."""
        self._topology.wake(lport)
        self._woken = True

    @property
    def interfaces(self) -> Sequence[Interface]:
        """Those of the integration bridge."""
        return self._view.interfaces

    @property
    def peers(self) -> Peers:
        """The other chassis, and why some are not reached."""
        return self._topology.peers


def _named(view: LocalView) -> list[Interface]:
    """What may carry a logical port; a hundred tunnels say nothing of themselves."""
    return [iface for iface in view.interfaces if iface.external_ids]


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
