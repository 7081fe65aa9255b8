# SPDX-License-Identifier: Apache-2.0
"""An agent that dies anywhere in a change leaves one state or the other.

A child process applies the change over the same maps and exits, without any
clean-up, after so many lines of datapath's own code; the next agent adopts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

from ovn_bpf_controller import datapath
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.model import McGroup, Port, PortKind, Tunnel
from tests.bpf.test_tables import SIZES, at_once, emptied, rule
from tests.support.kernel import private_kernel
from tests.support.reader import Reader
from tests.support.table_changes import DROP, OUTPUT, goes_on
from tests.support.wanted import Wanted

KILLED = 9
SOURCES = str(Path(datapath.__file__).parent)
STEP = 23  # lines between two deaths; prime, so that they fall everywhere


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with private_kernel():
        plane = Plane("test", sizes=SIZES)
        yield plane
        plane.close()


def die_after(lines: int) -> Any:
    """A trace function that ends the process."""
    left = lines

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(SOURCES):
            return None
        if event == "line":
            left -= 1
            if not left:
                os._exit(KILLED)
        return trace

    return trace


def apply_and_die(plane: Plane, lines: int, changes: list[TableChange]) -> NoReturn:
    tables = Tables(plane.maps)
    tables.adopt()
    sys.settrace(die_after(lines))
    for change in changes:
        tables.apply(change)
    tables.settle()
    sys.settrace(None)
    os._exit(0)


def tunnel(number: int, **other: Any) -> Tunnel:
    name, remote = f"hv{number}", f"192.0.2.{number}"
    return Tunnel(name=name, local="192.0.2.100", remote=remote, ifindex=1, mtu=1500, **other)


FIRST = TableChange(
    rules_added=[
        rule(1, 1),
        rule(1, 2),
        rule(1, 3),
        rule(1, 0, table=0, mask=(), values=(), insns=goes_on(0)),
        rule(1, 0, table=1, mask=(), values=(), insns=goes_on(1)),
        rule(2, 1),
    ],
    ports_added=[
        Port(1, 1, PortKind.VIF, ifindex=7),
        Port(1, 2, PortKind.REMOTE, chassis="hv1"),
        Port(2, 1, PortKind.VIF, ifindex=8),
    ],
    groups_added=[McGroup(1, 32768, (1,), ("hv1", "hv2"))],
    tunnels_added=[tunnel(1), tunnel(2)],
)
SECOND = TableChange(
    rules_removed=[rule(1, 1), rule(2, 1)],
    rules_added=[
        rule(1, 2, insns=OUTPUT),
        rule(1, 4, prio=10_000),
        rule(3, 1),
        rule(1, 0, table=1, mask=(), values=(), insns=DROP),
    ],
    ports_removed=[Port(2, 1, PortKind.NONE)],
    ports_added=[
        Port(1, 1, PortKind.VIF, ifindex=9),
        Port(1, 2, PortKind.VIF, ifindex=10),
        Port(1, 3, PortKind.REMOTE, chassis="hv3"),
    ],
    groups_added=[McGroup(1, 32768, (1, 2), ("hv3",)), McGroup(1, 32769, (1,), ())],
    tunnels_removed=[tunnel(1)],
    tunnels_added=[tunnel(2, dst_port=6082), tunnel(3)],
)
THIRD = TableChange(rules_added=[rule(1, 1), rule(2, 1)], rules_removed=[rule(1, 3)])


@pytest.mark.timeout(300)
def test_a_death_anywhere_leaves_one_state_or_the_other(plane: Plane) -> None:
    states = [Wanted().after(FIRST)]
    for change in (SECOND, THIRD):
        states.append(states[-1].after(change))
    reader = Reader(plane.maps)
    seen = []
    for lines in range(1, 100_000, STEP):
        tables = emptied(plane)
        start = tables.apply(FIRST)
        tables.close()
        pid = os.fork()
        if not pid:
            apply_and_die(plane, lines, [SECOND, THIRD])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        generation = reader.generation()
        seen.append(generation - start)
        wanted = states[generation - start]
        assert at_once(reader.view(generation)) == at_once(wanted.view())
        tables = Tables(plane.maps)
        tables.adopt()
        assert at_once(reader.view(generation)) == at_once(wanted.view())
        assert reader.view(tables.apply(states[2].whole(), complete=True)) == states[2].view()
        tables.settle()
        assert reader.view(tables.generation) == states[2].view()
        tables.close()
        if status != KILLED:
            assert status == 0
            break
    assert set(seen) == {0, 1, 2}, "the child must have died in every phase"
