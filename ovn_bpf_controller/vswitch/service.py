# SPDX-License-Identifier: Apache-2.0
"""Does ovs-vswitchd's duties in the local database while nobody else does.

The agent calls run() after LocalDatabase.run().  Whoever holds the OVSDB lock
`ovs_vswitchd` has the duties, and ovs-vswitchd itself wants that lock: so the lock
tells whether we work alone or beside it.  The server queues those who wait, but
does not tell the holder that somebody does; a locked pidfile of ovs-vswitchd is
the sign to hand over and to queue up behind it.
"""

from __future__ import annotations

import fcntl
import operator
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ovs.version
import ovs.vlog

from ovn_bpf_controller.binding.writer import BackOff, now_ms
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.local_tables import Bridge, Interface, OpenVSwitch, Port
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending
from ovn_bpf_controller.underlay.links import Links
from ovn_bpf_controller.vswitch.duties import Duties, Switch, SwitchWrites

vlog = ovs.vlog.Vlog("vswitch")

LOCK = "ovs_vswitchd"
_LOOK_MS = 1000
_TABLES: tuple[type[Row], ...] = (OpenVSwitch, Bridge, Port, Interface)
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux


class VswitchService:
    """ovs-vswitchd's least duties.

    database: the agent's, run by the agent.  links: the devices of this namespace,
    kept current by KernelUnderlay.  pidfile: ovs-vswitchd's.
    """

    def __init__(self, database: LocalDatabase, links: Links, pidfile: Path) -> None:
        self._database = database
        self._links = links
        self._pidfile = pidfile
        self._duties = Duties(str(ovs.version.VERSION))
        self._pending: Pending | None = None
        self._back_off = BackOff()
        self._look_ms = 0
        self._queued = False
        self._on_duty = False
        self._links_seen = -1
        self._done: tuple[object, ...] = ()  # what there was to see when nothing was due

    @property
    def on_duty(self) -> bool:
        """Are the duties ours at the moment?"""
        return self._on_duty

    def run(self) -> None:
        """Take or pass on the duties, and do what is due."""
        now = now_ms()
        self._links_seen = self._links.version
        if now >= self._look_ms:
            self._look_ms = now + _LOOK_MS
            self._hand_over_or_queue()
        if self._database.has_lock != self._on_duty:
            self._on_duty = self._database.has_lock
            vlog.info(
                "no ovs-vswitchd: taking over its duties in the database"
                if self._on_duty
                else "ovs-vswitchd has its duties in the database"
            )
        if self._on_duty and self._ready(now):
            self._work()

    def wait(self, poller: Any) -> None:
        """Wake the poller when run() has something to do by itself."""
        if self._on_duty or not self._queued:
            poller.timer_wait_until(self._look_ms)
        if self._on_duty and self._links_seen != self._links.version:
            # Somebody else reads the kernel's events, perhaps after our run().
            poller.immediate_wake()
        if self._back_off.until_ms > now_ms():
            poller.timer_wait_until(self._back_off.until_ms)

    def stop(self) -> None:
        """Give the lock back."""
        self._database.set_lock(None)

    # --- the lock -----------------------------------------------------------------

    def _hand_over_or_queue(self) -> None:
        self._queued = not (self._database.has_lock and vswitchd_runs(self._pidfile))
        if not self._queued:
            vlog.info("ovs-vswitchd has started: giving it the lock")
        self._database.set_lock(LOCK if self._queued else None)

    # --- the duties ---------------------------------------------------------------

    def _ready(self, now: int) -> bool:
        if self._pending is not None:
            if not self._pending.done:
                return False
            if self._pending.ok:
                self._back_off.reset()
            else:
                pause = self._back_off.fail(now)
                vlog.warn(f"the local database took no write: {self._pending}; again in {pause} ms")
            self._pending = None
        return self._database.synced and now >= self._back_off.until_ms

    def _work(self) -> None:
        # LocalDatabase makes new mappings when anything has changed, and only then.
        seen = (self._links.version, *map(self._database.table, _TABLES))
        if len(seen) == len(self._done) and all(map(operator.is_, seen, self._done)):
            return
        self._done = ()
        switch = read_switch(self._database)
        if switch is None:
            return
        writes = self._duties.decide(switch, self._links.names)
        if writes:
            self._write(switch, writes)
        else:
            self._done = seen

    def _write(self, switch: Switch, writes: SwitchWrites) -> None:
        with self._database.transaction("ovn-bpf-controller: vswitch duties") as txn:
            for uuid, columns in writes.interfaces.items():
                txn.set(Interface, uuid, **columns)
            for uuid, columns in writes.bridges.items():
                txn.set(Bridge, uuid, **columns)
            if writes.switch:
                txn.set(OpenVSwitch, switch.row.uuid, **writes.switch)
        self._pending = txn.pending


def read_switch(database: LocalDatabase) -> Switch | None:
    """All bridges with their interfaces; None before `ovs-vsctl init`."""
    row = database.open_vswitch
    if row is None:
        return None
    bridges = tuple((b, tuple(database.interfaces(b))) for b in database.bridges())
    return Switch(row, bridges, frozenset(_tunnels(database)))


def _tunnels(database: LocalDatabase) -> Iterator[str]:
    """Interfaces that stand for Geneve tunnels of OVN's, which the agent carries."""
    interfaces = database.table(Interface)
    for port in database.table(Port).values():
        for uuid in port.interfaces if "ovn-chassis-id" in port.external_ids else ():
            if uuid in interfaces and interfaces[uuid].type == "geneve":
                yield uuid


def vswitchd_runs(pidfile: Path) -> bool:
    """Is `pidfile` locked, as a running daemon of OVS locks its own?"""
    try:
        with pidfile.open("rb") as file:
            probe = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(file.fileno(), fcntl.F_GETLK, probe)
    except FileNotFoundError:
        return False
    except OSError as error:
        vlog.warn(f"{pidfile}: {error}")
        return False
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)
