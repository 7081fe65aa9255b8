# SPDX-License-Identifier: Apache-2.0
"""The state that a series of table changes amounts to, kept apart from the tables.

Tests of tables apply each change here, too, and compare what packets find.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.chassis import address
from ovn_bpf_controller.model import Datapath, McGroup, Port, Rule, SetMember, Tunnel
from tests.support.reader import View
from tests.support.table_changes import goes_on


@dataclass
class Wanted:
    """What a series of changes amounts to."""

    rules: dict[tuple[object, ...], Rule] = field(default_factory=dict)
    ports: dict[tuple[int, int], Port] = field(default_factory=dict)
    groups: dict[tuple[int, int], McGroup] = field(default_factory=dict)
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    datapaths: dict[int, Datapath] = field(default_factory=dict)
    members: dict[tuple[object, ...], SetMember] = field(default_factory=dict)

    def after(self, change: TableChange) -> Wanted:
        new = Wanted(*(dict(getattr(self, f.name)) for f in fields(self)))
        for rule in change.rules_removed:
            new.rules.pop(key(rule), None)
        new.rules.update((key(rule), rule) for rule in change.rules_added)
        for port in change.ports_removed:
            new.ports.pop((port.dp, port.port), None)
        new.ports.update(((port.dp, port.port), port) for port in change.ports_added)
        for group in change.groups_removed:
            new.groups.pop((group.dp, group.key), None)
        new.groups.update(((group.dp, group.key), group) for group in change.groups_added)
        for tunnel in change.tunnels_removed:
            new.tunnels.pop(tunnel.name, None)
        new.tunnels.update((tunnel.name, tunnel) for tunnel in change.tunnels_added)
        for datapath in change.datapaths_removed:
            new.datapaths.pop(datapath.dp, None)
        new.datapaths.update((datapath.dp, datapath) for datapath in change.datapaths_added)
        for member in change.sets_removed:
            new.members.pop((member.kind, member.plen, member.value), None)
        new.members.update(((m.kind, m.plen, m.value), m) for m in change.sets_added)
        return new

    def whole(self) -> TableChange:
        """All of it, as a restarted agent would say it."""
        return TableChange(
            rules_added=list(self.rules.values()),
            ports_added=list(self.ports.values()),
            groups_added=list(self.groups.values()),
            tunnels_added=list(self.tunnels.values()),
            datapaths_added=list(self.datapaths.values()),
            sets_added=list(self.members.values()),
        )

    def remote(self, name: str) -> bytes:
        return address(self.tunnels[name].remote) if name in self.tunnels else b""

    def nameless(self) -> bool:
        named = {p.chassis for p in self.ports.values() if p.chassis}
        named.update(name for g in self.groups.values() for name in g.remote)
        return not named <= self.tunnels.keys()

    def view(self) -> View:
        return View(
            rules={
                (r.dp, r.table, r.mask, r.values): (r.prio, r.insns) for r in self.rules.values()
            },
            skips=self.skips(),
            ports={
                where: (
                    p.kind,
                    p.localport * lib.OVN_PORT_F_LOCALPORT + p.nested * lib.OVN_PORT_F_NESTED,
                    p.ifindex,
                    p.vlan,
                    p.ct_zone,
                    p.peer_dp,
                    p.peer_port,
                )
                for where, p in self.ports.items()
            },
            ports_chassis={where: self.remote(p.chassis) for where, p in self.ports.items()},
            groups={
                where: (g.local, tuple(self.remote(name) for name in g.remote))
                for where, g in self.groups.items()
            },
            devices={(p.ifindex, p.vlan): w for w, p in self.ports.items() if p.ifindex},
            sets={(m.kind, m.plen, m.value): m.sets for m in self.members.values()},
        )

    def skips(self) -> dict[tuple[int, int], int]:
        """Tables whose only rule is `next;`, and the next one that is not such."""
        tables: dict[tuple[int, int], list[Rule]] = {}
        for rule in self.rules.values():
            tables.setdefault((rule.dp, rule.table), []).append(rule)
        trivial = {
            where
            for where, rules in tables.items()
            if [(r.mask, r.insns) for r in rules] == [((), goes_on(where[1]))]
        }
        skips = {}
        for dp, table in trivial:
            after = table + 1
            while (dp, after) in trivial:
                after += 1
            skips[dp, table] = after
        return skips


def key(rule: Rule) -> tuple[object, ...]:
    return rule.dp, rule.table, rule.mask, rule.values
