# SPDX-License-Identifier: Apache-2.0
"""Our chassis and a real one learn the same, and write it once between them."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support.beds import OURS
from tests.support.learnt import announced, bindings, moved

KINDS = OURS
TOPOLOGY = """
chassis: {ours: $agent, real: {agent: ovn-controller}}
ports:
  vm1: {switch: sw0, chassis: ours}
  vm2: {switch: sw1, chassis: ours}
  vm3: {switch: sw1, chassis: real}
$routed
"""
FIRST, SECOND = "0e:aa:00:00:00:01", "0e:aa:00:00:00:02"
STATION = "0e:aa:00:00:00:07"


@pytest.fixture(scope="module", autouse=True)
def unknown(bed: Sandbox) -> None:
    """vm2 and vm3 may use addresses that Northbound does not know."""
    for vm in ("vm2", "vm3"):
        bed.nbctl("lsp-set-addresses", vm, bed.ports[vm].mac, "unknown")
    bed.nbctl("--wait=hv", "sync")


@pytest.mark.parametrize("address", ["10.1.0.51", "fd01::51"])
def test_a_neighbour_moves_between_them(bed: Sandbox, address: str) -> None:
    for vm, mac in (("vm2", FIRST), ("vm3", SECOND), ("vm2", FIRST), ("vm3", SECOND)):
        announced(bed, vm, address, mac)
    assert len(bindings(bed, address)) == 1


def test_a_station_moves_between_them(bed: Sandbox) -> None:
    for vm in ("vm2", "vm3", "vm2", "vm3"):
        moved(bed, vm, "10.1.0.70", STATION)
