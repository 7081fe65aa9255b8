# SPDX-License-Identifier: Apache-2.0
"""Controller_Event rows of this chassis: one for each event that nobody has handled yet.

Whoever handles an event deletes its row; the next packet makes another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import Chassis, ControllerEvent
from ovn_bpf_controller.ovsdb.transact import Pending, Transaction

What = tuple[str, tuple[tuple[str, str], ...]]


class Events(Duty):
    """The agent's half of slowpath.happenings."""

    name = "events"

    def __init__(self) -> None:
        self._written: dict[What, int] = {}  # when it was last seen, of those that are done
        self._asked: dict[What, int] = {}
        self._pending: Pending | None = None
        self._last = 0

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """See Duty."""
        if self._pending is not None and self._pending.ok:
            self._written |= self._asked
        self._pending = None
        happened = {_what(kind, info): at for kind, info, at in reports.get("events", ())}
        self._written = {what: at for what, at in self._written.items() if what in happened}
        new = {what: at for what, at in happened.items() if at > self._written.get(what, 0)}
        chassis = _chassis(view) if new else None
        if chassis is None:
            return None
        there = set()
        for row in _ours(view, chassis):
            there.add(_what(row.event_type, row.event_info))
            self._last = max(self._last, row.seq_num)
        self._written |= {what: at for what, at in new.items() if what in there}
        self._asked = {what: at for what, at in new.items() if what not in there}
        transaction = Transaction("ovn-bpf-controller: events")
        for number, (kind, info) in enumerate(self._asked, self._last + 1):
            transaction.insert(
                ControllerEvent,
                event_type=kind,
                event_info=dict(info),
                chassis=chassis,
                seq_num=number,
            )
        return transaction

    def sent(self, pending: Pending) -> None:
        """See Duty."""
        self._pending = pending
        self._last += len(self._asked)


def _what(kind: str, info: Mapping[str, str]) -> What:
    return kind, tuple(sorted(info.items()))


def _ours(view: View, chassis: str) -> Iterator[ControllerEvent]:
    for row in view.southbound.table(ControllerEvent).values():
        if row.chassis == chassis:
            yield row


def _chassis(view: View) -> str | None:
    """Uuid of our own row."""
    for row in view.southbound.table(Chassis).values():
        if row.name == view.desired.chassis:
            return row.uuid
    return None
