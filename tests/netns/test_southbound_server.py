# SPDX-License-Identifier: Apache-2.0
"""A Southbound server that goes, comes back, or takes no writes."""

from __future__ import annotations

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.underlay import Addresses
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""


def test_traffic_outlives_the_server_and_changes_resume_with_it(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    bed.stop_database("sb")
    process.wait_until(
        lambda: hv1.appctl("connection-status") == "not connected", 60, "disconnection"
    )
    assert bed.unanswered([("vm1", "vm2"), ("vm2", "vm1")], (4,)) == []
    bed.start_database("sb")
    process.wait_until(lambda: hv1.appctl("connection-status") == "connected", 60, "reconnection")
    bed.nbctl("--timeout=60", "--wait=hv", "acl-add", "sw0", "to-lport", "1000", "udp.dst == 7",
              "drop")  # fmt: skip
    assert traffic.obeyed(bed, lambda: traffic.blocked(bed, "vm1", "vm2", 7))
    assert traffic.delivers(bed, "vm1", "vm2", 8)
    bed.nbctl("--wait=hv", "acl-del", "sw0")


def test_what_changed_while_the_server_was_away_is_caught_up_with(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    bed.stop_database("sb")
    port = bed.ports["vm1"]
    hv1.vsctl("del-port", "br-int", port.vif)
    bed.start_database("sb")
    bed.sbctl("--timeout=60", "wait-until", "port_binding", "vm1", "chassis=[]")
    hv1.vsctl("add-port", "br-int", port.vif, "--", "set", "interface", port.vif,
              "external_ids:iface-id=vm1")  # fmt: skip
    bed.wait_up("vm1")
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm2")


def test_a_read_only_server_delays_writes_and_costs_no_traffic(bed: Sandbox) -> None:
    """A port plugged meanwhile comes up once the server takes writes again."""
    hv1 = bed.chassis["hv1"]
    control = str(bed.layout.root / "ovnsb_db.ctl")
    server = Addresses.server(bed.topology.underlay)
    writable = hv1.vsctl("get", "Open_vSwitch", ".", "external_ids:ovn-remote").strip('"')
    bed.sbctl("set-connection", "read-only", f"ptcp:16642:{server}")
    bed.run_in_underlay("ovs-appctl", "-t", control, "ovsdb-server/add-remote",
                        "db:OVN_Southbound,SB_Global,connections")  # fmt: skip
    bed.nbctl("lsp-add", "sw0", "late", "--",
              "lsp-set-addresses", "late", "0a:00:00:00:01:00 10.0.0.100")  # fmt: skip
    hv1.vsctl("set", "Open_vSwitch", ".", f'external_ids:ovn-remote="tcp:{server}:16642"')
    process.wait_until(
        lambda: "16642" in bed.run_in_underlay("ss", "-Htn", "state", "established"),
        60,
        "connection to the read-only server",
    )
    bed.plug("late", "hv1", wait=False)
    assert bed.unanswered([("vm1", "vm2"), ("vm2", "vm1")], (4,)) == []
    assert hv1.agent_pid() is not None
    hv1.vsctl("set", "Open_vSwitch", ".", f'external_ids:ovn-remote="{writable}"')
    bed.wait_up("late")
    bed.sync()
    assert traffic.answers(bed, "vm2", "late")
    bed.unplug("late")
    bed.nbctl("--wait=hv", "lsp-del", "late")
