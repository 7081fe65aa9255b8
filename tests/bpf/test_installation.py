# SPDX-License-Identifier: Apache-2.0
"""What the agent does with the tables between changes: it reads them anew, in steps, while
changes wait; and forgets the counts of flows that went."""

from __future__ import annotations

import time

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.datapath.counters import Counters
from ovn_bpf_controller.installation import Installation
from tests.support.dataplane import DEADLINE, Bed, bed, mac

FLOWS = 99


def rules(installation: Installation) -> set[tuple[int, int, bytes]]:
    return {(rule.table, rule.prio, bytes(rule.insns)) for rule in installation.tables.rules()}


def go_live(installation: Installation, plane: Bed, desired: Desired) -> None:
    """Goes round until all of it is."""
    while installation.run(desired, plane.compiler.flush())[0] is None:
        pass


def test_changes_wait_for_the_reading_and_are_not_lost() -> None:
    with bed() as plane:
        plane.tables.close()
        installation = Installation(plane.plane, plane.compiler)
        try:
            check(plane, installation)
        finally:
            plane.tables = installation.tables  # closed with the bed


def check(plane: Bed, installation: Installation) -> None:
    for number in range(1, FLOWS + 1):
        plane.flow(0, number % 8, number, f"tcp.dst == {number}", "next;")
    go_live(installation, plane, Desired(seq=1))
    before = rules(installation)
    assert len(before) >= FLOWS and not installation.busy
    plane.flow(0, 1, FLOWS + 1, "tcp.dst == 1", "next;")
    steps = 0
    for _ in installation.rereading():
        steps += 1
        assert installation.busy
        assert installation.run(Desired(seq=2), None) == (None, False)
    assert steps >= FLOWS, "the loop would have had to wait"
    assert rules(installation) == before, "a change went in between"
    installation.repair()
    go_live(installation, plane, Desired(seq=2))
    assert rules(installation) - before
    assert sum(installation.tables.written.values()) < FLOWS, "all was written again"


def test_counts_of_flows_that_went_are_not_those_of_others() -> None:
    with bed() as plane:
        plane.tables.close()
        installation = Installation(plane.plane, plane.compiler)
        plane.tables = installation.tables  # closed with the bed
        go_live(installation, plane, Desired(seq=1))
        plane.plug(1)
        first = counted(plane, installation, seq=2)
        plane.compiler.remove_flow(plane.last_flow)
        go_live(installation, plane, Desired(seq=3))
        assert counted(plane, installation, seq=4) == first, "it took the number at once"
        plane.compiler.remove_flow(plane.last_flow)
        go_live(installation, plane, Desired(seq=5))
        deadline = time.monotonic() + DEADLINE
        while packets(plane, first):
            assert time.monotonic() < deadline, "nothing is forgotten between changes"
            go_live(installation, plane, Desired(seq=6))
        assert counted(plane, installation, seq=7) == first


def counted(plane: Bed, installation: Installation, seq: int) -> int:
    """The number of a new flow, after it has counted two packets."""
    plane.flow(0, 0, 1, "tcp.dst == 7", "drop;")
    go_live(installation, plane, Desired(seq=seq))
    number = plane.compiler.flow_ids.number(plane.last_flow)
    assert number and not packets(plane, number)
    frame = Ether(src=mac(1), dst=mac(2)) / IP(src="192.0.2.1", dst="192.0.2.2") / TCP(dport=7)
    for _ in range(2):
        plane.run("ovn_vif", bytes(frame), plane.devices["v1"])
    assert packets(plane, number) == 2
    return number


def packets(plane: Bed, number: int) -> int:
    return Counters("ovn_flows", plane.plane.maps["ovn_flows"]).read(number).packets
