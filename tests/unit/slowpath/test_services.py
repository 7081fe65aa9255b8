# SPDX-License-Identifier: Apache-2.0
"""Service monitors: probes as ovn-controller sends them, and what answers mean."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPerror6,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.services import Services

OURS = {4: "10.0.0.254", 6: "fd00::254"}
THEIRS = {4: "10.0.0.2", 6: "fd00::2"}
DP, PORT, ENTRY = 5, 7, 8
NETWORK: dict[int, type[Packet]] = {4: IP, 6: IPv6}


def packed(address: str) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address).hex()


def watching(protocol: str, version: int, out: int = PORT, failures: int = 1) -> Services:
    """A duty with one service."""
    row: dict[str, Any] = {
        "dp": DP, "port": PORT, "out": out, "protocol": protocol,
        "number": 0 if protocol == "icmp" else 80,
        "ip": packed(THEIRS[version]), "src_ip": packed(OURS[version]),
        "mac": "020000000001", "src_mac": "020000000002",
        "interval": 5, "timeout": 3, "success_count": 1, "failure_count": failures,
    }  # fmt: skip
    duty = Services()
    duty.learnt(Knowledge(facts={"services": duty.hears()["services"]({"row": row})}))
    return duty


def probe(duty: Services) -> Packet:
    """The next one, checked as far as all are alike."""
    [punt] = duty.run(duty.due)
    assert (punt.pc, punt.table) == (0, lib.OVN_PUNT_OUTPUT)
    assert (punt.words[lib.OW_DP], punt.words[lib.OW_INPORT]) == (DP, 0)
    assert punt.words[lib.OW_FLAGS] == lib.MLF_LOCAL_ONLY
    packet = Ether(punt.frame)
    assert (packet.src, packet.dst) == ("02:00:00:00:00:02", "02:00:00:00:00:01")
    assert bytes(rebuilt(packet)) == punt.frame
    return packet


def rebuilt(packet: Packet) -> Packet:
    """With lengths and checksums of scapy's, but for UDP's over IPv4, which is none."""
    made = Ether(bytes(packet))
    for layer in (IP, IPv6, TCP, UDP, ICMP, ICMPv6EchoRequest):
        for name in ("len", "plen", "chksum", "cksum"):
            if made.haslayer(layer) and name in made[layer].fields:
                made[layer].delfieldval(name)
    if made.haslayer(UDP) and made.haslayer(IP):
        made[UDP].chksum = 0
    return made


def status(duty: Services) -> str:
    return str(duty.reports()["services"].get("row", ""))


def heard(duty: Services, packet: Packet, port: int = PORT) -> list[Punt]:
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT] = DP, port
    return list(duty.receive(Punt(bytes(Ether() / packet), tuple(words)), {}, Knowledge()))


def back(version: int) -> Packet:
    return NETWORK[version](src=THEIRS[version], dst=OURS[version])


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_is_half_opened_and_reset(version: int) -> None:
    duty = watching("tcp", version)
    syn = probe(duty)[TCP]
    assert (syn.dport, str(syn.flags), syn.window, syn.ack) == (80, "S", 65160, 0)
    answer = TCP(sport=80, dport=syn.sport, flags="SA", seq=99, ack=syn.seq + 1)
    [reset] = heard(duty, back(version) / answer)
    tcp = Ether(reset.frame)[TCP]
    assert (str(tcp.flags), tcp.seq, tcp.dport) == ("R", (syn.seq + 1) & 0xFFFFFFFF, 80)
    assert status(duty) == "online"
    syn = probe(duty)[TCP]
    answer = TCP(sport=80, dport=syn.sport, flags="RA", ack=syn.seq + 1)
    assert not heard(duty, back(version) / answer)
    assert status(duty) == "offline"


@pytest.mark.parametrize("version", [4, 6])
def test_udp_is_online_until_icmp_says_otherwise(version: int) -> None:
    duty = watching("udp", version)
    sent = probe(duty)
    assert (sent[UDP].dport, sent[UDP].len) == (80, 16)
    assert not list(duty.run(duty.due))
    assert status(duty) == "online"
    sport = probe(duty)[UDP].sport
    assert sport == sent[UDP].sport
    quoted = UDPerror(sport=sport, dport=80)
    if version == 4:
        error = ICMP(type=3, code=3) / IPerror(src=OURS[4], dst=THEIRS[4]) / quoted
    else:
        error = ICMPv6DestUnreach(code=4) / IPerror6(src=OURS[6], dst=THEIRS[6]) / quoted
    heard(duty, back(version) / error)
    assert status(duty) == "offline"


@pytest.mark.parametrize("version", [4, 6])
def test_icmp_is_echoed(version: int) -> None:
    duty = watching("icmp", version)
    asked = probe(duty)
    if version == 4:
        echo = ICMP(type=0, id=asked[ICMP].id, seq=asked[ICMP].seq)
    else:
        request = asked[ICMPv6EchoRequest]
        echo = ICMPv6EchoReply(id=request.id, seq=request.seq)
    heard(duty, back(version) / echo)
    assert status(duty) == "online"
    probe(duty)
    with pytest.raises(RejectedError, match="not asked for"):
        heard(duty, back(version) / echo)
    assert not list(duty.run(duty.due))
    assert status(duty) == "offline"


def test_a_network_function_hands_the_request_on() -> None:
    duty = watching("icmp", 4, out=ENTRY)
    [punt] = duty.run(duty.due)
    assert punt.words[lib.OW_OUTPORT] == ENTRY
    heard(duty, Ether(punt.frame)[IP])
    assert status(duty) == "online"


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (TCP(sport=81, flags="SA"), "no service here"),
        (TCP(sport=80, flags="SA", ack=5), "not asked for"),
        (UDP(sport=80), "another protocol"),
        (ICMP(type=3, code=3) / IPerror(src=OURS[4], dst=THEIRS[4]) / TCP(), "no datagram"),
        (ICMP(type=0), "no service here"),
    ],
)
def test_other_packets_are_rejected(packet: Packet, why: str) -> None:
    duty = watching("tcp", 4)
    probe(duty)
    with pytest.raises(RejectedError, match=why):
        heard(duty, back(4) / packet)
    assert status(duty) == ""


def test_a_server_elsewhere_is_not_it() -> None:
    duty = watching("tcp", 4)
    syn = probe(duty)[TCP]
    answer = TCP(sport=80, dport=syn.sport, flags="SA", ack=syn.seq + 1)
    with pytest.raises(RejectedError, match="no service here"):
        heard(duty, back(4) / answer, port=ENTRY)
