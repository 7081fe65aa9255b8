# SPDX-License-Identifier: Apache-2.0
"""A flow that its stage has no room for is in force nowhere, not by halves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.loader import SIZES
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.datapath.unplaced import DROP
from ovn_bpf_controller.model import Datapath, Port, PortKind, Rule
from tests.support.dataplane import Bed, bed, mac

STAGE = 3
OTHERS = lib.OVN_MAX_TUPLES - 2  # masks of other flows: two more find room
FLOW = 7
ACTION = program([Insn(lib.OP_DROP, a=lib.DROP_ACTION)])


@pytest.fixture(scope="module")
def full() -> Iterator[Bed]:
    """A stage with room for two masks.  What it does not know is output to vm2."""
    with bed(SIZES) as made:
        made.plug(1, 2)
        made.flow(0, 0, 0, "1", f'outport = "vm2"; next(pipeline=ingress,table={STAGE});')
        made.flow(0, STAGE, 0, "1", "output;")
        made.flow(1, 0, 0, "1", "output;")
        made.flows_live()
        made.apply(rules_added=[_other(n) for n in range(1, OTHERS + 1)])
        yield made


def _rule(word: int, bits: int, value: int, flow: int, prio: int = 100) -> Rule:
    return Rule(1, STAGE, prio, ((word, bits),), (value,), ACTION, flow)


def _other(bits: int) -> Rule:
    """Of no packet here: reg9 is 0."""
    return _rule(lib.OW_REG0 + 9, bits, bits & -bits, 1000 + bits, prio=10)


def _ports(port: int, bits: int = 0xFFFF) -> Rule:
    """FLOW's rule for packets to a UDP port."""
    return _rule(lib.OW_L4_PORTS, bits, port, FLOW)


def _live(tables: Tables) -> dict[object, bytes]:
    return {(r.mask, r.values): r.insns for r in tables.rules() if r.flow == FLOW}


def _wanted(*rules: Rule, insns: bytes | None = None) -> dict[object, bytes]:
    return {(r.mask, r.values): insns or r.insns for r in rules}


def test_half_a_flow_drops_the_packets_of_that_half(full: Bed) -> None:
    tables = full.tables
    first, second, third = _ports(80), _ports(0x100, 0xFF00), _ports(0x2, 0x00F2)

    tables.apply(TableChange(rules_added=[first, second]))
    assert _live(tables) == _wanted(first, second) and not tables.unplaced()
    assert _dropped(full, 80, lib.DROP_ACTION) == 1

    tables.apply(TableChange(rules_added=[third]))  # one more mask
    why = f"its stage has {lib.OVN_MAX_TUPLES} masks already"
    assert tables.unplaced() == {(1, FLOW): why}
    assert tables.rejected == [(third, why)]
    assert _live(tables) == _wanted(first, second, insns=DROP)
    assert _dropped(full, 80, lib.DROP_NO_ROOM) == 1
    assert _dropped(full, 2, lib.DROP_NO_ROOM) == 0, "nothing tells its packets from others"

    tables.apply(TableChange(rules_added=[_other(1)]))  # it is known, and not told again
    assert tables.unplaced() == {(1, FLOW): why} and not tables.rejected
    assert _live(tables) == _wanted(first, second, insns=DROP)

    tables.apply(TableChange(rules_removed=[_other(5)]))
    assert not tables.unplaced() and not tables.rejected
    assert _live(tables) == _wanted(first, second, third)
    assert _dropped(full, 2, lib.DROP_ACTION) == 1

    tables.apply(TableChange(rules_added=[_other(5)], rules_removed=[first, second, third]))
    assert not tables.unplaced() and not _live(tables)
    tables.settle()


def test_what_goes_while_it_has_no_room_does_not_come_back(full: Bed) -> None:
    tables = full.tables
    flow = [_ports(80), _ports(0x100, 0xFF00), _ports(0x2, 0x00F2)]
    before = tables.use()
    tables.apply(TableChange(rules_added=flow))
    assert _live(tables) == _wanted(*flow[:2], insns=DROP)
    tables.apply(TableChange(rules_removed=flow[:1]))  # two of its masks fit
    assert _live(tables) == _wanted(*flow[1:]) and not tables.unplaced()
    tables.apply(TableChange(rules_added=flow[:1]))
    assert _live(tables) == _wanted(*flow[1:], insns=DROP)
    tables.apply(TableChange(rules_removed=flow))
    assert not tables.unplaced() and not _live(tables)
    tables.settle()
    assert tables.use() == before


def test_a_complete_change_finds_out_anew(full: Bed) -> None:
    tables = full.tables
    others = list(tables.rules())
    flow = [_ports(80), _ports(0x100, 0xFF00), _ports(0x2, 0x00F2)]
    ports = [Port(1, n, PortKind.VIF, ifindex=full.devices[f"v{n}"]) for n in (1, 2)]

    def complete(rules: list[Rule]) -> TableChange:
        return TableChange(rules_added=rules, datapaths_added=[Datapath(1)], ports_added=ports)

    for _ in range(2):
        tables.apply(complete([*others, *flow]), complete=True)
        assert _live(tables) == _wanted(*flow[:2], insns=DROP)
        assert tables.unplaced().keys() == {(1, FLOW)}
    tables.apply(complete(others), complete=True)
    assert not tables.unplaced() and not _live(tables)
    tables.settle()


def _dropped(bed_: Bed, port: int, reason: int) -> int:
    """How many packets one to that port makes the count grow."""
    frame = Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=port)
    before = bed_.dropped(reason)
    bed_.run("ovn_vif", bytes(frame), bed_.devices["v1"])
    return bed_.dropped(reason) - before
