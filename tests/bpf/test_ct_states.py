# SPDX-License-Identifier: Apache-2.0
"""What the tracker says of packets: new, established, reply, invalid, related."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.sctp import SCTP, SCTPChunkInit, SCTPChunkInitAck
from scapy.packet import Packet

from tests.support.tracked import COMMIT, NEXT, Tracked, bits, tracked


@pytest.fixture(name="ct", scope="module")
def _ct() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(ct: Tracked) -> None:
    ct.forget()


A, B = "10.0.0.1", "10.0.0.2"


def pair(proto: str) -> tuple[Packet, Packet]:
    """A packet and what answers it."""
    if proto == "udp":
        return IP(src=A, dst=B) / UDP(sport=1, dport=2), IP(src=B, dst=A) / UDP(sport=2, dport=1)
    if proto == "udp6":
        return (
            IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1, dport=2),
            IPv6(src="fd00::2", dst="fd00::1") / UDP(sport=2, dport=1),
        )
    if proto == "icmp":
        return (
            IP(src=A, dst=B) / ICMP(type=8, id=77),
            IP(src=B, dst=A) / ICMP(type=0, id=77),
        )
    if proto == "icmp6":
        return (
            IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=77),
            IPv6(src="fd00::2", dst="fd00::1") / ICMPv6EchoReply(id=77),
        )
    if proto == "gre":
        return IP(src=A, dst=B, proto=47) / b"abcd", IP(src=B, dst=A, proto=47) / b"abcd"
    if proto == "sctp":
        return (
            IP(src=A, dst=B) / SCTP(sport=1, dport=2) / SCTPChunkInit(),
            IP(src=B, dst=A) / SCTP(sport=2, dport=1) / SCTPChunkInitAck(),
        )
    assert proto == "tcp"
    return (
        IP(src=A, dst=B) / TCP(sport=1, dport=2, flags="S", seq=100),
        IP(src=B, dst=A) / TCP(sport=2, dport=1, flags="SA", seq=900, ack=101),
    )


PROTOS = ("udp", "udp6", "tcp", "sctp", "icmp", "icmp6", "gre")


@pytest.mark.parametrize("proto", PROTOS)
def test_a_connection_is_new_until_it_is_answered(ct: Tracked, proto: str) -> None:
    there, back = pair(proto)
    assert ct.send(there).state == bits("new trk")
    assert ct.send(there, COMMIT).state == bits("new trk")
    assert ct.send(there).state == bits("new trk")
    assert ct.send(back).state == bits("est rpl trk")
    if proto != "tcp":
        assert ct.send(there).state == bits("est trk")


@pytest.mark.parametrize("proto", PROTOS)
def test_what_was_not_committed_is_not_remembered(ct: Tracked, proto: str) -> None:
    there, back = pair(proto)
    assert ct.send(there, NEXT).state == bits("new trk")
    answer = ct.send(back)
    assert answer.state == bits("inv trk" if proto in ("tcp", "icmp", "icmp6") else "new trk")
    assert ct.connections() == []
