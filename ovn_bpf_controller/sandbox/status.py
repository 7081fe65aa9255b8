# SPDX-License-Identifier: Apache-2.0
"""What `ovn-bpf-sandbox status` prints: what runs, and who is plugged where.

cli.py and demo.py call text(); the columns of table() serve benches, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis


def text(sandbox: Sandbox) -> str:
    """Two tables, of chassis and of ports."""
    topology = sandbox.topology
    chassis = [("CHASSIS", "AGENT", "PID", "SOUTHBOUND", "OVS-VSWITCHD", "UNDERLAY")]
    for hv in sandbox.chassis.values():
        vswitchd = str(hv.vswitchd_pid() or "dead") if hv.spec.vswitchd else "-"
        address = hv.addresses.of(topology.underlay)
        pid = str(hv.agent_pid() or "dead")
        chassis.append((hv.name, hv.spec.agent, pid, _connection(hv), vswitchd, address))
    ports = [("PORT", "CHASSIS", "UP", "MAC", "ADDRESSES")]
    for port in sandbox.ports.values():
        up = sandbox.nbctl("--if-exists", "get", "logical_switch_port", port.name, "up")
        state = {"true": "yes", "false": "no"}.get(up, "-")
        ports.append((port.name, port.chassis or "-", state, port.mac, " ".join(port.guest.ips)))
    head = f"{sandbox.layout.root}: {topology.underlay} underlay, MTU {topology.mtu}"
    return "\n".join([head, "", *table(chassis), "", *table(ports)])


def _connection(chassis: Chassis) -> str:
    """What the agent says of its Southbound connection; "-" when it does not answer."""
    if chassis.agent_pid() is None:
        return "-"
    try:
        return chassis.appctl("connection-status")
    except SandboxError:
        return "no answer"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows` as lines with columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
