# SPDX-License-Identifier: Apache-2.0
"""Translated connections: tuples, ports, replies, errors about them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPerror6,
    IPv6,
)
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from tests.support.tracked import UNDO, Tracked, bits, tracked, translate, undo
from tests.support.tracked import ct as look

SRC, DST, NULL = lib.OVN_CT_SRC, lib.OVN_CT_DST, lib.OVN_CT_NULL_SNAT


@pytest.fixture(name="ct", scope="module")
def _ct() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(ct: Tracked) -> None:
    ct.forget(7, 8)


def udp(src: str, sport: int, dst: str, dport: int) -> Packet:
    if ":" in src:
        return IPv6(src=src, dst=dst) / UDP(sport=sport, dport=dport) / b"data"
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / b"data"


def tuple_of(packet: Packet) -> tuple[str, int, str, int]:
    layer = packet[UDP] if UDP in packet else packet[TCP]
    return packet.src, layer.sport, packet.dst, layer.dport


def sums_are_right(packet: Packet) -> bool:
    again = packet.copy()
    for layer, field in ((IP, "chksum"), (UDP, "chksum"), (TCP, "chksum"), (ICMP, "chksum")):
        if layer in again:
            delattr(again[layer], field)
    return bytes(packet) == bytes(again)


def test_a_source_is_translated_and_its_replies_back(ct: Tracked) -> None:
    out = ct.send(udp("10.0.0.1", 1000, "8.8.8.8", 53), translate(SRC, "192.0.2.1"))
    assert out.state == bits("new trk snat")
    assert tuple_of(out.sent) == ("192.0.2.1", 1000, "8.8.8.8", 53)
    assert sums_are_right(out.sent)
    back = ct.send(udp("8.8.8.8", 53, "192.0.2.1", 1000), UNDO)
    assert back.state == bits("est rpl trk dnat")
    assert tuple_of(back.sent) == ("8.8.8.8", 53, "10.0.0.1", 1000)
    assert sums_are_right(back.sent)
    again = ct.send(udp("10.0.0.1", 1000, "8.8.8.8", 53), translate(SRC, "192.0.2.99"))
    assert again.state == bits("est trk snat")
    assert tuple_of(again.sent) == ("192.0.2.1", 1000, "8.8.8.8", 53)


def test_a_destination_is_translated_and_its_replies_back(ct: Tracked) -> None:
    out = ct.send(udp("10.0.0.1", 1000, "30.0.0.1", 80), translate(DST, "10.0.0.9", (8080, 8080)))
    assert out.state == bits("new trk dnat")
    assert tuple_of(out.sent) == ("10.0.0.1", 1000, "10.0.0.9", 8080)
    back = ct.send(udp("10.0.0.9", 8080, "10.0.0.1", 1000), UNDO)
    assert back.state == bits("est rpl trk snat")
    assert tuple_of(back.sent) == ("30.0.0.1", 80, "10.0.0.1", 1000)


def test_ipv6_is_translated_alike(ct: Tracked) -> None:
    out = ct.send(udp("fd00::1", 5, "fd01::1", 6), translate(SRC, "fd02::1"))
    assert tuple_of(out.sent) == ("fd02::1", 5, "fd01::1", 6)
    back = ct.send(udp("fd01::1", 6, "fd02::1", 5), UNDO)
    assert tuple_of(back.sent) == ("fd01::1", 6, "fd00::1", 5)
    assert back.state == bits("est rpl trk dnat")


def test_a_source_port_that_is_taken_becomes_another(ct: Tracked) -> None:
    seen = set()
    for host in range(1, 21):
        out = ct.send(udp(f"10.0.0.{host}", 5000, "8.8.8.8", 53), translate(SRC, "192.0.2.1"))
        source, port, *_ = tuple_of(out.sent)
        assert source == "192.0.2.1" and port >= 1024
        seen.add(port)
        back = ct.send(udp("8.8.8.8", 53, "192.0.2.1", port), UNDO)
        assert tuple_of(back.sent) == ("8.8.8.8", 53, f"10.0.0.{host}", 5000)
    assert len(seen) == 20 and 5000 in seen


@pytest.mark.parametrize("ports", [(2000, 2003), (2000, 2000)])
def test_a_range_of_ports_is_used_up_and_no_more(ct: Tracked, ports: tuple[int, int]) -> None:
    size = ports[1] - ports[0] + 1
    how = translate(SRC, "192.0.2.1", ports)
    full = ct.dropped().get("no free address and port to translate to", 0)
    seen = {
        tuple_of(ct.send(udp(f"10.0.0.{host}", 9, "8.8.8.8", 53), how).sent)[1]
        for host in range(1, size + 1)
    }
    assert seen == set(range(ports[0], ports[1] + 1))
    assert ct.send(udp("10.0.0.99", 9, "8.8.8.8", 53), how).packet is None
    assert ct.dropped()["no free address and port to translate to"] == full + 1
    assert len(ct.connections()) == size


def test_low_ports_stay_low(ct: Tracked) -> None:
    for host, port in ((1, 500), (2, 500), (3, 700), (4, 700)):
        ct.send(udp(f"10.0.0.{host}", port, "8.8.8.8", 53), translate(SRC, "192.0.2.1"))
    ports = sorted(each.reply.dport for each in ct.connections())
    assert len(set(ports)) == 4
    assert ports[1] <= 511 and 600 <= ports[2] and ports[3] <= 1023


def test_a_free_source_of_an_untranslated_connection_is_kept(ct: Tracked) -> None:
    out = ct.send(udp("10.0.0.1", 77, "8.8.8.8", 53), translate(NULL, "0.0.0.0"))
    assert tuple_of(out.sent) == ("10.0.0.1", 77, "8.8.8.8", 53)


def test_the_source_port_gives_way_when_the_reply_is_anothers(ct: Tracked) -> None:
    """Through a VIP and directly to its backend, from one client port."""
    vip = ct.send(udp("10.0.0.1", 77, "30.0.0.1", 80), translate(DST, "10.0.0.9", (80, 80)))
    assert tuple_of(vip.sent) == ("10.0.0.1", 77, "10.0.0.9", 80)
    direct = ct.send(udp("10.0.0.1", 77, "10.0.0.9", 80), translate(NULL, "0.0.0.0"))
    source, port, *rest = tuple_of(direct.sent)
    assert (source, *rest) == ("10.0.0.1", "10.0.0.9", 80) and port != 77
    back = ct.send(udp("10.0.0.9", 80, "10.0.0.1", port), UNDO)
    assert tuple_of(back.sent) == ("10.0.0.9", 80, "10.0.0.1", 77)
    back = ct.send(udp("10.0.0.9", 80, "10.0.0.1", 77), UNDO)
    assert tuple_of(back.sent) == ("30.0.0.1", 80, "10.0.0.1", 77)


@pytest.mark.parametrize("family", [4, 6])
def test_echo_identifiers_that_are_taken_become_others(ct: Tracked, family: int) -> None:
    def ping(host: int) -> Packet:
        if family == 6:
            return IPv6(src=f"fd00::{host}", dst="fd01::1") / ICMPv6EchoRequest(id=7, seq=1)
        return IP(src=f"10.0.0.{host}", dst="8.8.8.8") / ICMP(type=8, id=7, seq=1)

    def pong(ident: int) -> Packet:
        if family == 6:
            return IPv6(src="fd01::1", dst="fd02::1") / ICMPv6EchoReply(id=ident, seq=1)
        return IP(src="8.8.8.8", dst="192.0.2.1") / ICMP(type=0, id=ident, seq=1)

    there = "fd02::1" if family == 6 else "192.0.2.1"
    idents = {}
    for host in (1, 2, 3):
        out = ct.send(ping(host), translate(SRC, there)).sent
        assert out.src == there
        idents[host] = out[ICMPv6EchoRequest].id if family == 6 else out[ICMP].id
    assert len(set(idents.values())) == 3
    for host, ident in idents.items():
        back = ct.send(pong(ident), UNDO)
        assert back.state == bits("est rpl trk dnat")
        assert back.sent.dst == (f"fd00::{host}" if family == 6 else f"10.0.0.{host}")
        assert (back.sent[ICMPv6EchoReply] if family == 6 else back.sent[ICMP]).id == 7


def test_an_error_about_a_translated_packet_goes_back_to_its_sender(ct: Tracked) -> None:
    out = ct.send(udp("10.0.0.1", 1000, "8.8.8.8", 53), translate(SRC, "192.0.2.1", (4000, 4000)))
    error = IP(src="203.0.113.9", dst="192.0.2.1") / ICMP(type=3, code=1) / out.sent
    back = ct.send(error, UNDO)
    assert back.state == bits("rel rpl trk dnat")
    assert (back.sent.src, back.sent.dst) == ("203.0.113.9", "10.0.0.1")
    quoted, ports = back.sent[IPerror], back.sent[UDPerror]
    assert (quoted.src, quoted.dst) == ("10.0.0.1", "8.8.8.8")
    assert (ports.sport, ports.dport) == (1000, 53)


def test_an_error_about_a_balanced_reply_goes_to_the_backend(ct: Tracked) -> None:
    ct.send(udp("10.0.0.1", 1000, "30.0.0.1", 80), translate(DST, "10.0.0.9", (8080, 8080)))
    reply = ct.send(udp("10.0.0.9", 8080, "10.0.0.1", 1000), UNDO).sent
    error = IP(src="10.0.0.1", dst="30.0.0.1") / ICMP(type=3, code=3) / reply
    out = ct.send(error, UNDO)
    assert out.state == bits("rel trk dnat")
    assert (out.sent.src, out.sent.dst) == ("10.0.0.1", "10.0.0.9")
    assert (out.sent[IPerror].src, out.sent[IPerror].dst) == ("10.0.0.9", "10.0.0.1")
    assert (out.sent[UDPerror].sport, out.sent[UDPerror].dport) == (8080, 1000)


def test_an_ipv6_error_is_translated_alike(ct: Tracked) -> None:
    out = ct.send(udp("fd00::1", 5, "fd01::1", 6), translate(SRC, "fd02::1"))
    error = IPv6(src="fd03::1", dst="fd02::1") / ICMPv6DestUnreach(code=3) / out.sent
    back = ct.send(error, UNDO)
    assert back.state == bits("rel rpl trk dnat")
    assert back.sent.dst == "fd00::1"
    assert (back.sent[IPerror6].src, back.sent[IPerror6].dst) == ("fd00::1", "fd01::1")


@pytest.mark.parametrize(
    "quoted",
    [
        udp("192.0.2.1", 1, "8.8.8.8", 53),  # no such connection
        udp("10.0.0.1", 1000, "8.8.8.8", 53),  # to somebody else than it quotes
        IP(src="192.0.2.1", dst="8.8.8.8") / ICMP(type=3, code=1) / b"12345678",
    ],
)
def test_an_error_about_nothing_that_is_known_is_invalid(ct: Tracked, quoted: Packet) -> None:
    ct.send(udp("10.0.0.1", 1000, "8.8.8.8", 53), translate(SRC, "192.0.2.1"))
    error = IP(src="203.0.113.9", dst="192.0.2.1") / ICMP(type=3, code=1) / quoted
    assert ct.send(error, UNDO).state == bits("inv trk")


def test_what_is_translated_once_in_a_zone_is_not_again(ct: Tracked) -> None:
    twice = [*translate(SRC, "192.0.2.1"), *UNDO]
    out = ct.send(udp("10.0.0.1", 1000, "8.8.8.8", 53), twice)
    assert out.state == bits("new trk snat")
    assert tuple_of(out.sent) == ("192.0.2.1", 1000, "8.8.8.8", 53)
    assert [each.packets for each in ct.connections()] == [(1, 0)]


def test_zones_translate_one_after_the_other(ct: Tracked) -> None:
    """As a gateway router does: destination in one zone, source in another."""
    there = [
        *translate(DST, "10.0.0.9", (8080, 8080)),
        *translate(SRC, "10.0.0.254", zone=8),
    ]
    back = [*undo(8), *undo(7)]
    out = ct.send(udp("10.0.0.1", 1000, "30.0.0.1", 80), there)
    assert tuple_of(out.sent) == ("10.0.0.254", 1000, "10.0.0.9", 8080)
    reply = ct.send(udp("10.0.0.9", 8080, "10.0.0.254", 1000), back)
    assert tuple_of(reply.sent) == ("30.0.0.1", 80, "10.0.0.1", 1000)
    assert {each.zone for each in ct.connections()} == {7, 8}


def test_an_error_that_was_only_looked_up_is_translated_later(ct: Tracked) -> None:
    """As routers do: ct_next, and ct_commit_nat in the same zone for what is related."""
    out = ct.send(udp("10.0.0.1", 1000, "8.8.8.8", 53), translate(SRC, "192.0.2.1"))
    error = IP(src="203.0.113.9", dst="192.0.2.1") / ICMP(type=3, code=1) / out.sent
    back = ct.send(error, [*look(), *UNDO])
    assert back.sent.dst == "10.0.0.1"
    assert back.sent[IPerror].src == "10.0.0.1"
