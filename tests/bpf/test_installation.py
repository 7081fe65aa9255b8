# SPDX-License-Identifier: Apache-2.0
"""While the tables are read anew, in steps, changes wait; then they go on from what is there."""

from __future__ import annotations

from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.installation import Installation
from tests.support.dataplane import Bed, bed

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
