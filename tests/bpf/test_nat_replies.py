# SPDX-License-Identifier: Apache-2.0
"""Answers about translated packets: they go back translated, and quote what their
receiver had sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller.model import Port, PortKind
from tests.support.dataplane import Bed
from tests.support.sums import assert_right, pseudo_sum, transport
from tests.support.taps import Tap
from tests.support.translation import CLIENT, OTHER, SERVER, SHOWN, VERSIONS, ip, translating

PORT = 1234
BACK = "next(pipeline=ingress, table=3); "


@pytest.fixture(name="router")
def _router(bed: Bed) -> Iterator[tuple[Bed, Tap, Tap]]:
    """vm1 may not reach the server: it is told so, after it was translated."""
    translating(bed)
    taps = Tap("tap1"), Tap("tap2")
    for number, tap in enumerate(taps, 1):
        bed.attach(tap.name, tap.ifindex, "ovn_vif")
        bed.apply(ports_added=[Port(2, number, PortKind.VIF, ifindex=tap.ifindex)])
    bed.flow(0, 1, 30, 'inport == "vm1" && ip.ttl == 7', f"reject {{ {BACK}}};", dp=2)
    for v in VERSIONS:
        swap = f"eth.dst <-> eth.src; ip{v}.dst <-> ip{v}.src; "
        match = f'ip{v} && inport == "vm1" && ip.ttl == 8'
        bed.flow(0, 1, 30, match, f"icmp{v} {{ {swap}{BACK}}};", dp=2)
    bed.flow(0, 3, 0, "1", "ct_snat;", dp=2)
    bed.flow(0, 4, 0, "ct.inv", "drop;", dp=2)
    bed.flow(0, 4, 0, "1", 'outport = "vm1"; flags.loopback = 1; output;', dp=2)
    bed.flows_live()
    try:
        yield bed, *taps
    finally:
        for tap in taps:
            tap.close()


def echo(version: int) -> Packet:
    return ICMP(id=PORT) if version == 4 else ICMPv6EchoRequest(id=PORT)


L4: dict[str, Callable[[int], Packet]] = {
    "udp": lambda _: UDP(sport=PORT, dport=99),
    "udp without checksum": lambda v: UDP(sport=PORT, dport=99, chksum=0 if v == 4 else None),
    "udp left to the device": lambda _: UDP(sport=PORT, dport=99),
    "tcp": lambda _: TCP(sport=PORT, dport=99, flags="S", seq=7),
    "tcp left to the device": lambda _: TCP(sport=PORT, dport=99, flags="S", seq=7),
    "echo": echo,
}


def send(tap: Tap, kind: str, packet: Packet) -> bytes:
    """Sends it; returns the IP packet as it is with all checksums filled in."""
    frame = bytearray(bytes(packet))
    finished = bytes(frame[14:])
    if "left" not in kind:
        tap.send(bytes(frame))
        return finished
    proto, l4 = transport(finished)
    at = len(frame) - len(l4)
    where = at + (16 if proto == 6 else 6)
    frame[where : where + 2] = pseudo_sum(finished, proto, len(l4))
    tap.send_offloaded(bytes(frame), at, proto=proto)
    return finished


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", list(L4))
def test_errors_of_our_own_quote_what_was_sent(
    router: tuple[Bed, Tap, Tap], kind: str, version: int
) -> None:
    bed, client, server = router
    ttl = "ttl" if version == 4 else "hlim"
    header = 20 if version == 4 else 40
    for ours in (CLIENT[version], OTHER[version]):
        for size in (0, 1, 100, 1300):
            for told in (8, 7) if "tcp" not in kind else (8,):
                l4 = L4[kind](version) / Raw(b"p" * size)
                packet = ip(version, ours, SERVER[version], **{ttl: told}) / l4
                finished = send(client, kind, packet)
                (got,) = client.received(1)
                assert_right(got)
                frame = Ether(got)
                layer = frame[IP] if version == 4 else frame[IPv6]
                assert (layer.src, layer.dst) == (SERVER[version], ours)
                quoted = bytearray(got[14 + header + 8 :])
                most = 548 if version == 4 else 1232
                if "left" in kind and len(finished) > most:
                    # The device sums what is left of the packet; nobody looks.
                    at = header + (16 if "tcp" in kind else 6)
                    quoted[at : at + 2] = finished[at : at + 2]
                assert quoted == finished[:most]
    assert server.empty()
    assert bed.all_dropped() == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["tcp", "tcp left to the device"])
def test_resets_go_to_who_was_translated(
    router: tuple[Bed, Tap, Tap], kind: str, version: int
) -> None:
    bed, client, server = router
    ttl = "ttl" if version == 4 else "hlim"
    for ours in (CLIENT[version], OTHER[version]):
        packet = ip(version, ours, SERVER[version], **{ttl: 7}) / L4[kind](version)
        send(client, kind, packet)
        (got,) = client.received(1)
        assert_right(got)
        frame = Ether(got)
        layer = frame[IP] if version == 4 else frame[IPv6]
        assert (layer.src, layer.dst) == (SERVER[version], ours)
        reset = frame[TCP]
        assert (reset.sport, reset.dport, reset.flags) == (99, PORT, "RA")
        assert (reset.seq, reset.ack) == (0, 8)
    assert server.empty()
    assert bed.all_dropped() == 0


def test_an_answer_is_about_the_translated_packet(router: tuple[Bed, Tap, Tap]) -> None:
    """The other way round: who gets it does not learn of the translation."""
    _, client, _ = router
    packet = ip(4, CLIENT[4], SERVER[4], ttl=8) / UDP(sport=PORT, dport=99)
    send(client, "udp", packet)
    (got,) = client.received(1)
    assert SHOWN[4] not in repr(Ether(got))
