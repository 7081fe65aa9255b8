# SPDX-License-Identifier: Apache-2.0
"""Keeps our Chassis, Encap and Chassis_Private rows right, with patience.

Owned by the engine.  chassis.py says what is wrong, this decides when to write:
a refused write and a row that another host keeps changing back (two hosts with
one system-id) are both met with growing pauses and a line in the log.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import ovs.vlog

from ovn_bpf_controller.binding import chassis
from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.view import LocalView
from ovn_bpf_controller.binding.writer import (
    BackOff,
    Lane,
    Southbound,
    chassis_transaction,
    hostname_transaction,
)
from ovn_bpf_controller.ovsdb.tables import Chassis, ChassisPrivate, Encap
from ovn_bpf_controller.ovsdb.transact import Transaction

vlog = ovs.vlog.Vlog("chassis")

# Rows that stayed right for this long are not in dispute any more.
PEACE_MS = 60_000


class Registration:
    """Our rows in the Southbound."""

    def __init__(self, southbound: Southbound) -> None:
        self._rows = Lane(southbound, "Chassis")
        self._hostname = Lane(southbound, "Chassis.hostname")
        self._removal = Lane(southbound, "Chassis")
        self._dispute = BackOff()
        self._right: Config | None = None
        self._said: tuple[str, ...] = ()
        self._of: tuple[object, ...] = ()  # what run() found nothing to do for

    def right(self, things: tuple[object, ...]) -> bool:
        """Did run() find nothing to do for just these: config, view, me, private?"""
        return len(things) == len(self._of) and all(map(operator.is_, things, self._of))

    def run(
        self,
        config: Config,
        view: LocalView,
        me: Chassis | None,
        private: ChassisPrivate | None,
        encaps: Mapping[str, Encap],
        now: int,
    ) -> None:
        """Write what is wrong, if now is the time.  now: monotonic ms."""
        if self._right is not None and now > self._dispute.until_ms + PEACE_MS:
            self._dispute.reset()
        refusal = chassis.Refusal()
        writes = chassis.plan(config, view, me, private, encaps, refusal)
        self._say(refusal)
        ready = self._rows.ready(now)
        self._of = () if writes or writes.hostname is not None else (config, view, me, private)
        if not writes:
            self._right = config
        elif ready and now >= self._dispute.until_ms and not self._disputed(config, writes, now):
            self._rows.send(chassis_transaction(writes, config.chassis, me, private))
        if me is not None and writes.hostname is not None and self._hostname.ready(now):
            self._hostname.send(hostname_transaction(me, writes.hostname))

    def _disputed(self, config: Config, writes: chassis.ChassisWrites, now: int) -> bool:
        """Were the rows right, and has somebody else changed them?  Then pause."""
        if self._right != config or (writes.encaps is None and not writes.insert):
            return False
        self._right = None
        pause = self._dispute.fail(now)
        vlog.warn(
            f"Chassis '{config.chassis}' was changed by somebody else: does another host "
            f"use the same system-id?  Writing it again in {pause} ms"
        )
        return True

    def remove(
        self, me: Chassis | None, private: ChassisPrivate | None, now: int, txn: Transaction
    ) -> bool:
        """Delete our rows, `txn` with them (graceful exit); True once they are gone."""
        if me is None and private is None:
            return True
        if self._removal.ready(now):
            if me is not None:
                txn.delete(Chassis, me.uuid)
            if private is not None:
                txn.delete(ChassisPrivate, private.uuid)
            self._removal.send(txn)
        return False

    def reconnected(self) -> None:
        """See Lane; a dispute with another host goes on."""
        for lane in (self._rows, self._hostname, self._removal):
            lane.reconnected()

    def wait(self, poller: Any, now: int) -> None:
        """Wake the poller when a pause is over."""
        for lane in (self._rows, self._hostname, self._removal):
            lane.wait(poller, now)
        if self._dispute.until_ms > now:
            poller.timer_wait_until(self._dispute.until_ms)

    def _say(self, refusal: chassis.Refusal) -> None:
        """Log what an operator must put right, whenever it changes."""
        said = (*refusal.messages, *refusal.notes)
        if said != self._said:
            for message in refusal.messages:
                vlog.warn(message)
            for note in refusal.notes:
                vlog.info(note)
        self._said = said
