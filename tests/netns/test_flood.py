# SPDX-License-Identifier: Apache-2.0
"""A port that floods the slow path starves nobody, and costs no memory.

How long answers take meanwhile is measured by tests/bench/slowpath.py.
"""

from __future__ import annotations

import json
import time

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, punting, traffic

KINDS = ("alone",)
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""
OPTIONS = {"server_id": "10.0.0.1", "server_mac": "c0:ff:ee:00:00:01", "lease_time": "3600"}
SECONDS = 2.0
MEGABYTE = 1 << 20
MOST = 32 * MEGABYTE  # that both may grow by


@pytest.fixture(scope="module", autouse=True)
def served(bed: Sandbox) -> None:
    punting.serve(bed, "vm1", "vm2")
    dhcp.serve(bed, OPTIONS, "vm2")
    assert punting.latencies(bed, "vm2", 0.2)[-1] < float("inf")


def dropped(bed: Sandbox) -> dict[str, int]:
    """Packets that the program dropped, by reason."""
    found: dict[str, int] = {}
    for row in json.loads(bed.chassis["hv1"].appctl("ovn-bpf/drops", "--json")):
        found[row["reason"]] = found.get(row["reason"], 0) + row["packets"]
    return found


def status(bed: Sandbox) -> dict[str, str]:
    rows = json.loads(bed.chassis["hv1"].appctl("ovn-bpf/status", "--json"))
    return {row["what"].rstrip(":"): str(row["value"]) for row in rows}


def test_others_are_answered_and_memory_stays(bed: Sandbox) -> None:
    pids = punting.processes(bed, "hv1")
    before = {name: punting.resident(pid) for name, pid in pids.items()}
    old = dropped(bed).get("more for the slow path than a source may have", 0)
    begun = time.monotonic()
    port, other = bed.ports["vm2"], bed.ports["vm1"]
    questions = {
        "dhcpv6": punting.dhcpv6(port.mac),
        "dhcpv4": punting.dhcpv4(port.mac),
        "arp": punting.arp(port.mac, port.ip4, other.ip4),
    }
    with punting.flooding(bed, "vm1", len(questions) * SECONDS) as flood:
        for name, question in questions.items():
            found = punting.asked(port.netns, "eth0", question, SECONDS, least=5)
            assert float("inf") not in found and len(found) >= 5, name
    lasted = time.monotonic() - begun
    drops = dropped(bed)
    over = drops["more for the slow path than a source may have"] - old
    most = lib.OVN_PUNT_BURST + lib.OVN_PUNT_RATE * lasted + 1
    assert flood.sent > 3 * most
    assert over >= flood.sent - most
    assert "the slow path is behind" not in drops
    assert punting.processes(bed, "hv1") == pids  # nobody was started again
    for name, pid in pids.items():
        assert punting.resident(pid) - before[name] < MOST, name


def test_status_tells_how_it_went(bed: Sandbox) -> None:
    """Each second the slow path says how it goes."""
    process.wait_until(lambda: "slow path, dhcpv6" in status(bed), 60.0, "a word of the slow path")
    told = status(bed)
    assert "packets, 0 waiting, " in told["slow path, dhcpv6"]
    assert " ms at worst from arrival to answer, " in told["slow path, dhcpv6"]
    assert " ms late by the clock, " in told["slow path, dhcpv6"]
    assert told["slow path, dhcpv6"].endswith("ms of work")
    assert told["slow path lessons"].endswith(" ms at worst")
    assert told["slow path queue"].endswith("% full at worst, 0 lost")
    assert int(told["slow path"].removesuffix(" packets")) > 0


def test_what_is_refused_is_told_by_its_reason(bed: Sandbox) -> None:
    traffic.send_raw(bed, "vm2", punting.garbled(bed.ports["vm2"].mac))

    def refused() -> bool:
        return any(name.startswith("slow path refused, ") for name in status(bed))

    process.wait_until(refused, 60.0, "a refusal")
