# SPDX-License-Identifier: Apache-2.0
"""Load_Balancer rows -> FlowCompiler: the side tables of hairpinned connections.

logical.LogicalFlows owns it and calls run() with what changed.  A row is expanded
once for all its local switches (routers never ask these tables), and again only
when it, a group of its datapaths, a variable that it uses or the central's ways
change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from ovn_bpf_controller.compile import load_balancer
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.compile.load_balancer import Central
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.ovsdb import tables
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("lb")
_rate = RateLimit(5, 5)


class Balancers:
    """Keeps the compiler's load balancers in step with the Southbound."""

    def __init__(self, cache: SouthboundCache, compiler: FlowCompiler) -> None:
        self._cache = cache
        self._compiler = compiler
        self._at: dict[str, set[str]] = {}  # datapath or group uuid -> row uuids
        self._variables: Mapping[str, str] = {}
        self._central = Central()
        self._switches: Mapping[str, int] = {}
        self._local: dict[str, set[int]] = {}  # by group, in one run()

    def run(
        self,
        changes: Changes,
        switches: Mapping[str, int],
        variables: Mapping[str, str],
        central: Central,
    ) -> None:
        """switches: local ones, uuid -> tunnel key; a new object when they change.

        variables: of templates, for this chassis.
        """
        due: dict[str, None] = {}
        for uuid, (old, new) in changes.of(tables.LoadBalancer).items():
            for where in _places(old):
                self._at[where].discard(uuid)
                if not self._at[where]:
                    del self._at[where]
            for where in _places(new):
                self._at.setdefault(where, set()).add(uuid)
            due[uuid] = None
        moved: dict[str, None] = {}
        for where in self._moved(changes, switches):
            moved.update(dict.fromkeys(self._at.get(where, ())))
        rows = self._cache.table(tables.LoadBalancer)
        if central != self._central:
            due.update(dict.fromkeys(rows))
        elif variables != self._variables:
            due.update(dict.fromkeys(u for u, row in rows.items() if _has_variables(row)))
        self._switches, self._variables, self._central = switches, variables, central
        self._local.clear()
        for uuid in due:
            self._follow(uuid, rows.get(uuid))
        for uuid in moved.keys() - due.keys():
            row = rows[uuid]
            # Expanding a thousand of them takes 0.2 s: what they say is as it was.
            if not self._compiler.move_side_rules(_owner(uuid), self._keys(row)):
                self._follow(uuid, row)

    def _moved(self, changes: Changes, switches: Mapping[str, int]) -> set[str]:
        """Datapaths and groups whose local switches are others than before."""
        old, moved = self._switches, set()
        if switches is not old:
            moved = {u for u in switches.keys() | old.keys() if switches.get(u) != old.get(u)}
        groups = set(changes.of(tables.LogicalDpGroup))
        if moved:
            for uuid, group in self._cache.table(tables.LogicalDpGroup).items():
                if not moved.isdisjoint(group.datapaths):
                    groups.add(uuid)
        return moved | groups

    def _follow(self, uuid: str, row: tables.LoadBalancer | None) -> None:
        keys = self._keys(row) if row is not None else []
        if row is None or not keys:
            self._compiler.set_side_rules(_owner(uuid), (), ())
            return
        plain = load_balancer.LoadBalancer(row.vips, row.protocol or "tcp", row.options)
        rules, errors = load_balancer.expand(plain, self._variables, self._central)
        for error in errors:
            _warn(row, error)
        self._compiler.set_side_rules(_owner(uuid), rules, keys)

    def _keys(self, row: tables.LoadBalancer) -> list[int]:
        found = {self._switches[uuid] for uuid in row.datapaths if uuid in self._switches}
        for where in _places(row):
            found |= self._members(where)
        return sorted(found)

    def _members(self, where: str) -> AbstractSet[int]:
        """Local switches of a group.  Thousands of rows ask for each of a few groups."""
        found = self._local.get(where)
        if found is None:
            group = self._cache.table(tables.LogicalDpGroup).get(where)
            members = group.datapaths if group is not None else ()
            found = {self._switches[uuid] for uuid in members if uuid in self._switches}
            self._local[where] = found
        return found


def _owner(uuid: str) -> str:
    return f"load balancer {uuid}"


def _warn(row: tables.LoadBalancer, error: LangError) -> None:
    _rate.warn(_log, f"load balancer {row.name or row.uuid}: {error}")


def _places(row: tables.LoadBalancer | None) -> Iterator[str]:
    """Datapaths and groups that a row names."""
    if row is not None:
        yield from row.datapaths
        yield from filter(None, (row.datapath_group, row.ls_datapath_group))


def _has_variables(row: tables.LoadBalancer) -> bool:
    return any("^" in key or "^" in value for key, value in row.vips.items())
