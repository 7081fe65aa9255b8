# SPDX-License-Identifier: Apache-2.0
"""What guests tell by their frames about ports -> Port_Binding rows.

A parent that speaks for a virtual port's address gets it (bind_vport), with our
chassis; a guest that has migrated here wakes its port.  learning.Learning hands over
what the program saw.  Behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

from typing import Any, Final

import ovs.vlog

from ovn_bpf_controller.binding.claims import PortType
from ovn_bpf_controller.binding.engine import Binding
from ovn_bpf_controller.binding.writer import now_ms
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import PortBinding
from ovn_bpf_controller.ovsdb.transact import Transaction
from ovn_bpf_controller.upserts import Upserts

vlog = ovs.vlog.Vlog("pinctrl")

#: Two parents that both speak for a port take turns at most this often.
PAUSE_MS: Final = 500
ACTIVATED: Final = "additional-chassis-activated"


class GuestNews:
    """Wishes about ports of this chassis, by their names."""

    def __init__(self, binding: Binding, southbound: SouthboundCache) -> None:
        self._binding = binding
        self._virtual: Upserts[str, str] = Upserts(southbound, "virtual ports")
        self._awake: Upserts[str, bool] = Upserts(southbound, "activated ports")
        self._claimed_ms: dict[str, int] = {}

    def port(self, name: str) -> PortBinding | None:
        """The row of a logical port."""
        return self._binding.port(name)

    def speaks_for(self, vport: str, parent: str, order: int) -> None:
        """order: of two the greater one was later."""
        if vport and parent:
            at = self._claimed_ms.get(vport, -PAUSE_MS) + PAUSE_MS
            self._virtual.wish(vport, parent, max(now_ms(), at), order)

    def awake(self, name: str) -> None:
        """At once here; the Southbound is told."""
        if name:
            self._binding.wake(name)
            self._awake.wish(name, True, now_ms())

    def run(self) -> None:
        """Writes what is due."""
        now = now_ms()
        self._virtual.run(now, self._bind)
        self._awake.run(now, self._activate)

    def wait(self, poller: Any) -> None:
        """See AgentProtocol."""
        self._virtual.wait(poller)
        self._awake.wait(poller)

    def _bind(self, txn: Transaction, vport: str, parent: str) -> None:
        me, row = self._binding.me, self.port(vport)
        if me is None or row is None or row.type != PortType.VIRTUAL.value:
            return
        if self.port(parent) is None or (row.chassis, row.virtual_parent) == (me.uuid, parent):
            return
        said = f"Claiming virtual lport {vport} for this chassis with the virtual parent {parent}"
        vlog.info(said)
        now = now_ms()
        old = [name for name, at in self._claimed_ms.items() if at + PAUSE_MS < now]
        for name in old:
            del self._claimed_ms[name]
        self._claimed_ms[vport] = now
        txn.update(PortBinding, row.uuid, chassis=me.uuid, virtual_parent=parent)

    def _activate(self, txn: Transaction, name: str, _: bool) -> None:
        me, row = self._binding.me, self.port(name)
        if me is None or row is None or me.uuid not in row.additional_chassis:
            return
        said = [each for each in row.options.get(ACTIVATED, "").split(",") if each]
        if me.name not in said:
            told = ",".join([*said, me.name])
            txn.set_keys(PortBinding, row.uuid, "options", {ACTIVATED: told})
