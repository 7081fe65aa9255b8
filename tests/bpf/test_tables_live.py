# SPDX-License-Identifier: Apache-2.0
"""Packets run while the tables change under them, and none is lost.

Two ports talk by PROG_TEST_RUN in a thread of its own (the GIL is given up); what
they need is replaced, and what surrounds them comes and goes, so that slots and
hash elements are reused as fast as can be.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.model import Port, PortKind, Rule
from tests.support.dataplane import Bed, bed, mac

TC_ACT_REDIRECT = 7
CHANGES = 60
REPEAT = 2000
FRAME = bytes.fromhex(mac(2).replace(":", "") + mac(1).replace(":", "")) + b"\x08\x01" + bytes(60)


@contextmanager
def traffic(bed: Bed) -> Iterator[list[int]]:
    """Frames from port 1 to port 2 for as long as the block lasts; yields verdicts."""
    stop = threading.Event()
    verdicts: list[int] = []
    device = bed.devices["v1"]

    def run() -> None:
        while not stop.is_set():
            verdicts.append(bed.run("ovn_vif", FRAME, device, REPEAT).verdict)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield verdicts
    finally:
        stop.set()
        thread.join()


def changes_of(bed: Bed) -> Iterator[TableChange]:
    """Without end: the same meaning each time, in other slots."""
    rules = list(bed.tables.rules())
    turn = 0
    while True:
        turn += 1
        others = [Port(1, n, PortKind.NONE, ct_zone=turn) for n in range(10, 40)]
        both = [
            Port(1, n, PortKind.VIF, ifindex=bed.devices[f"v{n}"], ct_zone=turn) for n in (1, 2)
        ]
        extra = [moved(rule, n, turn) for rule in rules if rule.mask for n in range(20)]
        yield TableChange(
            rules_added=[shifted(rule, turn) for rule in rules] + (extra if turn % 2 else []),
            rules_removed=[] if turn % 2 else extra,
            ports_added=both + (others if turn % 3 else []),
            ports_removed=[] if turn % 3 else others,
        )


def shifted(rule: Rule, turn: int) -> Rule:
    """The same rule with another priority: still in the order of its stage."""
    return Rule(
        rule.dp, rule.table, rule.prio * 10 + turn % 2, rule.mask, rule.values, rule.insns, 0
    )


def moved(rule: Rule, number: int, turn: int) -> Rule:
    """A rule that no frame of ours matches."""
    last_word, last_mask = rule.mask[-1]
    mask = (*rule.mask[:-1], (last_word, last_mask | 0xFF))
    values = (*rule.values[:-1], (number + 100) & 0xFF)
    return Rule(rule.dp, rule.table, 1 + turn % 7, mask, values, rule.insns, 0)


@pytest.fixture(name="bed")
def _crowded() -> Iterator[Bed]:
    """Maps as small as can be: keys share buckets, as they do when big maps are full."""
    with bed({"ovn_port_idx": 64, "ovn_idx_s": 64, "ovn_idx_m": 64}) as made:
        yield made


@pytest.mark.parametrize("settle", [False, True])
def test_no_packet_is_lost_while_everything_changes(bed: Bed, settle: bool) -> None:
    bed.plug(1, 2)
    bed.switch(1, 2)
    changes = changes_of(bed)
    with traffic(bed) as verdicts:
        for _ in range(CHANGES):
            bed.tables.apply(next(changes))
            if settle:
                bed.tables.settle()
    assert set(verdicts) == {TC_ACT_REDIRECT}
    assert bed.drops() == {}
