# SPDX-License-Identifier: Apache-2.0
"""Carries binding's wishes to the Southbound, one kind of write at a time.

Called by the engine.  Wishes are recomputed from the rows in every iteration, so a
transaction that was lost needs no memory here: it is simply wished for again.
What this adds is restraint: one transaction in flight per lane, a growing pause
after a refusal, and ports one by one after a batch was refused, so that a port
that the server will not take costs itself only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import ovs.vlog

from ovn_bpf_controller.binding.chassis import ChassisWrites
from ovn_bpf_controller.binding.if_status import PortWrite
from ovn_bpf_controller.ovsdb.tables import Chassis, ChassisPrivate, Encap, PortBinding
from ovn_bpf_controller.ovsdb.transact import Pending, Transaction
from ovn_bpf_controller.plaindata import dataclass

vlog = ovs.vlog.Vlog("binding_writer")
binding_log = ovs.vlog.Vlog("binding")

FIRST_PAUSE_MS = 500
MAX_PAUSE_MS = 60_000
# For what is wrong with the server, not with the write: it may end at any moment.
MAX_RETRY_MS = 4_000


class Southbound(Protocol):
    """The part of SouthboundCache that writing needs."""

    def transact(self, txn: Transaction) -> Pending:
        """Send a transaction; the outcome appears in the result during run()."""


def now_ms() -> int:
    """Monotonic time in milliseconds, the clock of ovs.poller."""
    return time.monotonic_ns() // 1_000_000


@dataclass(slots=True)
class BackOff:
    """A pause that doubles with every failure in a row."""

    failures: int = 0
    until_ms: int = 0

    def fail(self, now: int, most: int = MAX_PAUSE_MS) -> int:
        """Note a failure; returns the pause in ms, at most `most`."""
        pause: int = min(FIRST_PAUSE_MS << min(self.failures, 10), most)
        self.failures += 1
        self.until_ms = now + pause
        return pause

    def reset(self) -> None:
        """All is well again."""
        self.failures = 0
        self.until_ms = 0


class Lane:
    """Writes of one kind, one after the other.  name: for the log."""

    def __init__(self, southbound: Southbound, name: str) -> None:
        self._southbound = southbound
        self._name = name
        self._pending: Pending | None = None
        self._back_off = BackOff()
        self.refused = 0

    def ready(self, now: int) -> bool:
        """May something be sent?  Takes in the outcome of what was sent before."""
        if self._pending is not None and self._pending.done:
            self._finish(self._pending, now)
            self._pending = None
        return self._pending is None and now >= self._back_off.until_ms

    @property
    def in_flight(self) -> bool:
        """Is what was sent unanswered?"""
        return self._pending is not None and not self._pending.done

    def send(self, txn: Transaction) -> Pending | None:
        """Send; only when ready().  None: there was nothing to send."""
        if txn:
            self._pending = self._southbound.transact(txn)
        return self._pending

    def _finish(self, pending: Pending, now: int) -> None:
        if pending.ok:
            self._back_off.reset()
            self.refused = 0
            return
        pause = self._back_off.fail(now, MAX_RETRY_MS if pending.retryable else MAX_PAUSE_MS)
        text = f"{self._name}: {pending}; next try in {pause} ms"
        if pending.retryable:
            vlog.info(text)
        else:
            self.refused += 1
            vlog.warn(text)

    def reconnected(self) -> None:
        """It is another server, or another time: no reason to wait any longer."""
        if self._pending is not None and self._pending.done:
            self._pending = None
        self._back_off.reset()

    def wait(self, poller: Any, now: int) -> None:
        """Wake the poller when a pause is over."""
        if self._back_off.until_ms > now and self._pending is None:
            poller.timer_wait_until(self._back_off.until_ms)


# --- our own rows -----------------------------------------------------------------


def chassis_transaction(
    writes: ChassisWrites, name: str, me: Chassis | None, private: ChassisPrivate | None
) -> Transaction:
    """Everything but the hostname of an existing row (see hostname_transaction)."""
    verb = "registering" if writes.insert else "updating"
    txn = Transaction(f"ovn-bpf-controller: {verb} chassis '{name}'")
    encaps: list[object] | None = None
    if writes.encaps is not None:
        encaps = []
        for spec, uuid in writes.encaps:
            options = dict(spec.options)
            if uuid is None:
                row = {"type": spec.type, "ip": spec.ip, "chassis_name": name}
                encaps.append(txn.insert(Encap, options=options, **row))
            else:
                txn.update(Encap, uuid, options=options)
                encaps.append(uuid)
    chassis: object
    if me is None:
        chassis = txn.insert(
            Chassis,
            name=name,
            hostname=writes.hostname or "",
            encaps=encaps or (),
            other_config=writes.other_config,
            transport_zones=writes.transport_zones or (),
        )
    else:
        chassis = me.uuid
        if encaps is not None:
            txn.update(Chassis, me.uuid, encaps=encaps)
        if writes.other_config:
            txn.set_keys(Chassis, me.uuid, "other_config", writes.other_config)
        if writes.transport_zones is not None:
            txn.update(Chassis, me.uuid, transport_zones=writes.transport_zones)
    if writes.private and private is None:
        txn.insert(ChassisPrivate, name=name, chassis=chassis)
    elif writes.private and private is not None:
        txn.update(ChassisPrivate, private.uuid, chassis=chassis)
    return txn


def hostname_transaction(me: Chassis, hostname: str) -> Transaction:
    """The one column of ours that RBAC may forbid."""
    return Transaction().update(Chassis, me.uuid, hostname=hostname)


# --- ports ------------------------------------------------------------------------


class PortLane:
    """Writes to Port_Binding; a batch that was refused is tried port by port."""

    def __init__(self, southbound: Southbound, claim_sent: Callable[[str, int], None]) -> None:
        self._southbound = southbound
        self._claim_sent = claim_sent
        self._batch = Lane(southbound, "Port_Binding")
        self._single: dict[str, Lane] = {}

    def write(self, chassis: str, wishes: Iterable[PortWrite], now: int) -> None:
        """Send what may be sent now.  chassis: uuid of our row."""
        by_port: dict[str, list[PortWrite]] = {}
        for wish in wishes:
            by_port.setdefault(wish.row.logical_port, []).append(wish)
        for name in self._single.keys() - by_port.keys():
            if self._single[name].ready(now):
                del self._single[name]
        ready = self._batch.ready(now)
        if self._batch.refused or self._single:
            self._write_singly(chassis, by_port, now)
        elif ready and by_port:
            txn = Transaction("ovn-bpf-controller: port bindings")
            for name, wishes_of_port in by_port.items():
                self._add(txn, chassis, name, wishes_of_port, now)
            self._batch.send(txn)

    @property
    def in_flight(self) -> bool:
        """Must everything wait for an answer?"""
        return self._batch.in_flight and not self._single

    def _write_singly(self, chassis: str, by_port: dict[str, list[PortWrite]], now: int) -> None:
        self._batch.refused = 0
        for name, wishes in by_port.items():
            lane = self._single.setdefault(name, Lane(self._southbound, f"Port_Binding {name}"))
            if lane.ready(now):
                txn = Transaction(f"ovn-bpf-controller: port binding {name}")
                self._add(txn, chassis, name, wishes, now)
                lane.send(txn)

    def _add(
        self, txn: Transaction, chassis: str, name: str, wishes: list[PortWrite], now: int
    ) -> None:
        for wish in wishes:
            add_port_write(txn, chassis, wish)
            _say(wish)
            if wish.chassis:
                self._claim_sent(name, now)

    def reconnected(self) -> None:
        """See Lane."""
        self._batch.reconnected()
        for lane in self._single.values():
            lane.reconnected()

    def wait(self, poller: Any, now: int) -> None:
        """Wake the poller when a pause is over."""
        self._batch.wait(poller, now)
        for lane in self._single.values():
            lane.wait(poller, now)


def _say(wish: PortWrite) -> None:
    """ovn-controller's words: operators and their tools look for them."""
    name = wish.row.logical_port
    if wish.chassis:
        binding_log.info(f"Claiming lport {name} for this chassis.")
        for mac in wish.row.mac:
            binding_log.info(f"{name}: Claiming {mac}")
    elif wish.chassis is False:
        binding_log.info(f"Releasing lport {name} from this chassis")
    if wish.additional is not None:
        verb = "Claiming" if wish.additional else "Releasing"
        binding_log.info(f"{verb} lport {name} for this additional chassis.")
    if wish.up is not None and wish.chassis is None:
        binding_log.info(f"Setting lport {name} {'up' if wish.up else 'down'} in Southbound")


def add_port_write(txn: Transaction, chassis: str, wish: PortWrite) -> None:
    """Operations that carry one wish out.  chassis: uuid of our Chassis row."""
    uuid = wish.row.uuid
    columns: dict[str, object] = {}
    if wish.chassis is not None:
        columns["chassis"] = chassis if wish.chassis else None
    if wish.up is not None:
        columns["up"] = wish.up
    if wish.encap is not None and wish.additional is None:
        columns["encap"] = wish.encap or None
    if wish.clear_virtual_parent:
        columns["virtual_parent"] = None
    if columns:
        if wish.guarded:
            txn.wait(PortBinding, uuid, chassis=chassis)
        txn.update(PortBinding, uuid, **columns)
    if wish.additional is not None:
        mutator = "insert" if wish.additional else "delete"
        txn.mutate(PortBinding, uuid, "additional_chassis", mutator, (chassis,))
        if wish.additional and wish.encap:
            txn.mutate(PortBinding, uuid, "additional_encap", "insert", (wish.encap,))
    if wish.drop_encaps:
        txn.mutate(PortBinding, uuid, "additional_encap", "delete", wish.drop_encaps)
