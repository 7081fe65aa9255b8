# SPDX-License-Identifier: Apache-2.0
"""10,000 malformed and hostile packets at connections that are: none passes for
established or related, each is counted.

Seeded, so that a failure comes back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.sctp import (
    SCTP,
    SCTPChunkCookieAck,
    SCTPChunkCookieEcho,
    SCTPChunkData,
    SCTPChunkInit,
    SCTPChunkInitAck,
)
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from tests.support.dataplane import mac
from tests.support.sums import wrong
from tests.support.tracked import COMMIT, NEXT, Tracked, tracked

EACH = 1000  # packets of each of the ten kinds
REDIRECT = 7
EST_OR_REL = lib.OVN_CS_EST | lib.OVN_CS_REL
A, B, OUTSIDER = (
    {4: "10.0.0.1", 6: "fd00::1"},
    {4: "10.0.0.2", 6: "fd00::2"},
    {4: "10.0.0.3", 6: "fd00::3"},
)
DATA = b"0123456789abcdef" * 3


@pytest.fixture(name="ct", scope="module")
def _ct() -> Iterator[Tracked]:
    with tracked() as made:
        establish(made)
        yield made


def ip(version: int, src: str, dst: str) -> Packet:
    return (IP if version == 4 else IPv6)(src=src, dst=dst)


def pairs(version: int) -> list[tuple[Packet, Packet]]:
    """What goes from A to B and back in connections that there are."""
    echo = (
        (ICMP(id=9) / Raw(DATA), ICMP(type=0, id=9) / Raw(DATA))
        if version == 4
        else (ICMPv6EchoRequest(id=9, data=DATA), ICMPv6EchoReply(id=9, data=DATA))
    )
    chunk = SCTPChunkData(data=DATA, beginning=1, ending=1)
    l4 = [
        (
            TCP(sport=1000, dport=80, flags="A", seq=101, ack=901) / Raw(DATA),
            TCP(sport=80, dport=1000, flags="A", seq=901, ack=101) / Raw(DATA),
        ),
        (UDP(sport=1000, dport=53) / Raw(DATA), UDP(sport=53, dport=1000) / Raw(DATA)),
        (SCTP(sport=1000, dport=80, tag=22) / chunk, SCTP(sport=80, dport=1000, tag=21) / chunk),
        echo,
    ]
    out, back = ip(version, A[version], B[version]), ip(version, B[version], A[version])
    return [(out / there, back / answer) for there, answer in l4]


def establish(ct: Tracked) -> None:
    for version in (4, 6):
        out, back = ip(version, A[version], B[version]), ip(version, B[version], A[version])
        ports = {"sport": 1000, "dport": 80}
        ct.send(out / TCP(**ports, flags="S", seq=100), COMMIT)
        ct.send(back / TCP(sport=80, dport=1000, flags="SA", seq=900, ack=101), COMMIT)
        ct.send(out / TCP(**ports, flags="A", seq=101, ack=901), COMMIT)
        there, answer = SCTP(**ports, tag=22), SCTP(sport=80, dport=1000, tag=21)
        ct.send(out / SCTP(**ports) / SCTPChunkInit(init_tag=21), COMMIT)
        ct.send(back / answer / SCTPChunkInitAck(init_tag=22), COMMIT)
        ct.send(out / there / SCTPChunkCookieEcho(cookie=b"abcd", len=8), COMMIT)
        ct.send(back / answer / SCTPChunkCookieAck(), COMMIT)
        for there, answer in pairs(version):
            ct.send(there, COMMIT)
            ct.send(answer, COMMIT)
        for packet in good(version):
            assert belongs(ct, packet), packet


def belongs(ct: Tracked, packet: Packet) -> bool:
    return not ct.send(packet).state.isdisjoint(("est", "rel"))


def good(version: int) -> list[Packet]:
    """What does belong to the connections, an ICMP error for each included."""
    found = [packet for pair in pairs(version) for packet in pair]
    return found + [error(version, B[version], A[version], there) for there, _ in pairs(version)]


def error(version: int, src: str, dst: str, about: Packet) -> Packet:
    """An ICMP error; about: the packet that it quotes."""
    kind = ICMP(type=3, code=1) if version == 4 else ICMPv6DestUnreach(code=0)
    return ip(version, src, dst) / kind / Raw(bytes(about))


def header(data: bytes | bytearray) -> int:
    """Bytes of the IP header."""
    return 40 if data[0] >> 4 == 6 else 20


def is_error(data: bytes) -> bool:
    proto = data[6] if data[0] >> 4 == 6 else data[9]
    return proto in (1, 58) and data[header(data)] in (1, 3)


# --- kinds of packets -----------------------------------------------------------------

Maker = Callable[[random.Random, list[bytes]], bytes]


def bad_checksum(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A byte behind the ports is another one."""
    data = bytearray(rng.choice(seeds))
    at = rng.randrange(header(data) + 12, len(data))
    data[at] ^= rng.randrange(1, 256)
    return bytes(data)


