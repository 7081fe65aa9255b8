# SPDX-License-Identifier: Apache-2.0
"""What commits write: marks, labels, the original tuple; zones, limits, flushes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn
from tests.support.tracked import COMMIT, TELL, Tracked, bits, ct, tracked

KEEP = lib.OVN_CT_COMMIT | lib.OVN_CT_KEEP


@pytest.fixture(name="bed", scope="module")
def _bed() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(bed: Tracked) -> None:
    bed.forget(1, 2, 7, 8)


def udp(host: int = 1, port: int = 1000) -> Packet:
    return IP(src=f"10.0.0.{host}", dst="10.0.1.1") / UDP(sport=port, dport=53)


REPLY = IP(src="10.0.1.1", dst="10.0.0.1") / UDP(sport=53, dport=1000)


def told(word: int) -> list[Insn]:
    """A word of the packet where the answer's state is."""
    return [Insn(lib.OP_MOVE, dst=lib.OW_ETH_SRC + 1, src=word, c=32)]


def word(bed: Tracked, packet: Packet, insns: list[Insn]) -> int:
    return bed.send(packet, insns).number


def test_a_mark_is_the_connections_in_both_directions(bed: Tracked) -> None:
    bed.send(udp(), ct(KEEP, mark=0x1234))
    assert bed.send(udp()).mark == 0x1234
    assert bed.send(REPLY).mark == 0x1234
    bed.send(REPLY, [*ct(), *ct(KEEP, mark=0x4321)])
    assert bed.send(udp()).mark == 0x4321


def test_bits_of_a_mark_change_alone(bed: Tracked) -> None:
    bed.send(udp(), ct(KEEP, mark=0xFF00))
    one = [Insn(lib.OP_SET, dst=lib.OW_REG0, a=0xFFFFFFFF, b=7)]
    one += [Insn(lib.OP_CT, src=lib.OW_REG0, a=KEEP, c=1)]
    one += [Insn(lib.OP_SET, dst=lib.OW_CT_MARK, a=0x0F00, b=0x0A00)]
    bed.send(udp(), [*ct(), *one])
    assert bed.send(udp()).mark == 0xFA00


def test_a_label_has_128_bits(bed: Tracked) -> None:
    label = 0x0123456789ABCDEF_FEDCBA9876543210
    bed.send(udp(), ct(KEEP, label=label))
    assert [each.label for each in bed.connections()] == [label]
    found = [
        word(bed, REPLY, [*ct(), *told(lib.OW_CT_LABEL + i)]) << 32 * (3 - i) for i in range(4)
    ]
    assert sum(found) == label


def test_a_label_may_come_from_a_register(bed: Tracked) -> None:
    moved = [
        Insn(lib.OP_SET, dst=lib.OW_REG0, a=0xFFFFFFFF, b=7),
        Insn(lib.OP_SET, dst=lib.OW_REG0 + 3, a=0xFFFFFFFF, b=0xABCD),
        Insn(lib.OP_CT, src=lib.OW_REG0, a=KEEP, c=1),
        Insn(lib.OP_MOVE, dst=lib.OW_CT_LABEL + 2, src=lib.OW_REG0 + 3, a=16, b=8, c=8),
    ]
    bed.send(udp(), moved)
    assert [each.label for each in bed.connections()] == [0xAB << 48]


def test_operands_reach_nothing_but_mark_and_label(bed: Tracked) -> None:
    bad = [*ct(KEEP), Insn(lib.OP_SET, dst=lib.OW_IP_SRC + 3, a=0xFFFFFFFF, b=0)]
    bad[1] = bad[1]._replace(c=1)
    assert bed.send(udp(), bad).sent.src == "10.0.0.1"


def test_a_commit_clears_the_packets_state(bed: Tracked) -> None:
    """As ct() without a table does in OVS."""
    assert bed.send(udp(), [*ct(), *ct(KEEP, mark=5), *TELL]).state == bits("")
    assert bed.send(udp(), [*ct(), *ct(KEEP, mark=5), *TELL]).mark == 0


def test_a_commit_says_what_it_made_when_the_packet_goes_on(bed: Tracked) -> None:
    answer = bed.send(udp(), [*ct(lib.OVN_CT_COMMIT, mark=9), *TELL])
    assert (answer.state, answer.mark) == (bits("new trk"), 9)


def test_a_packet_is_counted_once_however_often_it_is_looked_up(bed: Tracked) -> None:
    bed.send(udp(), COMMIT)
    bed.send(udp(), [*ct(), *ct(), *ct(KEEP, mark=1), *ct()])
    bed.send(REPLY)
    [found] = bed.connections()
    assert found.packets == (2, 1)
    assert found.bytes == (2 * len(bytes(udp())) + 28, len(bytes(REPLY)) + 14)


