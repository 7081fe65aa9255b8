# SPDX-License-Identifier: Apache-2.0
"""Southbound rows without a server, and LogicalFlows that follows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

from ovn_bpf_controller.binding.desired import Desired, LocalDatapath, diff
from ovn_bpf_controller.compile.compiler import RuleChanges
from ovn_bpf_controller.logical import LogicalFlows
from ovn_bpf_controller.model import Datapath
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import Row


class Rows:
    """Rows as the cache would have them."""

    def __init__(self) -> None:
        self.tables: dict[type[Row], dict[str, Row]] = {}
        self.changes = Changes()
        self.desired = self.before = Desired(chassis="hv")
        self.flows = self._follower()

    def _follower(self) -> LogicalFlows:
        cache = SimpleNamespace(table=lambda kind: self.tables.get(kind, {}))
        return LogicalFlows(cast(Any, cache))

    def put(self, row: Row) -> None:
        rows = self.tables.setdefault(type(row), {})
        self.changes.note(row.TABLE, row.uuid, rows.get(row.uuid), row)
        rows[row.uuid] = row

    def drop(self, kind: type[Row], uuid: str) -> None:
        old = self.tables[kind].pop(uuid)
        self.changes.note(kind.TABLE, uuid, old, None)

    def local(
        self,
        *uuids: str,
        ports: Mapping[str, int] | None = None,
        elsewhere: Iterable[str] = (),
    ) -> None:
        """The datapaths that are; their keys are the numbers in their names.

        ports: their keys, on each of them.  elsewhere: those not plugged here.
        """
        datapaths = {
            u: LocalDatapath(
                u, Datapath(int(u[2:])), port_keys=ports or {}, elsewhere=frozenset(elsewhere)
            )
            for u in uuids
        }
        self.desired = Desired(chassis="hv", datapaths=datapaths)

    def run(self) -> RuleChanges:
        made = self.flows.run(self.changes, self.desired, diff(self.before, self.desired))
        self.changes, self.before = Changes(), self.desired
        return made

    def from_scratch(self) -> LogicalFlows:
        """Another that is told all at once."""
        changes = Changes()
        for rows in self.tables.values():
            for row in rows.values():
                changes.note(row.TABLE, row.uuid, None, row)
        fresh = self._follower()
        fresh.run(changes, self.desired, diff(Desired(chassis="hv"), self.desired))
        return fresh
