# SPDX-License-Identifier: Apache-2.0
"""Which gateway ports (l3gateway, chassisredirect) live on this chassis.

They have no device: options or a HA_Chassis_Group name the chassis.  Called by
topology (who is here) and by the engine (what to write); pure.  Of several
candidates the highest priority has the port; whether it is alive is not asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import ovs.vlog

from ovn_bpf_controller.binding.claims import PortType, port_type
from ovn_bpf_controller.binding.if_status import CLAIM_INTERVAL_MS, PortWrite, release_write
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.local import HAGroups
from ovn_bpf_controller.ovsdb.tables import Chassis, PortBinding

vlog = ovs.vlog.Vlog("binding")

KINDS = (PortType.L3GATEWAY, PortType.CHASSISREDIRECT)


def home(row: PortBinding, me: Chassis, groups: HAGroups) -> str | None:
    """Chassis row that a gateway port belongs to; of l3gateways only ours are known."""
    if port_type(row) is PortType.CHASSISREDIRECT:
        return groups.elected(row.ha_chassis_group)
    if row.options.get("l3gateway-chassis") == me.name:
        return me.uuid
    return row.chassis if row.chassis != me.uuid else None


def here(me: Chassis, ports: PortIndex, groups: HAGroups) -> dict[str, PortBinding]:
    """Gateway ports of this chassis by name."""
    return {
        row.logical_port: row
        for kind in KINDS
        for row in ports.kind(kind.value)
        if home(row, me, groups) == me.uuid
    }


def seeds(
    me: Chassis, gateways: Iterable[PortBinding], ports: PortIndex, groups: HAGroups
) -> set[str]:
    """Datapaths that are local because of gateway ports.

    gateways: those that are here.  A standby has the datapath as well, to take over without delay.
    """
    found = {row.datapath for row in gateways}
    for row in ports.kind(PortType.CHASSISREDIRECT.value):
        if groups.contains(row.ha_chassis_group, me.uuid):
            found.add(row.datapath)
    return found


def writes(
    chassis: str,
    wanted: Mapping[str, PortBinding],
    bound: Iterable[PortBinding],
    recent: Collection[str],
) -> Iterator[PortWrite]:
    """What Port_Binding must be told.

    chassis: uuid of our row.  bound: rows that name us.  recent: ports that we
    claimed less than CLAIM_INTERVAL_MS ago; they are not snatched back yet.
    """
    for name, row in wanted.items():
        if row.chassis != chassis and name not in recent:
            yield PortWrite(row, chassis=True, up=None if row.up is None else True, guarded=False)
        elif row.chassis == chassis and row.up is False:
            yield PortWrite(row, up=True)
    for row in bound:
        if port_type(row) in KINDS and row.chassis == chassis and row.logical_port not in wanted:
            yield release_write(row, chassis)


class GatewayWrites:
    """Adds the memory that writes() needs, and tells the log what changes."""

    def __init__(self) -> None:
        self._claimed_ms: dict[str, int] = {}
        self._said: set[tuple[str, bool]] = set()

    def run(
        self,
        chassis: str,
        wanted: Mapping[str, PortBinding],
        bound: Iterable[PortBinding],
        now_ms: int,
    ) -> tuple[list[PortWrite], int | None]:
        """The wishes of this iteration, and when to look again (monotonic ms)."""
        due = {
            name: at + CLAIM_INTERVAL_MS
            for name, at in self._claimed_ms.items()
            if at + CLAIM_INTERVAL_MS > now_ms
        }
        found = list(writes(chassis, wanted, bound, due))
        said = {(wish.row.logical_port, wish.chassis) for wish in found if wish.chassis is not None}
        for name, claim in said - self._said:
            verb = "Claiming" if claim else "Releasing"
            vlog.info(f"{verb} lport {name} {'for' if claim else 'from'} this chassis.")
        self._said = said
        held = [due[name] for name, row in wanted.items() if row.chassis != chassis and name in due]
        return found, min(held, default=None)

    def sent(self, lport: str, now_ms: int) -> None:
        """The write that claims `lport` is on its way."""
        self._claimed_ms[lport] = now_ms
