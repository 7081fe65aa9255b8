# SPDX-License-Identifier: Apache-2.0
"""What the data plane learns of neighbours and stations is in the Southbound, once."""

from __future__ import annotations

import time

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.learnt import ARRIVES, announced, announcement, bindings, moved, told

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw1, chassis: hv1}
  vm3: {switch: sw1, chassis: hv2}
$routed
"""
FIRST, SECOND = "0e:aa:00:00:00:01", "0e:aa:00:00:00:02"
# Not of the other tests, whose last move may still be on its way to the Southbound.
STATION = "0e:aa:00:00:00:03"


@pytest.fixture(scope="module", autouse=True)
def unknown(bed: Sandbox) -> None:
    """vm2 and vm3 may use addresses that Northbound does not know."""
    for vm in ("vm2", "vm3"):
        bed.nbctl("lsp-set-addresses", vm, bed.ports[vm].mac, "unknown")
    bed.nbctl("--wait=hv", "sync")


@pytest.mark.parametrize("address", ["10.1.0.5", "fd01::5"])
@pytest.mark.parametrize("group", [True, False])
def test_a_neighbour_has_one_row_that_follows_it(bed: Sandbox, address: str, group: bool) -> None:
    address += "1" if group else "2"
    announced(bed, "vm2", address, FIRST, group)
    announced(bed, "vm3", address, SECOND, group)
    announced(bed, "vm2", address, FIRST, group)


def test_rows_say_when_they_were_written_and_are_left_alone(bed: Sandbox) -> None:
    announced(bed, "vm2", "10.1.0.60", FIRST)
    columns = ("--bare", "--columns=timestamp", "find", "mac_binding", "ip=10.1.0.60")
    written = int(bed.sbctl(*columns))
    # In milliseconds; by a clock that somebody may put right meanwhile.
    assert abs(written / 1000 - time.time()) < 3600
    traffic.send_raw(bed, "vm2", announcement("10.1.0.60", FIRST))
    announced(bed, "vm3", "10.1.0.61", FIRST)
    assert int(bed.sbctl(*columns)) == written


def test_a_station_has_one_row_that_follows_it(bed: Sandbox) -> None:
    for vm in ("vm2", "vm3"):
        moved(bed, vm, "10.1.0.70", STATION)


def test_what_is_aged_is_learnt_again(bed: Sandbox) -> None:
    """As northd ages: it deletes the row."""
    announced(bed, "vm2", "10.1.0.80", FIRST)
    uuid = bed.sbctl("--bare", "--columns=_uuid", "find", "mac_binding", "ip=10.1.0.80")
    bed.sbctl("destroy", "mac_binding", uuid.strip())

    def again() -> bool:
        traffic.send_raw(bed, "vm2", announcement("10.1.0.80", FIRST))
        return bindings(bed, "10.1.0.80") == [("r0-sw1", FIRST)]

    process.wait_until(again, ARRIVES, "the row to come back")


def test_more_than_a_source_may_have_told_at_once_is_not_lost(bed: Sandbox) -> None:
    missing = {f"10.1.{n // 200 + 1}.{n % 200 + 1}" for n in range(400)}

    def announce() -> None:
        for address in sorted(missing):
            traffic.send_raw(bed, "vm2", announcement(address, FIRST, group=False))

    def all_there() -> bool:
        found = bed.sbctl("--bare", "--columns=ip", "list", "mac_binding").split()
        missing.difference_update(found)
        return not missing

    told(bed, "vm2", announce, all_there, "all rows")
