# SPDX-License-Identifier: Apache-2.0
"""What translation does to frames: checksums, identifiers, quotations, fragments."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from tests.support.dataplane import Bed
from tests.support.sums import ICMP6, assert_right, folded, pseudo_sum, transport
from tests.support.sums import TCP as TCP_PROTO
from tests.support.sums import UDP as UDP_PROTO
from tests.support.translation import (
    CLIENT,
    OTHER,
    SERVER,
    SHOWN,
    VERSIONS,
    ip,
    translating,
)

KINDS = ["tcp", "udp", "udp without checksum", "echo", "sctp"]
PORT = 1234  # the client's, or the identifier of its echo request


@pytest.fixture(name="nat")
def _nat(bed: Bed) -> Bed:
    translating(bed)
    bed.plug(1, 2, dp=2)
    return bed


def l4(kind: str, version: int, port: int, size: int = 0, *, reply: bool = False) -> Packet:
    """The transport part of a packet; port: the client's.  size: of more payload."""
    more = Raw(b"z" * size)
    ports = {"sport": 80, "dport": port} if reply else {"sport": port, "dport": 80}
    if kind == "tcp":
        return TCP(**ports, flags="SA" if reply else "S", seq=7, ack=1 if reply else 0) / more
    if kind == "sctp":
        size = size // 4 * 4 + 4  # a heartbeat, as those may be of any size
        return SCTP(**ports, tag=5) / Raw(
            struct.pack("!BBH", 4 + reply, 0, size) + b"z" * (size - 4)
        )
    if kind == "echo" and version == 4:
        return ICMP(type=0 if reply else 8, id=port, seq=1) / more
    if kind == "echo":
        return (ICMPv6EchoReply if reply else ICMPv6EchoRequest)(id=port, data=bytes(more))
    if kind == "udp without checksum" and version == 4:
        return UDP(**ports, chksum=0) / more
    return UDP(**ports) / more


def through(bed: Bed, peer: str, frame: bytes) -> bytes:
    """The one frame that comes out on the other side; its checksums are right."""
    bed.send(peer, frame)
    ((where, data),) = bed.received(1)
    assert where == {"p1": "p2", "p2": "p1"}[peer]
    assert_right(data)
    return data


def layer(data: bytes) -> Packet:
    frame = Ether(data)
    return frame[IP] if IP in frame else frame[IPv6]


def port_in(kind: str, data: bytes, *, reply: bool = False) -> int:
    """The client's port or identifier."""
    at = (34 if data[12:14] == b"\x08\x00" else 54) + (4 if kind == "echo" else 2 * reply)
    return int.from_bytes(data[at : at + 2], "big")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_packets_are_translated_with_right_checksums(nat: Bed, kind: str, version: int) -> None:
    """A second client gets another port, as the first one holds the one it has."""
    for size in (0, 1, 2, 3, 62, 1399, 5000):
        for client in (CLIENT[version], OTHER[version]):
            there = bytes(ip(version, client, SERVER[version]) / l4(kind, version, PORT, size))
            got = through(nat, "p1", there)
            port = port_in(kind, got)
            assert (layer(got).src, layer(got).dst) == (SHOWN[version], SERVER[version])
            assert (port == PORT) == (client == CLIENT[version])
            answer = l4(kind, version, port, size, reply=True)
            got = through(nat, "p2", bytes(ip(version, SERVER[version], SHOWN[version]) / answer))
            expected = ip(version, SERVER[version], client) / l4(
                kind, version, PORT, size, reply=True
            )
            assert got[14:] == bytes(expected)[14:]
    assert nat.all_dropped() == 0