def too_long(rng: random.Random, seeds: list[bytes]) -> bytes:
    """The IP header claims more than there is."""
    data = bytearray(rng.choice(seeds))
    at = 4 if data[0] >> 4 == 6 else 2
    claimed = int.from_bytes(data[at : at + 2], "big") + rng.randrange(1, 2000)
    data[at : at + 2] = claimed.to_bytes(2, "big")
    return bytes(data)


def too_short(rng: random.Random, seeds: list[bytes]) -> bytes:
    """It claims less: the checksum is then that of another packet."""
    data = bytearray(rng.choice(seeds))
    at = 4 if data[0] >> 4 == 6 else 2
    claimed = int.from_bytes(data[at : at + 2], "big") - rng.randrange(1, 60)
    data[at : at + 2] = max(claimed, 0).to_bytes(2, "big")
    return bytes(data)


def lying_header(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Header length of IPv4, data offset of TCP, length of UDP."""
    data = bytearray(rng.choice(seeds))
    at, proto = header(data), data[6] if data[0] >> 4 == 6 else data[9]
    if data[0] >> 4 == 4 and (proto not in (6, 17) or rng.random() < 0.5):
        data[0] = 0x40 | rng.choice([0, 1, 2, 3, 4, 6, 7, 15])
    elif proto == 6:
        data[at + 12] = rng.choice([0, 1, 2, 3, 4, 15]) << 4
    elif proto == 17:
        length = rng.choice([0, 1, 7, len(data) - at + 1, 0xFFFF])
        data[at + 4 : at + 6] = length.to_bytes(2, "big")
    else:
        data[4:6] = (rng.randrange(8)).to_bytes(2, "big")
    return bytes(data)


def cut_short(rng: random.Random, seeds: list[bytes]) -> bytes:
    """The frame ends in the middle of a header that promises more."""
    data = rng.choice(seeds)
    return data[: rng.randrange(header(data), len(data))]


def overlapping(rng: random.Random, _: list[bytes]) -> bytes:
    """A later fragment that reaches into the first, or has none."""
    version, known = rng.choice((4, 6)), rng.random() < 0.5
    data = rng.randbytes(8 * rng.randrange(1, 6))
    at = rng.choice((1, 2)) if known else rng.randrange(1, 8000)
    number = 7 if known else rng.randrange(100, 60000)
    if version == 4:
        packet = IP(src=A[4], dst=B[4], id=number, frag=at, proto=17, flags=rng.choice(("MF", 0)))
        return bytes(packet / Raw(data))
    fragment = IPv6ExtHdrFragment(id=number, offset=at, m=rng.getrandbits(1), nh=17)
    return bytes(ip(6, A[6], B[6]) / fragment / Raw(data))


def tiny_first(rng: random.Random, _: list[bytes]) -> bytes:
    """A first fragment that leaves part of the transport header to the second."""
    version, size = rng.choice((4, 6)), rng.randrange(0, 20)
    l4 = bytes(TCP(sport=1000, dport=80, flags="A", seq=101, ack=901))[:size]
    if version == 4:
        return bytes(IP(src=A[4], dst=B[4], id=9, flags="MF", proto=6) / Raw(l4))
    return bytes(ip(6, A[6], B[6]) / IPv6ExtHdrFragment(id=9, m=1, nh=6) / Raw(l4))


def foreign_quotation(rng: random.Random, _: list[bytes]) -> bytes:
    """An ICMP error about a connection that nobody has."""
    version = rng.choice((4, 6))
    a, b = A[version], B[version]
    ports = rng.randrange(2000, 60000), rng.randrange(2000, 60000)
    about = ip(version, a, b) / rng.choice((TCP, UDP, SCTP))(sport=ports[0], dport=ports[1])
    return bytes(error(version, rng.choice((b, OUTSIDER[version])), a, about))


def bad_quotation(rng: random.Random, _: list[bytes]) -> bytes:
    """An ICMP error about a connection that is, but not for its sender, or cut off,
    or about a fragment, or about another error."""
    version = rng.choice((4, 6))
    a, b, c = A[version], B[version], OUTSIDER[version]
    about, _ = rng.choice(pairs(version))
    quoted = bytes(about)
    how = rng.randrange(4)
    if how == 0:
        return bytes(error(version, b, rng.choice((b, c)), about))
    if how == 1:
        cut = Raw(quoted[: rng.randrange(header(quoted) + 8)])
        return bytes(error(version, b, a, cut))
    if how == 2:
        return bytes(error(version, b, a, error(version, a, b, about)))
    if version == 4:
        later = IP(src=a, dst=b, frag=rng.randrange(1, 8000), proto=17) / Raw(quoted[20:])
    else:
        fragment = IPv6ExtHdrFragment(offset=rng.randrange(1, 8000), nh=17)
        later = ip(6, a, b) / fragment / Raw(quoted[40:])
    return bytes(error(version, b, a, later))


def spoilt_error(rng: random.Random, seeds: list[bytes]) -> bytes:
    """An ICMP error whose checksum is wrong."""
    data = bytearray(rng.choice([each for each in seeds if is_error(each)]))
    data[rng.randrange(header(data) + 2, len(data))] ^= rng.randrange(1, 256)
    return bytes(data)


KINDS: list[Maker] = [
    bad_checksum,
    too_long,
    too_short,
    lying_header,
    cut_short,
    overlapping,
    tiny_first,
    foreign_quotation,
    bad_quotation,
    spoilt_error,
]


class Gun:
    """Sends packets, with little around them: there are many."""

    def __init__(self, ct: Tracked) -> None:
        self._ct = ct
        self._head = bytes.fromhex(mac(2).replace(":", "") + f"0200{ct.command(NEXT):08x}")

    def shoot(self, packet: bytes, version: int) -> int:
        """What ct_state is made of it; -1 when it is dropped."""
        kind = b"\x86\xdd" if version == 6 else b"\x08\x00"
        bed = self._ct.bed
        got = bed.run("ovn_vif", self._head + kind + packet, bed.devices["v1"])
        return int.from_bytes(got.data[8:12], "big") if got.verdict == REDIRECT else -1

    def counted(self) -> int:
        """Packets that were dropped or found invalid."""
        return self._ct.bed.all_dropped() + self._ct.counted("invalid")


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_hostile_packets_belong_to_no_connection(ct: Tracked, make: Maker) -> None:
    rng = random.Random(make.__name__)
    gun = Gun(ct)
    seeds = {version: [bytes(each) for each in good(version)] for version in (4, 6)}
    for version in (4, 6):  # the fragment that others overlap
        first = bytes(UDP(sport=1000, dport=53, len=64)) + bytes(16)
        whole = (
            IP(src=A[4], dst=B[4], id=7, flags="MF", proto=17)
            if version == 4
            else ip(6, A[6], B[6]) / IPv6ExtHdrFragment(id=7, m=1, nh=17)
        )
        assert gun.shoot(bytes(whole / Raw(first)), version) & lib.OVN_CS_EST
    before, connections = gun.counted(), len(ct.connections())
    for _ in range(EACH):
        packet = make(rng, seeds[4] + seeds[6])
        version = 6 if packet[0] >> 4 == 6 else 4
        state = gun.shoot(packet, version)
        assert state < 0 or state & lib.OVN_CS_INV, (state, packet.hex())
        assert state < 0 or not state & EST_OR_REL, (state, packet.hex())
    assert gun.counted() == before + EACH
    assert len(ct.connections()) == connections
    for version in (4, 6):
        for packet in good(version):
            assert belongs(ct, packet), packet


def test_changed_packets_pass_only_when_they_are_right(ct: Tracked) -> None:
    """Bytes changed at random: what passes all the same has right checksums."""
    rng = random.Random("changed")
    gun = Gun(ct)
    seeds = [bytes(each) for version in (4, 6) for each in good(version)]
    passed = 0
    for _ in range(3000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((1, 1, 2, 3))):
            data[rng.randrange(1, len(data))] = rng.choice((0, 0xFF, rng.getrandbits(8)))
        state = gun.shoot(bytes(data), data[0] >> 4)
        if state >= 0 and state & EST_OR_REL:
            passed += 1
            found = wrong(bytes(data))
            assert found in ("", "UDP 0") or found.startswith("quoted"), data.hex()
    assert passed  # a time-to-live, a zero for a zero: some changes are none
