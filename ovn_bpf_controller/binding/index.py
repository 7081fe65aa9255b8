# SPDX-License-Identifier: Apache-2.0
"""Port_Binding rows by name, datapath, parent and chassis, kept incrementally.

Fed by the engine with each batch of changes; read by everything that decides who
is local.  Without it every question would be a walk over all ports of the cloud.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovn_bpf_controller.ovsdb.tables import PortBinding

Change = tuple[PortBinding | None, PortBinding | None]


class PortIndex:
    """All Port_Binding rows that the monitor conditions let through."""

    def __init__(self) -> None:
        self._rows: dict[str, PortBinding] = {}
        self._by_name: dict[str, PortBinding] = {}
        self._by_datapath: dict[str, dict[str, PortBinding]] = {}
        self._peered: dict[str, dict[str, PortBinding]] = {}
        self._by_parent: dict[str, dict[str, PortBinding]] = {}
        self._by_chassis: dict[str, dict[str, PortBinding]] = {}
        self._by_kind: dict[str, dict[str, PortBinding]] = {}

    def apply(self, changes: Mapping[str, Change]) -> None:
        """Take over (old, new) per row uuid: removals first, names may move."""
        for uuid, (_, new) in changes.items():
            old = self._rows.get(uuid)
            if old is not None:
                self._remove(old)
            if new is not None:
                self._rows[uuid] = new
        for uuid, (_, new) in changes.items():
            if new is not None and uuid in self._rows:
                self._insert(new)

    def _insert(self, row: PortBinding) -> None:
        uuid = row.uuid
        self._by_name[row.logical_port] = row
        for table, key in self._keys(row):
            group = table.get(key)
            if group is None:
                table[key] = {uuid: row}
            else:
                group[uuid] = row

    def _remove(self, row: PortBinding) -> None:
        del self._rows[row.uuid]
        if self._by_name.get(row.logical_port) is row:
            del self._by_name[row.logical_port]
        for table, key in self._keys(row):
            group = table.get(key, {})
            group.pop(row.uuid, None)
            if not group:
                table.pop(key, None)

    def _keys(self, row: PortBinding) -> list[tuple[dict[str, dict[str, PortBinding]], str]]:
        keys = []
        if row.datapath:
            keys.append((self._by_datapath, row.datapath))
            if "peer" in row.options:
                keys.append((self._peered, row.datapath))
        if row.type:
            keys.append((self._by_kind, row.type))
        parent = row.mirror_port if row.type == "mirror" else row.parent_port
        if parent:
            keys.append((self._by_parent, parent))
        if row.chassis:
            keys.append((self._by_chassis, row.chassis))
        keys += [(self._by_chassis, chassis) for chassis in row.additional_chassis]
        return keys

    def name(self, lport: str) -> PortBinding | None:
        """The row of a logical port."""
        return self._by_name.get(lport)

    def uuid(self, uuid: str) -> PortBinding | None:
        """The row with this uuid."""
        return self._rows.get(uuid)

    def datapath(self, uuid: str) -> Iterable[PortBinding]:
        """Ports of a Datapath_Binding row."""
        return self._by_datapath.get(uuid, {}).values()

    def peered(self, uuid: str) -> Iterable[PortBinding]:
        """Ports of a Datapath_Binding row that lead to another datapath."""
        return self._peered.get(uuid, {}).values()

    def children(self, lport: str) -> Iterable[PortBinding]:
        """Ports whose parent_port is `lport`, and mirrors' whose mirror_port it is."""
        return self._by_parent.get(lport, {}).values()

    def kind(self, kind: str) -> Iterable[PortBinding]:
        """Ports of a type; not of "", which are too many to walk."""
        return self._by_kind.get(kind, {}).values()

    def chassis(self, uuid: str) -> Iterable[PortBinding]:
        """Ports bound to a Chassis row, as main or as additional chassis."""
        return self._by_chassis.get(uuid, {}).values()