def errors(version: int, quotation: bytes) -> list[Packet]:
    """ICMP errors about a packet."""
    quote = Raw(quotation)
    if version == 4:
        return [
            ICMP(type=kind, code=code, nexthopmtu=1400 if code == 4 else 0) / quote
            for kind, code in ((3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (5, 1))
        ]
    return [
        ICMPv6DestUnreach(code=4) / quote,
        ICMPv6PacketTooBig(mtu=1400) / quote,
        ICMPv6TimeExceeded() / quote,
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_quote_what_their_receiver_had_sent(nat: Bed, kind: str, version: int) -> None:
    header = 20 if version == 4 else 40
    for client in (CLIENT[version], OTHER[version]):
        there = bytes(ip(version, client, SERVER[version]) / l4(kind, version, PORT, 101))
        seen = through(nat, "p1", there)
        for length in (header + 8, header + 21, len(there) - 14):
            quotes = errors(version, seen[14:][:length])
            for router in (SERVER[version], {4: "10.8.8.8", 6: "fd08::8"}[version]):
                for error in quotes:
                    sent = bytes(ip(version, router, SHOWN[version]) / error)
                    got = through(nat, "p2", sent)
                    assert (layer(got).src, layer(got).dst) == (router, client)
                    at = 14 + header
                    assert got[at : at + 2] == sent[at : at + 2]
                    assert got[at + 4 : at + 8] == sent[at + 4 : at + 8]
                    assert got[at + 8 :] == there[14:][:length]
    assert nat.all_dropped() == 0


def unsummed(packet: bytes) -> bytes:
    """An IP packet whose sender has left the transport checksum to a device."""
    proto, l4 = transport(packet)
    at = len(packet) - len(l4) + {TCP_PROTO: 16, UDP_PROTO: 6}[proto]
    return packet[:at] + pseudo_sum(packet, proto, len(l4)) + packet[at + 2 :]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_errors_may_quote_what_no_device_has_summed(nat: Bed, kind: str, version: int) -> None:
    """As a guest's kernel quotes what another guest of the chassis sent it."""
    for client in (CLIENT[version], OTHER[version]):  # without and with another port
        there = bytes(ip(version, client, SERVER[version]) / l4(kind, version, PORT, 101))
        seen = through(nat, "p1", there)
        for error in errors(version, unsummed(seen[14:])):
            nat.send("p2", bytes(ip(version, SERVER[version], SHOWN[version]) / error))
            ((_, got),) = nat.received(1)
            at = 14 + (20 if version == 4 else 40)
            assert got[at + 8 :] == unsummed(there[14:])
            assert folded(got[at:], pseudo_start(got[14:])) == 0xFFFF
    assert nat.all_dropped() == 0


def pseudo_start(packet: bytes) -> int:
    """What the pseudo header adds to the sum of an ICMP or ICMPv6 message."""
    proto, l4 = transport(packet)
    return int.from_bytes(pseudo_sum(packet, proto, len(l4))) if proto == ICMP6 else 0


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_with_ip_options_around_and_within(nat: Bed, version: int) -> None:
    l3: Packet
    if version == 4:
        options = {"options": [b"\x01" * 8]}
        there = bytes(ip(4, CLIENT[4], SERVER[4], **options) / UDP(sport=PORT, dport=80))
        seen = through(nat, "p1", there)
        l3 = ip(4, SERVER[4], SHOWN[4], **options) / ICMP(type=3, code=3)
        at = 14 + 28 + 8
    else:
        there = bytes(ip(6, CLIENT[6], SERVER[6]) / UDP(sport=PORT, dport=80))
        seen = through(nat, "p1", there)
        l3 = ip(6, SERVER[6], SHOWN[6]) / ICMPv6DestUnreach(code=4)
        at = 14 + 40 + 8
    got = through(nat, "p2", bytes(l3 / Raw(seen[14:])))
    assert got[at:] == there[14:]


def fragments(version: int, packet: Packet, size: int) -> list[bytes]:
    """The frames that a packet is sent as."""
    if version == 4:
        return [bytes(each) for each in fragment(packet, fragsize=size)]
    inner = packet[IPv6].payload.copy()
    whole = packet.copy()
    whole[IPv6].remove_payload()
    whole = whole / IPv6ExtHdrFragment(id=99) / inner
    made = fragment6(whole[IPv6], size + 48 + 8)
    return [bytes(Ether(src=packet.src, dst=packet.dst) / each) for each in made]


def joined(version: int, frames: list[bytes]) -> bytes:
    """The frame that they are fragments of, its parts in this order."""
    if version == 4:
        data = b"".join(each[34:] for each in frames)
        head = bytearray(frames[0][:34])
        head[16:18] = struct.pack(">H", 20 + len(data))
        head[20:22] = b"\0\0"
        head[24:26] = b"\0\0"
        head[24:26] = struct.pack(">H", 0xFFFF - folded(bytes(head[14:34])))
        return bytes(head) + data
    data = b"".join(each[62:] for each in frames)
    head = bytearray(frames[0][:54])
    head[20] = frames[0][54]
    head[18:20] = struct.pack(">H", len(data))
    return bytes(head) + data


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["udp", "udp without checksum", "echo", "tcp"])
def test_fragments_go_the_way_of_their_first(nat: Bed, kind: str, version: int) -> None:
    for client in (CLIENT[version], OTHER[version]):
        packet = ip(version, client, SERVER[version]) / l4(kind, version, PORT, 3001)
        if kind == "tcp":  # one that has a connection may be cut
            through(
                nat, "p1", bytes(ip(version, client, SERVER[version]) / l4(kind, version, PORT))
            )
        sent = fragments(version, packet, 1000)
        assert len(sent) >= 3
        got = []
        for each in sent:
            nat.send("p1", each)
            ((where, data),) = nat.received(1)
            assert where == "p2"
            assert layer(data).src == SHOWN[version]
            got.append(data)
        whole = joined(version, got)
        assert_right(whole)
        port = port_in(kind, whole)
        assert (port == PORT) == (client == CLIENT[version])
    assert nat.all_dropped() == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fragment_without_its_first_is_dropped_and_counted(nat: Bed, version: int) -> None:
    packet = ip(version, CLIENT[version], SERVER[version]) / l4("udp", version, PORT, 3000)
    later = fragments(version, packet, 1000)[1:]
    for each in later:
        nat.send("p1", each)
    assert nat.nothing_received()
    assert nat.dropped(lib.DROP_CT_FRAG) == len(later) >= 2


def part(version: int, at: int, data: bytes, *, more: bool) -> bytes:
    """A fragment of a UDP packet with this data from byte `at` on."""
    client, server = CLIENT[version], SERVER[version]
    if version == 4:
        flags = "MF" if more else 0
        return bytes(ip(4, client, server, id=5, frag=at // 8, flags=flags, proto=17) / Raw(data))
    header = IPv6ExtHdrFragment(id=5, offset=at // 8, m=int(more), nh=17)
    return bytes(ip(6, client, server) / header / Raw(data))


@pytest.mark.parametrize("version", VERSIONS)
def test_fragments_are_no_way_round_a_filter(bed: Bed, version: int) -> None:
    """The receiver never gets other headers than those that were judged."""
    bed.plug(1, 2)
    bed.flow(0, 0, 0, "ip", "ct_next;")
    bed.flow(0, 1, 10, "ct.new && udp.dst == 80", 'ct_commit; outport = "vm2"; output;')
    bed.flow(0, 1, 10, "ct.est", 'outport = "vm2"; output;')
    bed.flow(0, 1, 0, "1", "drop;")
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    good, evil = (bytes(UDP(sport=PORT, dport=port, len=64)) + bytes(16) for port in (80, 22))

    bed.send("p1", part(version, 0, good, more=True))
    bed.send("p1", part(version, 24, bytes(16), more=True))
    assert len(bed.received(2)) == 2
    for at in (8, 16):  # parts of what the first had
        bed.send("p1", part(version, at, evil, more=True))
    assert bed.dropped(lib.DROP_CT_FRAG) == 2
    bed.send("p1", part(version, 0, evil, more=True))
    bed.send("p1", part(version, 40, bytes(24), more=False))  # now it is part of that one
    assert bed.dropped(lib.DROP_ACTION) == 2
    assert bed.nothing_received()
