# SPDX-License-Identifier: Apache-2.0
"""The newest northd deletes what is idle; what packets use here it leaves alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import newest, traffic

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TOPOLOGY = """
chassis: {hv1: {agent: ovn-bpf-controller}}
switches: {sw0: {ipv4: 10.0.0.0/24}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24]}
ports:
  vm1: {switch: sw0, chassis: hv1}
"""
ROUTER = "0e:00:00:00:00:01"
BUSY, IDLE = "0e:aa:00:00:00:01", "0e:aa:00:00:00:02"
THRESHOLD = 10  # seconds


@pytest.fixture(scope="module")
def newest_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with newest.sandbox(TOPOLOGY, tmp_path_factory.mktemp("programs")) as made:
        made.nbctl("lsp-set-addresses", "vm1", made.ports["vm1"].mac, "unknown")
        made.nbctl("set", "logical_router", "r0", f"options:mac_binding_age_threshold={THRESHOLD}")
        key = f"other_config:fdb_age_threshold={THRESHOLD}"
        made.nbctl("--wait=hv", "set", "logical_switch", "sw0", key)
        yield made


def introduce(bed: Sandbox, mac: str) -> None:
    arp = ARP(op=2, hwsrc=mac, psrc=f"10.0.0.5{mac[-1]}", hwdst=ROUTER, pdst="10.0.0.1")
    traffic.send_raw(bed, "vm1", bytes(Ether(src=mac, dst=ROUTER) / arp))


def rows(bed: Sandbox, mac: str) -> int:
    """Of MAC_Binding and FDB together."""
    found = [
        bed.sbctl("--bare", "--columns=_uuid", "find", table, f'mac="{mac}"').split()
        for table in ("mac_binding", "fdb")
    ]
    return sum(map(len, found))


def test_idle_rows_go_and_busy_ones_stay(newest_bed: Sandbox) -> None:
    bed = newest_bed
    for mac in (BUSY, IDLE):
        introduce(bed, mac)
        process.wait_until(lambda mac=mac: rows(bed, mac) == 2, 20, "the rows")  # type: ignore[misc]
    packet = bytes(Ether(src=BUSY, dst=ROUTER) / IP(src="10.0.0.51", dst="10.0.0.1") / UDP())
    end = time.monotonic() + 2 * THRESHOLD

    def outlived() -> bool:
        traffic.send_raw(bed, "vm1", packet)
        assert rows(bed, BUSY) == 2
        return rows(bed, IDLE) == 0 and time.monotonic() > end

    process.wait_until(outlived, 8 * THRESHOLD, "the idle rows to go")
    process.wait_until(lambda: rows(bed, BUSY) == 0, 8 * THRESHOLD, "the busy ones to go, too")
    introduce(bed, IDLE)
    process.wait_until(lambda: rows(bed, IDLE) == 2, 20, "the rows again")
