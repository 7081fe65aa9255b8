# SPDX-License-Identifier: Apache-2.0
"""Southbound rows -> FlowCompiler: which flow applies to which local datapath.

The agent calls run() with what changed.  Here OVN's names become tunnel keys
(ports, groups, datapaths), datapath groups are resolved, and the compiler hears
of every name that changed; what to do about it is the compiler's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ovn_bpf_controller.compile.compiler import FlowCompiler, LogicalFlow, RuleChanges
from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.ovsdb import tables
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes

PIPELINES = {"ingress": 0, "egress": 1}


class LogicalFlows:
    """Keeps a FlowCompiler in step with the Southbound.

    local: Datapath_Binding uuid -> tunnel key, of the datapaths that are local.
    """

    def __init__(self, cache: SouthboundCache) -> None:
        self._cache = cache
        self.compiler = FlowCompiler(self)
        self._local: dict[str, int] = {}
        self._resident: frozenset[str] = frozenset()
        self._secured: dict[tuple[int, int], tuple[str, tuple[str, ...]]] = {}
        self._keys: dict[tuple[str, str], int] = {}  # (datapath uuid, name) -> key
        self._dp_uuid: dict[int, str] = {}
        self._sets: dict[str, tables.AddressSet] = {}
        self._groups: dict[str, tables.PortGroup] = {}
        self._by_dp: dict[str, set[str]] = {}  # datapath or group uuid -> flow uuids
        self._templates: Mapping[str, str] = {}

    # --- compile.Env ---------------------------------------------------------

    def address_set(self, name: str) -> Sequence[str] | None:
        """See compile.flow.Env."""
        row = self._sets.get(name)
        return row.addresses if row else None

    def port_group(self, dp: int, name: str) -> Sequence[str] | None:
        """See compile.flow.Env; the Southbound's name is <dp>_<name>."""
        row = self._groups.get(f"{dp}_{name}")
        return row.ports if row else None

    def port_key(self, dp: int, name: str) -> int | None:
        """See compile.flow.Env."""
        return self._keys.get((self._dp_uuid.get(dp, ""), name))

    def is_resident(self, lport: str) -> bool:
        """See compile.flow.Env."""
        return lport in self._resident

    def template_vars(self) -> Mapping[str, str]:
        """See compile.flow.Env."""
        return self._templates

    # --- changes -------------------------------------------------------------

    def run(
        self,
        changes: Changes,
        local: Mapping[str, int],
        resident: frozenset[str],
        ports: Iterable[Port],
        chassis: str,
    ) -> RuleChanges:
        """Follow what changed; returns how the rules change.

        resident: lports for which is_chassis_resident() holds.  ports: all ports
        of the local datapaths.  chassis: our chassis' name.
        """
        self._follow_names(changes)
        self._follow_sets(changes)
        self._follow_templates(changes, chassis)
        for lport in resident ^ self._resident:
            self.compiler.port_changed(lport)
        self._resident = resident
        self._follow_flows(changes, local)
        self._follow_port_security(changes, ports)
        return self.compiler.flush()

    def _follow_names(self, changes: Changes) -> None:
        """Names go before they come: one may move from a row to another."""
        ports = changes.of(tables.PortBinding).values()
        groups = changes.of(tables.MulticastGroup).values()
        old = {(p.datapath, p.logical_port): p.tunnel_key for p, _ in ports if p}
        old |= {(g.datapath, g.name): g.tunnel_key for g, _ in groups if g}
        new = {(p.datapath, p.logical_port): p.tunnel_key for _, p in ports if p}
        new |= {(g.datapath, g.name): g.tunnel_key for _, g in groups if g}
        for where in old.keys() | new.keys():
            key = new.get(where)
            if key == self._keys.get(where):
                continue
            if key is None:
                del self._keys[where]
            else:
                self._keys[where] = key
            self.compiler.port_changed(where[1], self._local.get(where[0]))

    def _follow_sets(self, changes: Changes) -> None:
        for old_set, new_set in changes.of(tables.AddressSet).values():
            if old_set is not None:
                self._sets.pop(old_set.name, None)
                self.compiler.address_set_changed(old_set.name)
            if new_set is not None:
                self._sets[new_set.name] = new_set
                self.compiler.address_set_changed(new_set.name)
        for old_group, new_group in changes.of(tables.PortGroup).values():
            if old_group is not None:
                self._groups.pop(old_group.name, None)
                self._group_changed(old_group.name)
            if new_group is not None:
                self._groups[new_group.name] = new_group
                self._group_changed(new_group.name)

    def _group_changed(self, southbound_name: str) -> None:
        dp, sep, name = southbound_name.partition("_")
        if sep and dp.isdigit():
            self.compiler.port_group_changed(name, int(dp))

    def _follow_templates(self, changes: Changes, chassis: str) -> None:
        if tables.ChassisTemplateVar.TABLE not in changes:
            return
        old, self._templates = self._templates, {}
        for row in self._cache.table(tables.ChassisTemplateVar).values():
            if row.chassis == chassis:
                self._templates = row.variables
        for name in old.keys() | self._templates.keys():
            if old.get(name) != self._templates.get(name):
                self.compiler.template_changed(name)

    # --- flows ----------------------------------------------------------------

    def _follow_flows(self, changes: Changes, local: Mapping[str, int]) -> None:
        due: dict[str, None] = {}
        for uuid, (old, new) in changes.of(tables.LogicalFlow).items():
            if old is not None:
                self._index(old, False)
            if new is not None:
                self._index(new, True)
            due[uuid] = None
        moved = {u for u in local.keys() | self._local.keys() if local.get(u) != self._local.get(u)}
        self._local = dict(local)
        self._dp_uuid = {key: uuid for uuid, key in local.items()}
        groups = set(changes.of(tables.LogicalDpGroup))
        if moved:
            for uuid, group in self._cache.table(tables.LogicalDpGroup).items():
                if not moved.isdisjoint(group.datapaths):
                    groups.add(uuid)
        for uuid in moved | groups:
            due.update(dict.fromkeys(self._by_dp.get(uuid, ())))
        rows = self._cache.table(tables.LogicalFlow)
        for uuid in due:
            row = rows.get(uuid)
            if row is None:
                self.compiler.remove_flow(uuid)
            else:
                self._set_flow(row)

    def _index(self, row: tables.LogicalFlow, present: bool) -> None:
        for where in (row.logical_datapath, row.logical_dp_group):
            if where is None:
                continue
            flows = self._by_dp.setdefault(where, set())
            if present:
                flows.add(row.uuid)
            else:
                flows.discard(row.uuid)
                if not flows:
                    del self._by_dp[where]

    def _set_flow(self, row: tables.LogicalFlow) -> None:
        datapaths = [row.logical_datapath] if row.logical_datapath else []
        if row.logical_dp_group:
            group = self._cache.table(tables.LogicalDpGroup).get(row.logical_dp_group)
            datapaths += group.datapaths if group else ()
        keys = sorted({self._local[dp] for dp in datapaths if dp in self._local})
        pipeline = PIPELINES.get(row.pipeline)
        if not keys or pipeline is None:
            self.compiler.remove_flow(row.uuid)
            return
        stage = f"{row.pipeline} table {row.table_id}"
        flow = LogicalFlow(
            row.uuid, pipeline, row.table_id, row.priority, row.match, row.actions, stage
        )
        self.compiler.set_flow(row.uuid, flow, keys)

    def _follow_port_security(self, changes: Changes, ports: Iterable[Port]) -> None:
        """Ports with a device here are secured, all others are not our business."""
        wanted: dict[tuple[int, int], tuple[str, tuple[str, ...]]] = {}
        rows = {
            (row.datapath, row.tunnel_key): row
            for row in self._cache.table(tables.PortBinding).values()
        }
        for port in ports:
            row = rows.get((self._dp_uuid.get(port.dp, ""), port.port))
            if port.kind is PortKind.VIF and row is not None:
                wanted[port.dp, port.port] = (row.logical_port, row.port_security)
        for where in self._secured.keys() - wanted.keys():
            self.compiler.remove_port_security(*where)
        for where, (lport, strings) in wanted.items():
            if self._secured.get(where) != (lport, strings):
                self.compiler.set_port_security(*where, lport, strings)
        self._secured = wanted
