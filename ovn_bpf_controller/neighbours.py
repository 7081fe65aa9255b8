# SPDX-License-Identifier: Apache-2.0
"""MAC_Binding and Static_MAC_Binding rows -> FlowCompiler, for local datapaths.

logical.LogicalFlows owns it and calls run() with what changed.  A row of a port
that is not known here is kept in mind only: the port may come.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovn_bpf_controller.binding.desired import Delta, LocalDatapath
from ovn_bpf_controller.compile import mac_binding
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import MACBinding, StaticMACBinding

Row = MACBinding | StaticMACBinding
Where = tuple[str, str]  # uuid of the datapath, logical port


class Neighbours:
    """Keeps the compiler's MAC bindings in step with the Southbound."""

    def __init__(self, compiler: FlowCompiler) -> None:
        self._compiler = compiler
        self._rows: dict[str, Row] = {}
        self._at: dict[Where, set[str]] = {}
        self._live: dict[str, int] = {}  # row uuid -> datapath key of its rules

    def run(self, changes: Changes, datapaths: Mapping[str, LocalDatapath], delta: Delta) -> None:
        """datapaths: the local ones by uuid.  delta: names that changed on them."""
        due: dict[str, None] = {}
        tables: tuple[type[Row], ...] = (MACBinding, StaticMACBinding)
        for table in tables:
            for uuid, (_, new) in changes.of(table).items():
                self._replace(uuid, new)
                due[uuid] = None
        for where in delta.names:
            due.update(dict.fromkeys(self._at.get(where, ())))
        for uuid in due:
            self._follow(uuid, datapaths)

    def _replace(self, uuid: str, new: Row | None) -> None:
        old = self._rows.pop(uuid, None)
        if old is not None:
            where = (old.datapath, old.logical_port)
            self._at[where].discard(uuid)
            if not self._at[where]:
                del self._at[where]
        if new is not None:
            self._rows[uuid] = new
            self._at.setdefault((new.datapath, new.logical_port), set()).add(uuid)

    def _follow(self, uuid: str, datapaths: Mapping[str, LocalDatapath]) -> None:
        row = self._rows.get(uuid)
        local = datapaths.get(row.datapath) if row is not None else None
        key = local.port_keys.get(row.logical_port, 0) if row is not None and local else 0
        before = self._live.pop(uuid, None)
        if before is not None and (local is None or not key or before != local.key):
            self._compiler.remove_mac_binding(uuid, before)
        if row is not None and local is not None and key:
            self._live[uuid] = local.key
            self._compiler.set_mac_binding(uuid, local.key, key, row.ip, row.mac, _priority(row))


def _priority(row: Row) -> int:
    if isinstance(row, MACBinding):
        return mac_binding.DYNAMIC
    return mac_binding.STATIC_OVERRIDE if row.override_dynamic_mac else mac_binding.STATIC
