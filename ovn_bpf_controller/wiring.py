# SPDX-License-Identifier: Apache-2.0
"""What binding and compile say, in the words of datapath; pure.

The agent calls these three: everything() when the tables' contents are unknown
or behind, difference() otherwise, attachments() for the devices.
"""

from __future__ import annotations

from collections.abc import Iterable

from ovn_bpf_controller.binding.desired import Delta, Desired
from ovn_bpf_controller.compile.store import RuleChanges
from ovn_bpf_controller.datapath.attach import Attachment
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.model import Datapath, McGroup, Port, PortKind, Rule, SetMember, Tunnel


def everything(
    desired: Desired, rules: Iterable[Rule], members: Iterable[SetMember]
) -> TableChange:
    """All there is to be; for Tables.apply(…, complete=True)."""
    return TableChange(
        rules_added=list(rules),
        sets_added=list(members),
        ports_added=list(desired.ports().values()),
        groups_added=list(desired.groups().values()),
        tunnels_added=list(desired.tunnels.values()),
        datapaths_added=[local.datapath for local in desired.datapaths.values()],
    )


def difference(delta: Delta, rules: RuleChanges) -> TableChange:
    """What changed.  Of what goes, the tables look at the key only."""
    return TableChange(
        rules_removed=rules.removed,
        rules_added=rules.added,
        sets_removed=rules.sets_removed,
        sets_added=rules.sets_added,
        ports_removed=[
            Port(dp, key, PortKind.NONE) for (dp, key), port in delta.ports.items() if port is None
        ],
        ports_added=[port for port in delta.ports.values() if port is not None],
        groups_removed=[
            McGroup(dp, key, (), ()) for (dp, key), group in delta.groups.items() if group is None
        ],
        groups_added=[group for group in delta.groups.values() if group is not None],
        tunnels_removed=[
            Tunnel(name, "", "", 0, 0) for name, tunnel in delta.tunnels.items() if tunnel is None
        ],
        tunnels_added=[tunnel for tunnel in delta.tunnels.values() if tunnel is not None],
        datapaths_removed=[Datapath(dp) for dp, row in delta.datapaths.items() if row is None],
        datapaths_added=[row for row in delta.datapaths.values() if row is not None],
    )


def attachments(desired: Desired, tunnel_device: int) -> set[Attachment]:
    """Which device runs which program.  tunnel_device: ifindex, 0 when inline."""
    vifs = {
        (port.ifindex, "ovn_vif")
        for port in desired.ports().values()
        if port.kind is PortKind.VIF and port.ifindex
    }
    if tunnel_device:
        return vifs | {(tunnel_device, "ovn_tunnel")}
    return vifs | {(t.ifindex, "ovn_underlay") for t in desired.tunnels.values() if t.ifindex}
