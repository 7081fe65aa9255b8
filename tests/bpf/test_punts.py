# SPDX-License-Identifier: Apache-2.0
"""Packets go to the slow path with all they are, come back, and go on from there."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.datapath.punts import Punt, Punts
from ovn_bpf_controller.model import Rule
from ovn_bpf_controller.plaindata import replace
from tests.support.dataplane import Bed, bed, mac, reason

DEADLINE = 30.0
VERB, ARG, MARK = 7, 1234, 0xABCDEF
ASK = Insn(lib.OP_PUNT, dst=lib.OW_REG0, src=lib.OVN_PUNT_ANSWERS, aux=3, a=VERB, b=ARG, c=MARK)


@pytest.fixture
def plane() -> Iterator[Bed]:
    """A switch with two ports; table 0 asks about UDP, and forwards by the answer."""
    with bed() as made:
        made.plug(1, 2)
        made.flow(0, 1, 50, "reg0[3] == 1", 'outport = "vm2"; output;')
        made.flow(0, 1, 40, "reg0[3] == 0", "drop;")
        made.flow(1, 0, 0, "1", "output;")
        made.flows_live()
        asking = program(
            [
                Insn(lib.OP_SET, dst=lib.OW_REG0 + 1, a=0xFFFFFFFF, b=0x5EED),
                ASK,
                Insn(lib.OP_NEXT, src=0, aux=1),
                Insn(lib.OP_END),
            ]
        )
        made.apply(rules_added=[Rule(1, 0, 10, (), (), asking, 0)])
        yield made


@pytest.fixture
def punts(plane: Bed) -> Iterator[Punts]:
    opened = Punts(plane.plane.maps, plane.plane.programs["ovn_resume"], plane.plane.directory)
    yield opened
    opened.close()


def frame(length: int = 20) -> bytes:
    packet: Packet = Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2")
    return bytes(packet / UDP(sport=1, dport=2) / Raw(b"q" * length))


def next_punt(punts: Punts) -> Punt:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        for punt in punts.read(1):
            return punt
        select.select(punts.fds, [], [], 0.1)
    raise AssertionError("nothing came")


def test_the_whole_context_goes_along(plane: Bed, punts: Punts) -> None:
    plane.send("p1", frame())
    punt = next_punt(punts)
    assert (punt.verb, punt.arg, punt.mark) == (VERB, ARG, MARK)
    assert punt.frame == frame()
    assert punt.words[lib.OW_REG0 + 1] == 0x5EED
    assert (punt.words[lib.OW_DP], punt.words[lib.OW_INPORT]) == (1, 1)
    assert (punt.egress, punt.table, punt.ifindex) == (0, 0, plane.devices["v1"])


def test_the_answer_decides_and_the_frame_may_be_another(plane: Bed, punts: Punts) -> None:
    plane.send("p1", frame())
    punt = next_punt(punts)
    other = frame(300)
    punts.send(replace(punt, answer=1, frame=other))
    assert plane.received(1) == [("p2", other)]
    punts.send(replace(punt, answer=0))
    assert plane.dropped(reason("DROP_ACTION")) == 1


def test_a_frame_of_the_slow_path_s_own_begins_in_a_table(plane: Bed, punts: Punts) -> None:
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT], words[lib.OW_REG0] = 1, 1, 8
    own = bytes(Ether(src=mac(1), dst=mac(2)) / ARP(op=2, psrc="10.0.0.9"))
    punts.send(Punt(own, tuple(words), table=1))
    assert plane.received(1) == [("p2", own)]


@pytest.mark.parametrize("only_here", [0, lib.MLF_LOCAL_ONLY])
def test_a_frame_of_the_slow_path_s_own_goes_to_a_port(
    plane: Bed, punts: Punts, only_here: int
) -> None:
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_OUTPORT], words[lib.OW_FLAGS] = 1, 2, only_here
    own = bytes(Ether(src=mac(1), dst=mac(2)) / ARP(op=2, psrc="10.0.0.9"))
    punts.send(Punt(own, tuple(words), table=lib.OVN_PUNT_OUTPUT))
    assert plane.received(1) == [("p2", own)]


@pytest.mark.parametrize("only_here", [0, lib.MLF_LOCAL_ONLY])
def test_a_frame_of_the_slow_path_s_own_goes_to_a_group(
    plane: Bed, punts: Punts, only_here: int
) -> None:
    """But not back to the port that it is said to come from."""
    plane.group(0x8000, "all", (1, 2))
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_OUTPORT], words[lib.OW_FLAGS] = 1, 0x8000, only_here
    own = bytes(Ether(src=mac(1), dst=mac(2)) / ARP(op=2, psrc="10.0.0.9"))
    punts.send(Punt(own, tuple(words), table=lib.OVN_PUNT_OUTPUT))
    assert sorted(plane.received(2)) == [("p1", own), ("p2", own)]
    words[lib.OW_INPORT] = 1
    punts.send(Punt(own, tuple(words), table=lib.OVN_PUNT_OUTPUT))
    assert plane.received(1) == [("p2", own)]
    assert plane.dropped(reason("DROP_LOOPBACK")) == 1


def test_nothing_goes_on_behind_a_flow_that_has_changed(plane: Bed, punts: Punts) -> None:
    plane.send("p1", frame())
    punt = next_punt(punts)
    for stale in (replace(punt, mark=1), replace(punt, arg=1), replace(punt, pc=punt.pc + 1)):
        punts.send(replace(stale, answer=1))
    assert plane.dropped(reason("DROP_PUNT_STALE")) == 3
    assert plane.nothing_received()


def test_without_a_reader_packets_are_dropped_and_counted(plane: Bed, punts: Punts) -> None:
    punts.close()
    plane.send("p1", frame())
    assert plane.dropped(reason("DROP_NO_SLOWPATH")) == 1


def test_a_port_that_floods_takes_nothing_from_others(plane: Bed, punts: Punts) -> None:
    start = time.monotonic()
    seen: list[int] = []
    for number in range(20 * lib.OVN_PUNT_BURST):
        plane.send("p1", frame())
        if not number % lib.OVN_PUNT_BURST:  # on a slow machine more pass than a ring holds
            seen += [punt.ifindex for punt in punts.read(20 * lib.OVN_PUNT_BURST)]
    plane.send("p2", frame())
    most = lib.OVN_PUNT_BURST + lib.OVN_PUNT_RATE * (time.monotonic() - start) + 1
    assert plane.dropped(reason("DROP_PUNT_RATE")) >= 20 * lib.OVN_PUNT_BURST - most
    seen += [punt.ifindex for punt in punts.read(20 * lib.OVN_PUNT_BURST)]
    assert seen.count(plane.devices["v2"]) == 1
    assert seen.count(plane.devices["v1"]) <= most


def test_bfd_has_a_rate_of_its_own(plane: Bed, punts: Punts) -> None:
    plane.flow(0, 2, 50, "1", "handle_bfd_msg();")
    plane.flow(0, 0, 90, "udp.dst == 3784", "next(pipeline=ingress, table=2);")
    plane.flows_live()
    peer = Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2")
    control = bytes(peer / UDP(sport=49152, dport=3784) / Raw(bytes(24)))
    for _ in range(lib.OVN_PUNT_BURST + 50):
        plane.send("p1", frame())
    list(punts.read(2 * lib.OVN_PUNT_BURST))
    for _ in range(lib.OVN_BFD_BURST // 2):
        plane.send("p1", control)
    verbs = [punt.verb for punt in punts.read(lib.OVN_BFD_BURST)]
    assert verbs == [lib.OVN_PUNT_BFD] * (lib.OVN_BFD_BURST // 2)


def test_what_is_too_long_is_dropped(plane: Bed, punts: Punts) -> None:
    plane.send("p1", frame(lib.OVN_MAX_PUNT))
    assert plane.dropped(reason("DROP_PUNT_BIG")) == 1
