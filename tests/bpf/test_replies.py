# SPDX-License-Identifier: Apache-2.0
"""Answers that the program makes by itself: ICMP errors, TCP resets, echo replies."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP, SCTPChunkAbort, SCTPChunkData, SCTPChunkInit
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from tests.support.dataplane import Bed, mac

ROUTER = "0e:00:00:00:00:01"
TTL4 = (
    "icmp4 { eth.dst <-> eth.src; icmp4.type = 11; icmp4.code = 0; ip4.dst = ip4.src; "
    "ip4.src = 10.0.0.254; ip.ttl = 254; outport = inport; flags.loopback = 1; output; };"
)
TTL6 = (
    "icmp6 { eth.dst <-> eth.src; ip6.dst = ip6.src; ip6.src = fd00::fe; ip.ttl = 254; "
    "icmp6.type = 3; icmp6.code = 0; outport = inport; flags.loopback = 1; output; };"
)
BIG4 = (
    "icmp4_error { eth.dst <-> eth.src; ip4.dst = ip4.src; ip4.src = 10.0.0.254; ip.ttl = 254; "
    "icmp4.type = 3; icmp4.code = 4; icmp4.frag_mtu = 1400; outport = inport; "
    "flags.loopback = 1; output; };"
)
BIG6 = (
    "icmp6_error { eth.dst <-> eth.src; ip6.dst = ip6.src; ip6.src = fd00::fe; ip.ttl = 254; "
    "icmp6.type = 2; icmp6.code = 0; icmp6.frag_mtu = 1400; outport = inport; "
    "flags.loopback = 1; output; };"
)
BACK = "outport = inport; flags.loopback = 1; output;"


def answering(bed: Bed, *flows: tuple[str, str]) -> None:
    """Ports 1 and 2; what no flow answers goes to port 2."""
    bed.plug(1, 2)
    for priority, (match, actions) in enumerate(flows, 10):
        bed.flow(0, 0, priority, match, actions)
    bed.flow(0, 0, 0, "1", 'outport = "vm2"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()


def asked(bed: Bed, sent: Packet) -> tuple[bytes, Packet]:
    """The one frame that comes back for `sent`, as bytes and parsed."""
    bed.send("p1", bytes(sent))
    ((where, data),) = bed.received(1)
    assert where == "p1"
    assert bed.nothing_received()
    return data, Ether(data)


def with_right_sums(data: bytes) -> bytes:
    """The frame with the checksums of its own headers computed by scapy."""
    packet = Ether(data)
    layer: Packet | None = packet
    while layer is not None:
        for name in ("chksum", "cksum"):
            if name in layer.fields and layer.name not in ("IP in ICMP", "TCP in ICMP"):
                layer.delfieldval(name)
        if isinstance(layer, (ICMP, ICMPv6TimeExceeded, ICMPv6PacketTooBig, ICMPv6DestUnreach)):
            if not (isinstance(layer, ICMP) and layer.type in (0, 8)):
                break  # what follows is quoted
        layer = layer.payload if layer.payload else None
    return bytes(packet)


def udp4(size: int, **ip: object) -> Packet:
    ether = Ether(src=mac(1), dst=ROUTER)
    return ether / IP(src="10.0.0.1", dst="10.1.0.9", **ip) / UDP() / Raw(b"x" * size)


def udp6(size: int, **ip: object) -> Packet:
    ether = Ether(src=mac(1), dst=ROUTER)
    return ether / IPv6(src="fd00::1", dst="fd01::9", **ip) / UDP() / Raw(b"x" * size)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 97, 100, 101, 399, 520, 521, 1400, 4000])
def test_an_expired_ipv4_packet_is_answered_with_as_much_of_it_as_fits(bed: Bed, size: int) -> None:
    answering(bed, ("ip4 && ip.ttl == {0, 1}", TTL4))
    sent = udp4(size, ttl=1)
    data, got = asked(bed, sent)
    assert (got.src, got.dst) == (ROUTER, mac(1))
    assert (got[IP].src, got[IP].dst, got[IP].ttl) == ("10.0.0.254", "10.0.0.1", 254)
    assert (got[ICMP].type, got[ICMP].code, len(got[IP])) == (11, 0, min(56 + size, 576))
    assert data[42:] == bytes(sent)[14 : 14 + 548]
    assert with_right_sums(data) == data
    assert bed.all_dropped() == 0


@pytest.mark.parametrize("size", [0, 1, 50, 51, 1184, 1185, 4000])
def test_an_expired_ipv6_packet_is_answered_with_as_much_of_it_as_fits(bed: Bed, size: int) -> None:
    answering(bed, ("ip6 && ip.ttl == {0, 1}", TTL6))
    sent = udp6(size, hlim=1)
    data, got = asked(bed, sent)
    assert (got[IPv6].src, got[IPv6].dst, got[IPv6].hlim) == ("fd00::fe", "fd00::1", 254)
    assert got[ICMPv6TimeExceeded].code == 0
    assert len(data) == 14 + min(96 + size, 1280)
    assert data[62:] == bytes(sent)[14 : 14 + 1232]
    assert with_right_sums(data) == data


def test_padding_is_not_quoted(bed: Bed) -> None:
    answering(bed, ("ip4 && ip.ttl == {0, 1}", TTL4))
    sent = bytes(udp4(1, ttl=1))
    bed.send("p1", sent.ljust(60, b"\xee"))
    ((_, data),) = bed.received(1)
    assert data[42:] == sent[14:]
    assert with_right_sums(data) == data


@pytest.mark.parametrize(("v", "mtu"), [(4, 1400), (6, 1400)])
def test_a_packet_larger_than_the_mtu_is_told_so(bed: Bed, v: int, mtu: int) -> None:
    answering(
        bed,
        ("ip4 && reg9[1]", BIG4),
        ("ip6 && reg9[1]", BIG6),
    )
    bed.flow(0, 0, 100, "reg9[0] == 0", f"reg9[1] = check_pkt_larger({mtu + 14}); "
             "reg9[0] = 1; next(pipeline=ingress, table=0);")  # fmt: skip
    bed.flows_live()
    make = udp4 if v == 4 else udp6
    header = 28 if v == 4 else 48
    fits = bytes(make(mtu - header))
    bed.send("p1", fits)
    assert bed.received(1) == [("p2", fits)]
    data, got = asked(bed, make(mtu - header + 1))
    if v == 4:
        assert (got[ICMP].type, got[ICMP].code, got[ICMP].nexthopmtu) == (3, 4, mtu)
    else:
        assert got[ICMPv6PacketTooBig].mtu == mtu
    assert with_right_sums(data) == data


def test_what_was_rewritten_before_is_quoted_as_rewritten(bed: Bed) -> None:
    answering(bed, ("ip4", f"ip4.dst = 1.2.3.4; {TTL4}"))
    data, got = asked(bed, udp4(8))
    quoted = IP(data[42:])
    assert quoted.dst == "1.2.3.4"
    assert with_right_sums(data) == data


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="224.0.0.1", dst="10.1.0.9", ttl=1) / UDP(),
        IP(src="0.0.0.0", dst="10.1.0.9", ttl=1) / UDP(),
        IP(src="10.0.0.1", dst="10.1.0.9", ttl=1, frag=5) / Raw(b"x" * 8),
        IP(src="10.0.0.1", dst="10.1.0.9", ttl=1) / ICMP(type=3, code=1),
        IP(src="10.0.0.1", dst="10.1.0.9", ttl=1) / ICMP(type=11),
        IPv6(src="::", dst="fd01::9", hlim=1) / UDP(),
        IPv6(src="ff02::1", dst="fd01::9", hlim=1) / UDP(),
        IPv6(src="fd00::1", dst="fd01::9", hlim=1) / ICMPv6TimeExceeded(),
        IPv6(src="fd00::1", dst="fd01::9", hlim=1)
        / IPv6ExtHdrFragment(offset=4, nh=17)
        / Raw(b"x" * 8),
    ],
)
def test_nobody_is_told_of_what_must_not_be_answered(bed: Bed, packet: Packet) -> None:
    answering(bed, ("ip4 && ip.ttl == 1", TTL4), ("ip6 && ip.ttl == 1", TTL6))
    bed.send("p1", bytes(Ether(src=mac(1), dst=ROUTER) / packet))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_NO_REPLY) == 1 == bed.all_dropped()


def test_an_error_does_not_keep_the_original_from_its_way(bed: Bed) -> None:
    """Small enough to be put aside, it goes on after the error has left."""
    answering(bed, ("ip4", TTL4 + ' ip4.dst = 9.9.9.9; outport = "vm2"; output;'))
    sent = udp4(100)
    bed.send("p1", bytes(sent))
    got = dict(bed.received(2))
    assert with_right_sums(got["p1"]) == got["p1"]
    assert got["p1"][42:] == bytes(sent)[14:]
    sent[IP].dst = "9.9.9.9"
    assert got["p2"] == bytes(sent)


def test_an_original_too_large_to_put_aside_wins_over_its_error(bed: Bed) -> None:
    answering(bed, ("ip4", TTL4 + ' outport = "vm2"; output;'))
    sent = bytes(udp4(1000))
    bed.send("p1", sent)
    assert bed.received(1) == [("p2", sent)]
    assert bed.dropped(lib.DROP_NO_REPLY) == 1 == bed.all_dropped()


def test_an_error_to_a_group_reaches_each_member(bed: Bed) -> None:
    bed.plug(1, 2, 3)
    bed.group(32768, "_MC_flood", (2, 3))
    bed.flow(0, 0, 0, "ip4", 'icmp4 { outport = "_MC_flood"; output; };')
    bed.flow(1, 0, 10, 'outport == "vm3"', "ip.ttl = 7; output;")
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send("p1", bytes(udp4(20)))
    got = dict(bed.received(2))
    assert {name: Ether(data)[IP].ttl for name, data in got.items()} == {"p2": 255, "p3": 7}
    for data in got.values():
        assert with_right_sums(data) == data
        assert (Ether(data)[ICMP].type, Ether(data)[ICMP].code) == (3, 3)  # of UDP


# --- resets and reject ------------------------------------------------------------


def tcp(flags: str, payload: bytes = b"", v6: bool = False, **fields: object) -> Packet:
    ip = IPv6(src="fd00::1", dst="fd01::9") if v6 else IP(src="10.0.0.1", dst="10.1.0.9")
    segment = TCP(sport=1000, dport=80, flags=flags, seq=0xFFFFFFFE, ack=77, **fields)
    return Ether(src=mac(1), dst=ROUTER) / ip / segment / Raw(payload)


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize(
    ("flags", "payload", "seq", "ack", "answer"),
    [
        ("S", b"", 0, 0xFFFFFFFF, "RA"),
        ("SF", b"abc", 0, 3, "RA"),
        ("A", b"abc", 77, 0, "R"),
        ("", b"abcd", 0, 2, "RA"),
    ],
)
def test_reject_resets_tcp(
    bed: Bed, v6: bool, flags: str, payload: bytes, seq: int, ack: int, answer: str
) -> None:
    answering(bed, ("tcp", f"reject {{ {BACK} }};"))
    data, got = asked(bed, tcp(flags, payload, v6, options=[("MSS", 1460)]))
    segment = got[TCP]
    assert (got.src, got.dst) == (ROUTER, mac(1))
    assert (segment.sport, segment.dport, segment.seq, segment.ack) == (80, 1000, seq, ack)
    assert str(segment.flags) == answer
    ip = got[IPv6] if v6 else got[IP]
    assert (ip.src, ip.dst) == (("fd01::9", "fd00::1") if v6 else ("10.1.0.9", "10.0.0.1"))
    assert with_right_sums(data) == data
    assert len(data) == (74 if v6 else 54)


def test_a_reset_is_never_answered(bed: Bed) -> None:
    answering(bed, ("tcp", f"reject {{ {BACK} }};"))
    bed.send("p1", bytes(tcp("R")))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_NO_REPLY) == 1 == bed.all_dropped()


def test_reject_tells_udp_of_the_port_and_others_of_the_host(bed: Bed) -> None:
    answering(bed, ("ip", f"reject {{ {BACK} }};"))
    _, got = asked(bed, udp4(8))
    assert (got[ICMP].type, got[ICMP].code, got[IP].src) == (3, 3, "10.1.0.9")
    echo = Ether(src=mac(1), dst=ROUTER) / IP(src="10.0.0.1", dst="10.1.0.9") / ICMP()
    _, got = asked(bed, echo)
    assert (got[ICMP].type, got[ICMP].code) == (3, 1)
    data, got = asked(bed, udp6(8))
    assert (got[ICMPv6DestUnreach].code, got[IPv6].src) == (4, "fd01::9")
    assert with_right_sums(data) == data


def test_reject_on_the_way_in_leaves_by_the_port_it_came_from(bed: Bed) -> None:
    """As northd writes it for from-lport: straight into the egress pipeline."""
    actions = "reg0 = 0; reject { outport <-> inport; next(pipeline=egress,table=5); };"
    answering(bed, ("udp", actions))
    bed.flow(1, 5, 0, "1", "output;")
    bed.flows_live()
    _, found = asked(bed, udp4(100))
    assert found[Ether].dst == mac(1)
    assert (found[ICMP].type, found[ICMP].code) == (3, 3)


# --- SCTP -----------------------------------------------------------------------------


def sctp(v6: bool, tag: int, chunk: Packet) -> Packet:
    ip = IPv6(src="fd00::1", dst="fd01::9") if v6 else IP(src="10.0.0.1", dst="10.1.0.9")
    segment = SCTP(sport=1000, dport=80, tag=tag) / chunk
    return Ether(bytes(Ether(src=mac(1), dst=ROUTER) / ip / segment))


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize(
    ("tag", "chunk", "answered", "reflected"),
    [
        (0, SCTPChunkInit(init_tag=0x12345678), 0x12345678, 0),
        (77, SCTPChunkInit(init_tag=0x12345678), 77, 1),
        (0xDEADBEEF, SCTPChunkData(data=b"hello world!"), 0xDEADBEEF, 1),
    ],
)
def test_reject_aborts_sctp(
    bed: Bed, v6: bool, tag: int, chunk: Packet, answered: int, reflected: int
) -> None:
    """RFC 9260, section 8.4, items 3 and 8."""
    answering(bed, ("sctp", f"reject {{ {BACK} }};"))
    data, got = asked(bed, sctp(v6, tag, chunk))
    ip = got[IPv6] if v6 else got[IP]
    assert (ip.src, ip.dst) == (("fd01::9", "fd00::1") if v6 else ("10.1.0.9", "10.0.0.1"))
    header, abort = got[SCTP], got[SCTPChunkAbort]
    assert (header.sport, header.dport, header.tag) == (80, 1000, answered)
    assert (abort.TCB, abort.len) == (reflected, 4)
    assert len(data) == 14 + (40 if v6 else 20) + 16
    assert with_right_sums(data) == data


def test_an_abort_is_never_answered(bed: Bed) -> None:
    answering(bed, ("sctp", f"reject {{ {BACK} }};"))
    bed.send("p1", bytes(sctp(False, 77, SCTPChunkAbort())))
    bed.send("p1", bytes(sctp(False, 0, SCTPChunkInit()))[:-16])  # cut within the chunk
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_NO_REPLY) >= 1
    assert bed.all_dropped() == 2


# --- echo ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 56, 1400])
def test_a_router_answers_echo_by_moving_fields(bed: Bed, size: int) -> None:
    back = "flags.loopback = 1; outport = inport; output;"
    answering(
        bed,
        ("icmp4.type == 8", "eth.dst <-> eth.src; ip4.dst <-> ip4.src; ip.ttl = 255; "
         f"icmp4.type = 0; {back}"),
        ("icmp6.type == 128", "eth.dst <-> eth.src; ip6.dst <-> ip6.src; ip.ttl = 255; "
         f"icmp6.type = 129; {back}"),
    )  # fmt: skip
    ether = Ether(src=mac(1), dst=ROUTER)
    data, got = asked(
        bed, ether / IP(src="10.0.0.1", dst="10.0.0.254") / ICMP(seq=5) / Raw(b"e" * size)
    )
    assert (got[ICMP].type, got[ICMP].seq, got[IP].src, got[IP].ttl) == (0, 5, "10.0.0.254", 255)
    assert with_right_sums(data) == data
    data, got = asked(
        bed,
        ether / IPv6(src="fd00::1", dst="fd00::fe") / ICMPv6EchoRequest(seq=6, data=b"e" * size),
    )
    assert (got[ICMPv6EchoReply].seq, got[IPv6].src, got[IPv6].hlim) == (6, "fd00::fe", 255)
    assert with_right_sums(data) == data
