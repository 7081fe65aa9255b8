# SPDX-License-Identifier: Apache-2.0
"""No packet, however mangled, does more to the slow path than be rejected and counted.

A case is a handler and good packets for it (test_watching_mangled.py has IGMP, MLD,
BFD and service checks).  `make check` mangles a share of what
`make check-long` does; `pytest -rP -m long` shows what became of them.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from scapy.layers import dhcp6
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath import advertisements, dhcp_relay, dhcpv4, dhcpv6, dns
from ovn_bpf_controller.slowpath.checksums import whole
from ovn_bpf_controller.slowpath.delegation import Delegation
from ovn_bpf_controller.slowpath.duty import Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.neighbours import MAX_HOPS, MAX_WAITING, Neighbours

SHARE, WHOLE = 2_000, 50_000  # packets of a case
MOST_BYTES = 3500  # that come back to the program
MOST_REASONS = 32

WORDS = tuple(1 if word == lib.OW_DP else 0 for word in range(lib.OVN_WORDS))
KNOWN = Knowledge(
    dhcp_options={"router": (3, "ipv4"), "lease_time": (51, "uint32")},
    dhcpv6_options={
        "server_id": (2, "mac"),
        "ia_addr": (5, "ipv6"),
        "dns_server": (23, "ipv6"),
        "domain_search": (24, "str"),
        "fqdn": (39, "domain"),
        "bootfile_name": (59, "str"),
        "bootfile_name_alt": (254, "str"),
    },
    dns={1: {"vm.ovn.org": ("10.0.0.4 aef0::4", False)}},
)
MAC = bytes.fromhex("0a0000000001")


def option(name: str, form: str, value: object) -> list[Any]:
    """An option as compile.punts says it."""
    return [name, [[form, value, None]]]


DHCPV4 = {
    "options": [
        option("offerip", "IP4", 0x0A000005),
        option("router", "IP4", 0x0A000001),
        option("lease_time", "DEC", 3600),
    ]
}
DHCPV6 = {
    "options": [
        option("server_id", "ETH", 0x0E0000000001),
        option("ia_addr", "IP6", 0xFD << 120 | 5),
        option("dns_server", "IP6", 0xFD << 120 | 0x53),
        option("domain_search", "STRING", "example.org"),
        option("fqdn", "STRING", "vm1.example.org"),
        option("bootfile_name", "STRING", "tftp://[fd00::1]/ipxe"),
        option("bootfile_name_alt", "STRING", "tftp://[fd00::1]/other"),
    ]
}
ADVERT = {
    "options": [
        option("slla", "ETH", 0x0E0000000001),
        ["prefix", [["IP6", 0xFD << 120, (1 << 128) - (1 << 64)]]],
        option("mtu", "DEC", 1400),
        option("dnssl", "STRING", "example.org"),
        option("route_info", "STRING", "HIGH-fd01::/48"),
    ]
}
RELAY = {"relay": 0x0A000001, "server": 0xAC100001}


@dataclass
class Case:
    """argument: of the verb.  answers: each packet goes on, with an answer."""

    name: str
    handler: Handler
    frames: Sequence[Packet]
    argument: dict[str, Any] = field(default_factory=dict)
    answers: bool = True
    check: Callable[[], None] = lambda: None


def discover(**fields: Any) -> Packet:
    options = [("message-type", "discover"), ("param_req_list", [1, 3]), "end"]
    network = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    return Ether() / network / BOOTP(chaddr=MAC, **fields) / DHCP(options=options)


def offer() -> Packet:
    options = [("message-type", "offer"), ("server_id", "172.16.0.1"), "end"]
    message = BOOTP(op=2, chaddr=MAC, giaddr="10.0.0.1", yiaddr="10.0.0.5") / DHCP(options=options)
    return Ether() / IP(src="172.16.0.1", dst="10.0.0.1") / UDP(sport=67, dport=67) / message


def dhcpv6_message(kind: type[Packet]) -> Packet:
    network = IPv6(src="fe80::1", dst="ff02::1:2") / UDP(sport=546, dport=547)
    message = kind(trid=0xABCDEF) / dhcp6.DHCP6OptClientId(
        duid=dhcp6.DUID_LL(lladdr="0a:0:0:0:0:1")
    )
    message = (
        message
        / dhcp6.DHCP6OptIA_NA(iaid=7)
        / dhcp6.DHCP6OptUserClass(userclassdata=[dhcp6.USER_CLASS_DATA(data=b"iPXE")])
    )
    return Ether() / network / message / dhcp6.DHCP6OptClientFQDN(fqdn=b"vm1", flags=1)


def query(network: Packet) -> Packet:
    message = DNS(id=9, rd=1, qd=DNSQR(qname="vm.ovn.org", qtype="A"))
    return Ether() / network / UDP(sport=4000, dport=53) / message


def waiting() -> Case:
    """nd_ns { } keeps what it is given, up to its bounds."""
    neighbours = Neighbours(-1)

    def check() -> None:
        assert neighbours.waiting <= MAX_HOPS * MAX_WAITING

    packet = Ether() / IPv6(src="fd00::1", dst="fd01::1") / UDP()
    return Case("nd_ns", neighbours.nd_ns, [packet], answers=False, check=check)


def delegated() -> Case:
    """Servers' messages for a client that asks for a prefix."""
    duty = Delegation()
    mac, source = 0x000002010203, 0xFE80 << 112 | 5
    said = {"dp": 1, "port": 1, "mac": mac, "source": source, "client": 9, "before": None}
    known = Knowledge(facts={"delegations": duty.hears()["delegations"]({"rp": said})})
    duty.learnt(known)
    [punt] = duty.run(time.monotonic() + 3)
    asked = Ether(punt.frame)
    frames = []
    for kind in (dhcp6.DHCP6_Advertise, dhcp6.DHCP6_Reply):
        frame = Ether(dst=asked.src) / IPv6(src="fe80::1", dst=asked[IPv6].src)
        frame = frame / UDP(sport=547, dport=546) / kind(trid=asked[dhcp6.DHCP6_Solicit].trid)
        frame = frame / dhcp6.DHCP6OptClientId(duid=asked[dhcp6.DHCP6OptClientId].duid)
        frame = frame / dhcp6.DHCP6OptServerId(duid=dhcp6.DUID_LL(lladdr="0a:00:00:00:00:01"))
        lease = dhcp6.DHCP6OptIAPrefix(prefix="2001:db8::", plen=56, preflft=300, validlft=400)
        iaid = asked[dhcp6.DHCP6OptIA_PD].iaid
        frames.append(frame / dhcp6.DHCP6OptIA_PD(iaid=iaid, T1=1, T2=2, iapdopt=[lease]))
    return Case("delegated", duty.reply, frames, answers=False)


