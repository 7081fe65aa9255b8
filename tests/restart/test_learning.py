# SPDX-License-Identifier: Apache-2.0
"""What was learnt while the agent was dead, and what was aged meanwhile."""

from __future__ import annotations

import signal
import time

import pytest
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24]}
ports:
  vm1: {switch: sw0, chassis: hv1}
"""
MAC, OTHER = "0e:aa:00:00:00:01", "0e:aa:00:00:00:02"


@pytest.fixture(scope="module", autouse=True)
def unknown(bed: Sandbox) -> None:
    """vm1 may use addresses that Northbound does not know."""
    bed.nbctl("--wait=hv", "lsp-set-addresses", "vm1", bed.ports["vm1"].mac, "unknown")


def announce(bed: Sandbox, address: str, mac: str) -> None:
    arp = ARP(op=2, hwsrc=mac, psrc=address, pdst=address)
    traffic.send_raw(bed, "vm1", bytes(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / arp))


def rows(bed: Sandbox, table: str, column: str) -> set[str]:
    """Of the table; but the guest itself speaks now and then."""
    found = set(bed.sbctl("--bare", f"--columns={column}", "list", table).split())
    return found - {bed.ports["vm1"].mac}


def test_a_restart_tells_what_was_learnt_and_revives_nothing(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    announce(bed, "10.0.0.51", MAC)
    announce(bed, "10.0.0.52", MAC)
    process.wait_until(
        lambda: (
            rows(bed, "mac_binding", "ip") == {"10.0.0.51", "10.0.0.52"}
            and rows(bed, "fdb", "mac") == {MAC}
        ),
        60,
        "what was learnt",
    )
    # How far the Southbound knows is kept in whole seconds.
    told = int(time.clock_gettime(time.CLOCK_BOOTTIME)) + 1
    process.wait_until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) >= told, 60, "a second")
    bed.sync()
    hv1.stop_agent(signal.SIGKILL)
    for table, condition in (("mac_binding", "ip=10.0.0.52"), ("fdb", f'mac="{MAC}"')):
        uuid = bed.sbctl("--bare", "--columns=_uuid", "find", table, condition).strip()
        bed.sbctl("destroy", table, uuid)
    announce(bed, "10.0.0.51", OTHER)
    announce(bed, "10.0.0.53", OTHER)
    hv1.start_agent()
    process.wait_until(
        lambda: (
            rows(bed, "mac_binding", "ip") == {"10.0.0.51", "10.0.0.53"}
            and rows(bed, "mac_binding", "mac") == {OTHER}
            and rows(bed, "fdb", "mac") == {OTHER}
        ),
        60,
        "what was learnt meanwhile, and no more",
    )
    bed.sync()  # until then the rule of the row that has gone counts
    announce(bed, "10.0.0.52", MAC)
    process.wait_until(lambda: "10.0.0.52" in rows(bed, "mac_binding", "ip"), 60, "10.0.0.52")
    process.wait_until(lambda: MAC in rows(bed, "fdb", "mac"), 60, MAC)


def test_what_is_learnt_without_a_southbound_is_told_later(bed: Sandbox) -> None:
    bed.stop_database("sb")
    announce(bed, "10.0.0.61", MAC)
    bed.start_database("sb")
    process.wait_until(lambda: "10.0.0.61" in rows(bed, "mac_binding", "ip"), 60, "10.0.0.61")
