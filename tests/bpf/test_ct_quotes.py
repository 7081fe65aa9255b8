# SPDX-License-Identifier: Apache-2.0
"""ICMP errors about packets whose transport checksum waits for a device.

A local sender's packet that crossed a tunnel, or only a veth pair, holds the pseudo
header's sum.  Whoever quotes it sums either what is there (the kernel) or what will be
there when the frame leaves (our own answers): both are right, anything else is not.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.packet import Packet, Raw

from tests.support.sums import pseudo_sum
from tests.support.tracked import COMMIT, Tracked, bits, tracked

A, B = {4: "10.0.0.1", 6: "fd00::1"}, {4: "10.0.0.2", 6: "fd00::2"}
SUM_AT = {"udp": 6, "tcp": 16}


@pytest.fixture(name="ct", scope="module")
def _ct() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


def ip(version: int, source: str, target: str) -> Packet:
    return IP(src=source, dst=target) if version == 4 else IPv6(src=source, dst=target)


def sent(version: int, proto: str) -> bytes:
    """A packet of A to B with all its checksums."""
    ports = {"sport": 1000, "dport": 2000}
    l4 = UDP(**ports) if proto == "udp" else TCP(**ports, flags="S", seq=7)
    return bytes(ip(version, A[version], B[version]) / l4 / Raw(b"what is quoted"))


def left_open(version: int, proto: str) -> bytes:
    """The same with its transport checksum left to a device."""
    packet = bytearray(sent(version, proto))
    hlen = 20 if version == 4 else 40
    at = hlen + SUM_AT[proto]
    packet[at : at + 2] = pseudo_sum(
        bytes(packet), {"udp": 17, "tcp": 6}[proto], len(packet) - hlen
    )
    return bytes(packet)


def error(version: int, summed: bytes, quoted: bytes) -> Packet:
    """From B, its checksum that of an error which quotes `summed`."""
    icmp = ICMP(type=3, code=3) if version == 4 else ICMPv6DestUnreach(code=4)
    whole = bytes(ip(version, B[version], A[version]) / icmp / Raw(summed))
    cut = whole[: len(whole) - len(summed)] + quoted
    return IP(cut) if version == 4 else IPv6(cut)


@pytest.fixture(params=["udp", "tcp"], name="proto")
def _proto(request: pytest.FixtureRequest, ct: Tracked) -> str:
    ct.conntrack.flush_all()
    return str(request.param)


@pytest.mark.parametrize("version", [4, 6])
def test_an_error_may_be_summed_as_it_will_leave(ct: Tracked, proto: str, version: int) -> None:
    first, opened = sent(version, proto), left_open(version, proto)
    ct.send(IP(first) if version == 4 else IPv6(first), COMMIT)
    for summed, quoted in ((first, first), (first, opened), (opened, opened)):
        answer = ct.send(error(version, summed, quoted))
        assert answer.state == bits("rel rpl trk")


@pytest.mark.parametrize("version", [4, 6])
def test_an_error_with_another_sum_is_invalid(ct: Tracked, proto: str, version: int) -> None:
    first, opened = sent(version, proto), left_open(version, proto)
    ct.send(IP(first) if version == 4 else IPv6(first), COMMIT)
    for summed, quoted in (
        (opened, first),
        (first[:-2] + b"??", first),
        (first[:-2] + b"??", opened),
    ):
        assert ct.send(error(version, summed, quoted)).state == bits("inv trk")
