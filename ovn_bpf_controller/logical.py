# SPDX-License-Identifier: Apache-2.0
"""Southbound rows -> FlowCompiler: which flow applies to which local datapath.

The agent calls run() with what changed.  Here OVN's names become tunnel keys
(ports, groups, datapaths), datapath groups are resolved, and the compiler hears
of every name that changed; what to do about it is the compiler's business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from ovn_bpf_controller.balancers import Balancers
from ovn_bpf_controller.binding.desired import Delta, Desired, LocalDatapath
from ovn_bpf_controller.compile.compiler import FlowCompiler, LogicalFlow, RuleChanges, Traits
from ovn_bpf_controller.compile.lists import SWITCH
from ovn_bpf_controller.compile.load_balancer import Central
from ovn_bpf_controller.lang.releases import groups_alone
from ovn_bpf_controller.neighbours import Neighbours
from ovn_bpf_controller.ovsdb import tables
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes

PIPELINES = {"ingress": 0, "egress": 1}
_CONSOLIDATED_SINCE = 26
# Key of Logical_Flow.tags: the one port that the flow's packets come from or go to.
_ABOUT = "in_out_port"


class LogicalFlows:
    """Keeps a FlowCompiler in step with the Southbound; is its compile.Env."""

    def __init__(self, cache: SouthboundCache) -> None:
        self._cache = cache
        self.compiler = FlowCompiler(self)
        self._desired = Desired()
        self._keys: dict[str, int] = {}  # local datapath uuid -> tunnel key
        self._by_key: dict[int, LocalDatapath] = {}
        self._sets: dict[str, tables.AddressSet] = {}
        self._groups: dict[str, tables.PortGroup] = {}
        # Flow uuids by datapath or group uuid, and by logical port.
        self._flows_of: defaultdict[str, set[str]] = defaultdict(set)
        self._flows_about: defaultdict[str, set[str]] = defaultdict(set)
        # Local datapaths of groups, uuid -> tunnel key, while flows are followed.
        self._group_keys: dict[str, dict[str, int]] = {}
        self._templates: Mapping[str, str] = {}
        self._traits: dict[int, Traits] = {}
        self._switches: dict[str, int] = {}  # local ones: uuid -> tunnel key
        self._central = Central()
        self._collectors: frozenset[int] = frozenset()
        self._neighbours = Neighbours(self.compiler)
        self._balancers = Balancers(cache, self.compiler)

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
        local = self._by_key.get(dp)
        return (local.name_key(name) or None) if local else None

    def is_resident(self, lport: str) -> bool:
        """See compile.flow.Env."""
        return lport in self._desired.resident

    def template_vars(self) -> Mapping[str, str]:
        """See compile.flow.Env."""
        return self._templates

    def traits(self, dp: int) -> Traits:
        """See compile.flow.Env."""
        return self._traits.get(dp, SWITCH)

    def groups_alone(self) -> bool:
        """See compile.env.Env."""
        return self._central.groups_alone

    def has_collector(self, number: int) -> bool:
        """See compile.flow.Env."""
        return number in self._collectors

    def has_tunnel(self, dp: int, lport: str) -> bool:
        """See compile.flow.Env."""
        local = self._by_key.get(dp)
        port = local.ports.get(local.port_keys.get(lport, 0)) if local else None
        return port is not None and port.chassis in self._desired.tunnels

    # --- changes -------------------------------------------------------------

    def run(self, changes: Changes, desired: Desired, delta: Delta) -> RuleChanges:
        """Follow what changed; returns how the rules change."""
        self.follow(changes, desired, delta)
        return self.compiler.flush()

    def follow_collectors(self, numbers: frozenset[int]) -> None:
        """These ids has Flow_Sample_Collector_Set of the local database."""
        for number in numbers ^ self._collectors:
            self.compiler.collector_changed(number)
        self._collectors = numbers

    def follow(self, changes: Changes, desired: Desired, delta: Delta) -> None:
        """Tell the compiler what changed.

        delta: from the Desired of the last call to this one.
        """
        before, self._desired = self._desired, desired
        if desired.datapaths is not before.datapaths:
            self._by_key = {local.key: local for local in desired.datapaths.values()}
        self._follow_sets(changes)
        self._follow_templates(changes)
        self._follow_traits(changes, delta)
        if delta.ports or delta.tunnels:
            self.compiler.tunnels_changed()
        self._follow_flows(changes, desired.datapaths is not before.datapaths, delta.moved)
        self._balancers.run(changes, self._switches, self._templates, self._central)
        self._neighbours.run(changes, desired.datapaths, delta)
        for datapath, name in delta.names:
            if datapath:
                self.compiler.port_changed(name, self._keys.get(datapath))
            else:
                self.compiler.residency_changed(name)
        for where, security in delta.port_security.items():
            if security is None:
                self.compiler.remove_port_security(*where)
            else:
                self.compiler.set_port_security(*where, security.lport, security.strings)

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

    def _follow_templates(self, changes: Changes) -> None:
        if tables.ChassisTemplateVar.TABLE not in changes:
            return
        old, self._templates = self._templates, {}
        for row in self._cache.table(tables.ChassisTemplateVar).values():
            if row.chassis == self._desired.chassis:
                self._templates = row.variables
        for name in old.keys() | self._templates.keys():
            if old.get(name) != self._templates.get(name):
                self.compiler.template_changed(name)

    def _follow_traits(self, changes: Changes, delta: Delta) -> None:
        concerned = (tables.DatapathBinding.TABLE, tables.SBGlobal.TABLE)
        if not delta.datapaths and not any(table in changes for table in concerned):
            return
        central, self._central = self._central, central_of(self._cache)
        release = central.groups_alone != self._central.groups_alone
        datapaths = delta.datapaths or tables.DatapathBinding.TABLE in changes
        if central == self._central and not datapaths:
            return
        rows = self._cache.table(tables.DatapathBinding)
        old, self._traits, self._switches = self._traits, {}, {}
        for uuid, local in self._desired.datapaths.items():
            row = rows.get(uuid)
            if row is None:
                continue
            traits = datapath_traits(row, self._central.consolidated)
            self._traits[local.key] = traits
            if not traits.router:
                self._switches[uuid] = local.key
            if release or old.get(local.key) != traits:
                self.compiler.traits_changed(local.key)

    # --- flows ----------------------------------------------------------------

    def _follow_flows(self, changes: Changes, datapaths: bool, ports_moved: Iterable[str]) -> None:
        """datapaths: the local ones may be others than before."""
        due: dict[str, None] = {}
        for uuid, (old, new) in changes.of(tables.LogicalFlow).items():
            if old is not None:
                self._unindex(old)
            if new is not None:
                self._index(new)
            due[uuid] = None
        moved: set[str] = set()
        if datapaths:
            before, now = self._keys, {u: d.key for u, d in self._desired.datapaths.items()}
            moved = {u for u in now.keys() | before.keys() if now.get(u) != before.get(u)}
            self._keys = now
        groups = set(changes.of(tables.LogicalDpGroup))
        if moved:
            for uuid, group in self._cache.table(tables.LogicalDpGroup).items():
                if not moved.isdisjoint(group.datapaths):
                    groups.add(uuid)
        for uuid in moved | groups:
            due.update(dict.fromkeys(self._flows_of.get(uuid, ())))
        for lport in ports_moved:
            due.update(dict.fromkeys(self._flows_about.get(lport, ())))
        self._group_keys.clear()
        rows = self._cache.table(tables.LogicalFlow)
        for uuid in due:
            row = rows.get(uuid)
            if row is None:
                self.compiler.remove_flow(uuid)
            else:
                self._set_flow(row)

    def _index(self, row: tables.LogicalFlow) -> None:
        if row.logical_datapath is not None:
            self._flows_of[row.logical_datapath].add(row.uuid)
        if row.logical_dp_group is not None:
            self._flows_of[row.logical_dp_group].add(row.uuid)
        if _ABOUT in row.tags:
            self._flows_about[row.tags[_ABOUT]].add(row.uuid)

    def _unindex(self, row: tables.LogicalFlow) -> None:
        for where in (row.logical_datapath, row.logical_dp_group):
            if where is not None:
                _discard(self._flows_of, where, row.uuid)
        if _ABOUT in row.tags:
            _discard(self._flows_about, row.tags[_ABOUT], row.uuid)

    def _set_flow(self, row: tables.LogicalFlow) -> None:
        keys = self._where(row)
        pipeline = PIPELINES.get(row.pipeline)
        if not keys or pipeline is None:
            self.compiler.remove_flow(row.uuid)
            return
        flow = LogicalFlow(
            row.uuid,
            pipeline,
            row.table_id,
            row.priority,
            row.match,
            row.actions,
            _stage(row.pipeline, row.table_id),
            row.tags.get("acl_ct_translation") == "true",
            row.controller_meter or "",
        )
        self.compiler.set_flow(row.uuid, flow, keys)

    def _where(self, row: tables.LogicalFlow) -> list[int]:
        """Tunnel keys of the local datapaths on which packets can match the flow."""
        lport = row.tags.get(_ABOUT)
        if row.logical_dp_group is None:  # nearly all are of one datapath
            datapath = row.logical_datapath or ""
            key = self._keys.get(datapath)
            here = key is not None and (lport is None or not self._is_elsewhere(lport, datapath))
            return [key] if key is not None and here else []
        local = self._group_keys.get(row.logical_dp_group)
        if local is None:
            group = self._cache.table(tables.LogicalDpGroup).get(row.logical_dp_group)
            found = {uuid: self._keys.get(uuid) for uuid in (group.datapaths if group else ())}
            local = {uuid: key for uuid, key in found.items() if key is not None}
            self._group_keys[row.logical_dp_group] = local
        if row.logical_datapath in self._keys:
            local = local | {row.logical_datapath: self._keys[row.logical_datapath]}
        if lport is not None:
            local = {dp: key for dp, key in local.items() if not self._is_elsewhere(lport, dp)}
        return sorted({*local.values()})

    def _is_elsewhere(self, lport: str, datapath: str) -> bool:
        """Whether no packet can match a flow about the port on this datapath here.

        ovn-controller leaves such flows out, too (lflow.c, consider_logical_flow__).
        """
        local = self._desired.datapaths.get(datapath)
        return local is not None and lport in local.elsewhere


def _discard(index: dict[str, set[str]], name: str, uuid: str) -> None:
    found = index[name]
    found.discard(uuid)
    if not found:
        del index[name]


@lru_cache(maxsize=256)
def _stage(pipeline: str, table: int) -> str:
    """For operators; few, and each for thousands of flows."""
    return f"{pipeline} table {table}"


def central_of(cache: SouthboundCache) -> Central:
    """How the central's northd works.

    25.03 to 25.09 say that load balancers' registers are consolidated (SB_Global
    options:register_consolidation), older ones have not heard of it, later ones know
    nothing else.
    """
    for row in cache.table(tables.SBGlobal).values():
        version = row.options.get("northd_internal_version", "")
        year = version.partition(".")[0]
        said = row.options.get("register_consolidation") == "true"
        later = year.isdigit() and int(year) >= _CONSOLIDATED_SINCE
        marked = row.options.get("lb_hairpin_use_ct_mark") != "false"
        return Central(said or later, marked, groups_alone(version))
    return Central()


def datapath_traits(row: tables.DatapathBinding, consolidated: bool) -> Traits:
    """What kind of datapath a row is of; consolidated: see central_of()."""
    router = row.type == "logical-router" or (
        not row.type and "logical-switch" not in row.external_ids
    )
    return Traits(router, "snat-ct-zone" in row.external_ids, consolidated)
