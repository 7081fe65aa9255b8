# SPDX-License-Identifier: Apache-2.0
"""Translation of what a guest left to its device: checksums, and cutting up.

Everything comes out of taps that take nothing but finished frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.support.dataplane import Bed
from tests.support.sums import assert_right, pseudo_sum, transport
from tests.support.translation import CLIENT, OTHER, SERVER, SHOWN, VERSIONS, Router, ip, offloaded

PORT = 1234  # of both clients: the second one's is translated
SEGMENT = 1300
DATA = bytes(range(256)) * 200


@pytest.fixture(name="router", params=["here", "on another chassis"])
def _router(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Router]:
    made = Router(bed, remote=request.param != "here")
    try:
        yield made
    finally:
        made.close()


def tcp(flags: str, seq: int, ack: int, data: bytes = b"", to: int = 0) -> Packet:
    """to: the client's port, in an answer."""
    ports = {"sport": 80, "dport": to} if to else {"sport": PORT, "dport": 80}
    return TCP(**ports, flags=flags, seq=seq, ack=ack, window=65535) / Raw(data)


def connect(router: Router, version: int, client: str) -> int:
    """Three packets, their checksums left to the device.  Returns the client's port
    as the server sees it."""
    there = client, SERVER[version]
    router.client.send_offloaded(*offloaded(ip(version, *there) / tcp("S", 100, 0)))
    port = int(Ether(router.seen()[0])[TCP].sport)
    assert (port == PORT) == (client == CLIENT[version])
    answer = tcp("SA", 900, 101, to=port)
    router.answer(*offloaded(ip(version, SERVER[version], SHOWN[version]) / answer))
    (got,) = router.client.received(1)
    assert_right(got)
    assert Ether(got)[TCP].dport == PORT
    router.client.send_offloaded(*offloaded(ip(version, *there) / tcp("A", 101, 901)))
    router.seen()
    return port


def payload(version: int, frames: list[bytes]) -> bytes:
    return b"".join(each[(34 if version == 4 else 54) + 20 :] for each in frames)


@pytest.mark.parametrize("version", VERSIONS)
def test_checksums_left_to_the_device_are_right_after_translation(
    router: Router, version: int
) -> None:
    for client in (CLIENT[version], OTHER[version]):
        for size in (1, 2, 1299):
            question = UDP(sport=PORT, dport=53) / Raw(b"q" * size)
            frame = offloaded(ip(version, client, SERVER[version]) / question)
            router.client.send_offloaded(*frame, proto=17)
            port = Ether(router.seen()[0])[UDP].sport
            answer = UDP(sport=53, dport=port) / Raw(b"a" * size)
            router.answer(
                *offloaded(ip(version, SERVER[version], SHOWN[version]) / answer), proto=17
            )
            (got,) = router.client.received(1)
            assert_right(got)
            assert Ether(got)[UDP].dport == PORT
    assert router.bed.all_dropped() == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_super_frames_are_cut_up_after_translation(router: Router, version: int) -> None:
    count = (len(DATA) + SEGMENT - 1) // SEGMENT
    for client in (CLIENT[version], OTHER[version]):
        port = connect(router, version, client)
        there = offloaded(ip(version, client, SERVER[version]) / tcp("A", 101, 901, DATA))
        router.client.send_offloaded(*there, gso=SEGMENT)
        got = router.seen(count)
        assert payload(version, got) == DATA
        assert {layer(each).src for each in got} == {SHOWN[version]}
        assert {Ether(each)[TCP].sport for each in got} == {port}
        if router.remote:  # a tap's header cannot say "super-frame within a tunnel"
            continue
        answer = tcp("A", 901, 101, DATA, to=port)
        router.answer(
            *offloaded(ip(version, SERVER[version], SHOWN[version]) / answer), gso=SEGMENT
        )
        got = router.client.received(count)
        for each in got:
            assert_right(each)
        assert payload(version, got) == DATA
        assert {layer(each).dst for each in got} == {client}
    assert router.bed.all_dropped() == 0


def layer(data: bytes) -> Packet:
    frame = Ether(data)
    return frame[IP] if IP in frame else frame[IPv6]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_an_error_may_quote_what_a_device_is_yet_to_sum(
    router: Router, version: int, kind: str
) -> None:
    """As our errors about such packets reach another chassis that offloads too."""
    header = 20 if version == 4 else 40
    field = header + (16 if kind == "tcp" else 6)
    for client in (CLIENT[version], OTHER[version]):
        l4 = (
            tcp("S", 100, 0, b"d" * 101)
            if kind == "tcp"
            else UDP(sport=PORT, dport=53) / Raw(b"d" * 101)
        )
        sent = bytes(ip(version, client, SERVER[version]) / l4)
        router.client.send(sent)
        seen = router.seen()[0][14:]
        unreachable = (ICMP(type=3, code=3) if version == 4 else ICMPv6DestUnreach(code=4)) / Raw(
            seen
        )
        error = bytearray(bytes(ip(version, SERVER[version], SHOWN[version]) / unreachable))
        at = 14 + header + 8
        proto, quoted = transport(seen)
        error[at + field : at + field + 2] = pseudo_sum(seen, proto, len(quoted))
        router.answer(bytes(error), at + header, proto=proto)
        (got,) = router.client.received(1)
        assert_right(got)
        assert got[at:] == sent[14:]
    assert router.bed.all_dropped() == 0