def test_the_original_tuple_is_known_in_both_directions(bed: Tracked) -> None:
    bed.send(udp(), COMMIT)
    for packet in (udp(), REPLY):
        assert word(bed, packet, [*ct(), *told(lib.OW_CT_DST + 3)]) == 0x0A000101
        assert word(bed, packet, [*ct(), *told(lib.OW_CT_PORTS)]) == 1000 << 16 | 53
        assert word(bed, packet, [*ct(), *told(lib.OW_CT_PROTO)]) == 17


def test_zones_do_not_know_each_other(bed: Tracked) -> None:
    bed.send(udp(), [*ct(zone=1), *ct(KEEP, zone=1, mark=1)])
    assert bed.send(REPLY, [*ct(zone=1), *TELL]).state == bits("est rpl trk")
    assert bed.send(REPLY, [*ct(zone=2), *TELL]).state == bits("new trk")
    both = [*ct(zone=1), *ct(KEEP, zone=1), *ct(zone=2), *TELL, *ct(KEEP, zone=2, mark=2)]
    assert bed.send(udp(), both).state == bits("new trk")
    assert {each.zone: each.mark for each in bed.connections()} == {1: 1, 2: 2}


def test_a_flushed_zone_forgets_and_others_do_not(bed: Tracked) -> None:
    for zone in (1, 2):
        bed.send(udp(), ct(KEEP, zone=zone))
    bed.conntrack.flush_zone(1)
    assert bed.send(REPLY, [*ct(zone=1), *TELL]).state == bits("new trk")
    assert bed.send(REPLY, [*ct(zone=2), *TELL]).state == bits("est rpl trk")
    assert [each.zone for each in bed.connections()] == [2]


def test_a_flushed_tuple_can_be_committed_again(bed: Tracked) -> None:
    for mark in range(1, 6):
        bed.send(udp(), ct(KEEP, mark=mark))
        assert [each.mark for each in bed.connections()] == [mark]
        bed.conntrack.flush_zone(7)


def test_one_connection_is_ended_by_order(bed: Tracked) -> None:
    for host in (1, 2, 3):
        bed.send(udp(host), COMMIT)
    [first, *_] = bed.connections()
    assert bed.conntrack.kill([first, first]) == 2
    assert len(bed.connections()) == 2
    bed.send(udp(1), COMMIT)
    assert bed.conntrack.kill([first]) == 1  # another one lives there now
    assert len(bed.connections()) == 3


def test_a_zones_limit_holds_and_frees(bed: Tracked) -> None:
    bed.conntrack.set_limits({77: 3})
    commit = [*ct(zone=77), *TELL, *ct(KEEP, zone=77)]
    full = bed.counted("zone limit")
    sent = [bed.send(udp(host), commit).packet for host in range(1, 6)]
    assert [each is not None for each in sent] == [True, True, True, False, False]
    assert bed.counted("zone limit") == full + 2
    assert bed.send(udp(9), ct(KEEP, zone=8)).packet is not None
    assert bed.send(udp(1), [*ct(zone=77), *TELL]).state == bits("new trk")
    bed.conntrack.kill(bed.connections(77)[:1])
    assert bed.send(udp(5), commit).packet is not None
    bed.conntrack.flush_zone(77)
    sent = [bed.send(udp(host), commit).packet for host in range(1, 6)]
    assert [each is not None for each in sent] == [True, True, True, False, False]


def test_a_packet_to_its_own_sender_is_a_connection_too(bed: Tracked) -> None:
    mirror = IP(src="10.0.0.1", dst="10.0.0.1") / UDP(sport=5, dport=5)
    assert bed.send(mirror, COMMIT).packet is not None
    assert bed.send(mirror).state == bits("new trk")
    bed.conntrack.kill(bed.connections())
    assert bed.connections() == []
    assert bed.send(mirror, COMMIT).state == bits("new trk")


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="10.0.0.1", dst="10.0.1.1") / UDP(sport=0, dport=53),
        IP(src="10.0.0.1", dst="10.0.1.1") / UDP(sport=53, dport=0),
        IP(src="10.0.0.1", dst="10.0.1.1") / UDP(sport=9, dport=9, chksum=1),
    ],
)
def test_what_cannot_be_tracked_is_invalid_and_not_committed(bed: Tracked, packet: Packet) -> None:
    before = bed.counted("invalid")
    assert bed.send(packet, COMMIT).state == bits("inv trk")
    assert bed.connections() == []
    assert bed.counted("invalid") > before