def cases() -> list[Case]:
    solicitation = Ether() / IPv6(dst="ff02::2") / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr()
    relayed = [discover()]
    kinds = [dhcp6.DHCP6_Solicit, dhcp6.DHCP6_Request, dhcp6.DHCP6_InfoRequest]
    kinds += [dhcp6.DHCP6_Release, dhcp6.DHCP6_Decline, dhcp6.DHCP6_Renew]
    return [
        Case("dhcpv4", dhcpv4.handle, [discover()], DHCPV4),
        Case("dhcpv6", dhcpv6.handle, [dhcpv6_message(kind) for kind in kinds], DHCPV6),
        Case("relayed", dhcp_relay.request, relayed, RELAY),
        Case("returned", dhcp_relay.reply, [offer()], RELAY),
        Case("dns4", dns.handle, [query(IP(src="10.0.0.1", dst="10.0.0.2"))]),
        Case("dns6", dns.handle, [query(IPv6(src="fd00::1", dst="fd00::2"))]),
        Case("solicited", advertisements.handle, [solicitation], ADVERT),
        waiting(),
        delegated(),
    ]


def mutated(frame: bytes, rng: random.Random) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data))
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF, rng.randrange(256)))
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    if rng.random() < 0.1:
        data += rng.randbytes(rng.randrange(64))
    return bytes(data)


def mangle(case: Case, packets: int) -> None:
    """Mangled packets of a case: each goes on once, or is rejected for a reason of few."""
    rng = random.Random(5)
    frames = [bytes(frame) for frame in case.frames]
    reasons: Counter[str] = Counter()
    answered = 0
    for _ in range(packets):
        made = mutated(rng.choice(frames), rng)
        found: list[Punt] = []
        try:
            for punt in case.handler(Punt(made, WORDS), case.argument, KNOWN):
                found.append(punt)
        except RejectedError as error:
            reasons[str(error)] += 1
            if case.answers:
                assert [(punt.answer, punt.frame) for punt in found] == [(0, made)]
        assert len(found) == 1 if case.answers else len(found) <= 1
        answered += sum(punt.answer for punt in found)
        assert all(len(whole(punt.frame)) <= MOST_BYTES for punt in found)
    if case.answers:
        assert 0 < answered < packets
        assert answered + reasons.total() == packets
    assert len(reasons) <= MOST_REASONS and not any(re.search(r"\d\d", r) for r in reasons)
    case.check()
    told = (f"{count} {reason};" for reason, count in reasons.most_common())
    print(f"{case.name}: {packets} packets: {answered} answered;", *told)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_share_of_mangled_packets(case: Case) -> None:
    mangle(case, SHARE)


@pytest.mark.long
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_all_mangled_packets(case: Case) -> None:
    mangle(case, WHOLE)
