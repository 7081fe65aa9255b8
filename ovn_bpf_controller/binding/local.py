# SPDX-License-Identifier: Apache-2.0
"""Which datapaths are local, and what to ask the Southbound for because of it.

A datapath is local when a port of it is plugged here or when a patch port leads
to it from a local one.  Called by the engine; pure.  Rules: ovn-controller's
local_data.c (need_add_peer_to_local) and update_sb_monitors().
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.ovsdb.conditions import Clause, Clauses
from ovn_bpf_controller.ovsdb.tables import (
    DNS,
    Chassis,
    ChassisPrivate,
    ChassisTemplateVar,
    ControllerEvent,
    ECMPNexthop,
    HAChassis,
    HAChassisGroup,
    IGMPGroup,
    IPMulticast,
    LogicalFlow,
    MACBinding,
    MulticastGroup,
    PortBinding,
    Row,
)
from ovn_bpf_controller.plaindata import dataclass, field

Conditions = dict[type[Row], Clauses]

# Tables whose rows belong to a datapath, by the column that says so.
BY_DATAPATH: tuple[tuple[type[Row], str], ...] = (
    (MACBinding, "datapath"),
    (MulticastGroup, "datapath"),
    (IPMulticast, "datapath"),
    (ECMPNexthop, "datapath"),
)


@dataclass(frozen=True, slots=True)
class HAGroups:
    """Rows that say where a chassisredirect port may live, by uuid.

    Good until one of them changes: what was found out about a group is remembered.
    """

    groups: Mapping[str, HAChassisGroup]
    members: Mapping[str, HAChassis]
    _known: dict[str | None, tuple[str, ...]] = field(default_factory=dict)

    def contains(self, group: str | None, chassis: str) -> bool:
        """Is Chassis row `chassis` a member of HA_Chassis_Group row `group`?"""
        return chassis in self._ranked(group)

    def elected(self, group: str | None) -> str | None:
        """The Chassis row with the highest priority, the smaller uuid among equals."""
        ranked = self._ranked(group)
        return ranked[0] if ranked else None

    def _ranked(self, group: str | None) -> tuple[str, ...]:
        """Chassis rows of a group, the first choice first."""
        found = self._known.get(group)
        if found is None:
            row = self.groups.get(group or "")
            rows = [self.members.get(uuid) for uuid in (row.ha_chassis if row is not None else ())]
            ranked = sorted((-m.priority, m.chassis) for m in rows if m is not None and m.chassis)
            found = self._known[group] = tuple(chassis for _, chassis in ranked)
        return found


def local_datapaths(
    seeds: Iterable[str], me: Chassis, ports: PortIndex, groups: HAGroups
) -> frozenset[str]:
    """Uuids of all Datapath_Binding rows reachable from `seeds` over patch ports."""
    found: set[str] = set()
    todo = [uuid for uuid in seeds if uuid]
    while todo:
        datapath = todo.pop()
        if datapath in found:
            continue
        found.add(datapath)
        for row in ports.peered(datapath):
            peer = ports.name(row.options.get("peer", ""))
            if peer is None or not peer.datapath or peer.datapath in found:
                continue
            if _crosses(row, me, ports, groups):
                todo.append(peer.datapath)
    return frozenset(found)


def _crosses(row: PortBinding, me: Chassis, ports: PortIndex, groups: HAGroups) -> bool:
    """Does the peer of `row` become local with it?"""
    if row.type == "l3gateway":
        return row.chassis == me.uuid
    if row.type != "patch":
        return False
    redirect = row.options.get("chassis-redirect-port")
    if not redirect:
        return True
    port = ports.name(redirect)
    if port is None:
        return False
    if port.options.get("always-redirect", "false").lower() != "true":
        return True
    return groups.contains(port.ha_chassis_group, me.uuid)


def conditions(
    me: Chassis | None,
    name: str,
    iface_ids: Iterable[str],
    datapaths: Iterable[str],
    monitor_all: bool,
) -> Conditions:
    """Monitor conditions; a table that is not named is monitored whole.

    me: our Chassis row, None before it exists.  name: our chassis name.
    iface_ids: whatever is plugged here.  datapaths: uuids of the local ones.
    """
    if monitor_all:
        return {}
    local = sorted(datapaths)
    found: Conditions = {table: _in(column, local) for table, column in BY_DATAPATH}
    found[PortBinding] = _port_clauses(me, sorted(iface_ids), local)
    found[LogicalFlow] = _in("logical_datapath", local)
    if local:
        # Groups are immutable: a flow that moves to a new one must not be lost and
        # sent again because the new one's uuid is not known yet.
        found[LogicalFlow] = [
            *_in("logical_datapath", local),
            Clause("logical_dp_group", "!=", None),
        ]
    found[DNS] = [Clause("datapaths", "includes", (uuid,)) for uuid in local]
    mine = [Clause("chassis", "==", me.uuid)] if me is not None else []
    found[ControllerEvent] = mine
    found[IGMPGroup] = mine
    # Before we are registered all rows count: our own may be among them.
    found[ChassisPrivate] = [Clause("name", "==", name)] if me is not None else True
    found[ChassisTemplateVar] = [Clause("chassis", "==", name)]
    return found


def _in(column: str, uuids: Iterable[str]) -> list[Clause]:
    return [Clause(column, "==", uuid) for uuid in uuids]


def _port_clauses(
    me: Chassis | None, iface_ids: Iterable[str], datapaths: Iterable[str]
) -> list[Clause]:
    kinds = ("patch", "chassisredirect", "external", "mirror")
    clauses = [Clause("type", "==", kind) for kind in kinds]
    if me is None:
        # Gateways may be ours as soon as we are registered; their zones must not
        # be given up before that.
        clauses += [Clause("type", "==", kind) for kind in ("l2gateway", "l3gateway")]
    else:
        clauses += [
            Clause("chassis", "==", me.uuid),
            Clause("requested_chassis", "==", me.uuid),
            Clause("options", "includes", {"l2gateway-chassis": me.name}),
            Clause("options", "includes", {"l3gateway-chassis": me.name}),
        ]
    # Containers are few, and one request for all of them beats one per interface.
    clauses.append(Clause("parent_port", "!=", None))
    clauses += [Clause("logical_port", "==", name) for name in iface_ids]
    return clauses + _in("datapath", datapaths)
