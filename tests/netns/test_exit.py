# SPDX-License-Identifier: Apache-2.0
"""What each way of ending the agent leaves in the databases and on the wire."""

from __future__ import annotations

import signal

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
"""


def rows(bed: Sandbox, table: str) -> int:
    """How many rows hv1 has in a Southbound table."""
    column = {"chassis": "name", "chassis_private": "name", "encap": "chassis_name"}[table]
    return len(bed.sbctl("--bare", "--columns=_uuid", "find", table, f"{column}=hv1").split())


def tunnels(chassis: Chassis) -> list[str]:
    """Tunnel ports of br-int."""
    return [name for name in chassis.vsctl("list-ports", "br-int").split() if "ovn-" in name]


@pytest.fixture(autouse=True)
def running(bed: Sandbox) -> None:
    """Every test begins with a running agent and traffic."""
    hv1 = bed.chassis["hv1"]
    if hv1.agent_pid() is None:
        hv1.start_agent()
        bed.sbctl("--timeout=60", "wait-until", "chassis", "hv1")
    for lsp in ("vm1", "vm2"):
        bed.wait_up(lsp)
    bed.sync()
    # A restarted ovn-controller may acknowledge before its flows are in.
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm1", "vm3"))


@pytest.mark.parametrize("how", ["SIGTERM", "restart"])
def test_a_stop_for_restart_keeps_everything(bed: Sandbox, how: str) -> None:
    hv1 = bed.chassis["hv1"]
    before = tunnels(hv1)
    if how == "SIGTERM":
        # OVS's daemons die of the signal after their cleanup; systemd takes either.
        assert hv1.stop_agent(signal.SIGTERM) in (0, -signal.SIGTERM)
    else:
        assert hv1.exit_agent("--restart") == 0
    assert rows(bed, "chassis") == rows(bed, "chassis_private") == rows(bed, "encap") == 1
    assert bed.sbctl("get", "port_binding", "vm1", "up") == "true"
    assert tunnels(hv1) == before
    assert bed.unanswered([("vm1", "vm2"), ("vm1", "vm3"), ("vm3", "vm1")], (4,)) == []
    assert not list(hv1.root.glob("ovn-controller.*.ctl"))
    assert not (hv1.root / "ovn-controller.pid").exists()


def test_exit_takes_the_chassis_out(bed: Sandbox, kind: str) -> None:
    hv1 = bed.chassis["hv1"]
    assert hv1.exit_agent() == 0
    assert rows(bed, "chassis") == rows(bed, "chassis_private") == rows(bed, "encap") == 0
    binding = ("--bare", "--columns=chassis", "find", "port_binding", "logical_port=vm1")
    assert bed.sbctl(*binding) == ""
    bed.nbctl("--timeout=60", "wait-until", "logical_switch_port", "vm1", "up=false")
    assert tunnels(hv1) == []
    ports = hv1.vsctl("list-ports", "br-int").split()
    assert {"vm1", "vm2"} <= set(ports)
    if kind != "oracle":  # the real one leaves its flows
        assert hv1.run("find", "/sys/fs/bpf", "-name", "ovn*") == ""
        assert traffic.silent(bed, "vm1", "vm2")
    # The others do not wait for a chassis that has left.
    bed.sync()
