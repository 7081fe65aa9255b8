# SPDX-License-Identifier: Apache-2.0
"""Who may have a port: requested-chassis, iface-id-ver, and two that both want it."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""

GUEST = "0a:00:00:00:01:00 10.0.0.100"


@pytest.fixture
def guest(bed: Sandbox) -> Iterator[str]:
    """A logical port that nobody has yet."""
    bed.nbctl("--wait=hv", "lsp-add", "sw0", "guest", "--", "lsp-set-addresses", "guest", GUEST)
    yield "guest"
    if "guest" in bed.ports:
        bed.unplug("guest", wait=False)
    for chassis in bed.chassis.values():
        chassis.vsctl("--if-exists", "del-port", "br-int", "rival")
        chassis.run("sh", "-c", "ip link del rival 2>/dev/null || true")
    bed.nbctl("--wait=hv", "lsp-del", "guest")


def plug_rival(bed: Sandbox, chassis: str, lsp: str) -> None:
    """Another device with the iface-id of `lsp` on `chassis`."""
    hv = bed.chassis[chassis]
    hv.run("ip", "link", "add", "rival", "up", "type", "veth", "peer", "name", "rival-peer")
    hv.vsctl("add-port", "br-int", "rival", "--", "set", "interface", "rival",
             f"external_ids:iface-id={lsp}")  # fmt: skip


def chassis_of(bed: Sandbox, lsp: str) -> str:
    uuid = bed.sbctl("--bare", "--columns=chassis", "find", "port_binding", f"logical_port={lsp}")
    return bed.sbctl("get", "chassis", uuid, "name").strip('"') if uuid else ""


def test_requested_chassis_keeps_the_others_away(bed: Sandbox, guest: str) -> None:
    bed.nbctl("--wait=hv", "lsp-set-options", guest, "requested-chassis=hv2")
    bed.plug(guest, "hv1", wait=False)
    bed.sync()
    assert chassis_of(bed, guest) == ""
    bed.nbctl("--wait=hv", "lsp-set-options", guest, "requested-chassis=hv1")
    bed.wait_up(guest)
    assert chassis_of(bed, guest) == "hv1"


def test_requested_chassis_takes_a_port_away_from_its_holder(bed: Sandbox, guest: str) -> None:
    bed.plug(guest, "hv1")
    plug_rival(bed, "hv2", guest)
    bed.nbctl("--wait=hv", "lsp-set-options", guest, "requested-chassis=hv2")
    hv2 = bed.sbctl("get", "chassis", "hv2", "_uuid")
    bed.sbctl("wait-until", "port_binding", guest, f"chassis={hv2}")
    bed.wait_up(guest)
    bed.sync()
    assert chassis_of(bed, guest) == "hv2"


def test_a_stale_iface_id_ver_does_not_claim(bed: Sandbox, guest: str) -> None:
    bed.nbctl("--wait=hv", "lsp-set-options", guest, "iface-id-ver=second")
    port = bed.plug(guest, "hv1", wait=False)
    hv1 = bed.chassis["hv1"]
    hv1.vsctl("set", "interface", port.vif, "external_ids:iface-id-ver=first")
    bed.sync()
    assert chassis_of(bed, guest) == ""
    hv1.vsctl("set", "interface", port.vif, "external_ids:iface-id-ver=second")
    bed.wait_up(guest)
    assert chassis_of(bed, guest) == "hv1"


def test_two_claims_of_one_port_do_not_chase_each_other(bed: Sandbox, guest: str) -> None:
    """Each takes it at most once in half a second, and everything else goes on."""
    command = ["ovsdb-client", "monitor", bed.layout.sb, "--format=json", "OVN_Southbound",
               "Port_Binding", "logical_port,chassis"]  # fmt: skip
    bed.plug(guest, "hv1")
    monitor = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    begun = time.monotonic()
    try:
        plug_rival(bed, "hv2", guest)
        while time.monotonic() < begun + 4.0:
            assert traffic.answers(bed, "vm1", "vm2")
    finally:
        monitor.terminate()
        output, _ = monitor.communicate()
    seconds = time.monotonic() - begun
    empty = ["set", []]
    holders = [row[3] for row in monitored(output) if row[2] == guest and row[3] != empty]
    assert holders, "the monitor saw nothing"
    changes = sum(1 for before, after in itertools.pairwise(holders) if before != after)
    assert changes <= 2 * (2 * seconds + 1)


def monitored(output: str) -> list[list[Any]]:
    """Rows as they became, from the output of `ovsdb-client monitor --format=json`."""
    tables = [json.loads(line) for line in output.splitlines()]
    return [
        row for table in tables for row in table["data"] if row[1] in ("new", "insert", "initial")
    ]
