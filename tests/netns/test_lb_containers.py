# SPDX-License-Identifier: Apache-2.0
"""Load balancing between containers: ports behind other ports, told apart by VLAN tags.

    c1 (in vm1, tag 10) - sw1 - lr0 - sw2
    c2 (in vm2, tag 20) -'

See tests.support.containers for how frames come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP
from scapy.packet import Packet, Raw

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.balancers import add, change, endpoint, remove_all
from tests.support.containers import Container, Inside

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 20.0.0.0/24, ipv6: "fd20::/64"}
  sw2: {ipv4: 30.0.0.0/24, ipv6: "fd30::/64"}
routers:
  lr0:
    ports:
      lr0-sw1: {switch: sw1, mac: "0e:00:00:00:00:01", networks: [20.0.0.1/24, "fd20::1/64"]}
      lr0-sw2: {switch: sw2, mac: "0e:00:00:00:00:02", networks: [30.0.0.1/24, "fd30::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
nbctl:
  - lsp-add sw1 c1 vm1 10
  - lsp-set-addresses c1 "40:54:00:00:00:03 20.0.0.3 fd20::3"
  - lsp-add sw1 c2 vm2 20
  - lsp-set-addresses c2 "40:54:00:00:00:04 20.0.0.4 fd20::4"
"""
VERSIONS = (4, 6)
ROUTER_MAC = "0e:00:00:00:00:01"
ROUTER = {4: "20.0.0.1", 6: "fd20::1"}
VIP = {4: "30.0.0.10", 6: "fd30::10"}
C1 = Container("vm1", 10, "40:54:00:00:00:03", {4: "20.0.0.3", 6: "fd20::3"})
C2 = Container("vm2", 20, "40:54:00:00:00:04", {4: "20.0.0.4", 6: "fd20::4"})


@pytest.fixture(scope="module", autouse=True)
def ready(bed: Sandbox) -> None:
    talk.warm(bed, ("vm1", "vm2"))
    for container in ("c1", "c2"):
        bed.wait_up(container)


@pytest.fixture
def ends(bed: Sandbox) -> Iterator[tuple[Inside, Inside]]:
    conntrack.flush(bed)
    with Inside(bed, C1) as first, Inside(bed, C2) as second:
        yield first, second
    remove_all(bed)


def balance(bed: Sandbox, protocol: str, version: int) -> None:
    backend = endpoint(C2.addresses[version], 80)
    add(bed, "lb", {endpoint(VIP[version], 80): [backend]}, "ls:sw1", "ls:sw2", protocol=protocol)


def network(version: int, source: str, target: str) -> Packet:
    return IP(src=source, dst=target) if version == 4 else IPv6(src=source, dst=target)


def addressed(frame: Any, version: int) -> tuple[str, str]:
    layer = frame[IP] if version == 4 else frame[IPv6]
    return layer.src, layer.dst


def connects(
    bed: Sandbox, ends: tuple[Inside, Inside], version: int, target: str, port: int
) -> None:
    """c1 opens a TCP connection to target:80, behind which is c2, and says something."""
    client, server = ends
    mine, theirs = C1.addresses[version], C2.addresses[version]
    to = C2.mac if target == theirs else ROUTER_MAC

    def said(text: bytes, wanted: str, **fields: Any) -> Any:
        """A segment of c1 and what c2 sees of it; sent again where it may be lost, as TCP
        does, so that what comes twice is skipped."""
        packet = network(version, mine, target) / TCP(sport=port, dport=80, **fields) / Raw(text)
        for wait in traffic.tries(bed):
            client.send(packet, to)
            while (seen := server.receive(TCP, wait)) is not None:
                if seen[TCP].flags == wanted and bytes(seen[TCP].payload) == text:
                    return seen
        return None

    syn = said(b"", "S", flags="S", seq=100)
    assert syn is not None
    assert addressed(syn, version) == (mine, theirs)
    assert (syn[TCP].sport, syn[TCP].dport) == (port, 80)
    answer = network(version, theirs, mine) / TCP(
        sport=80, dport=port, flags="SA", seq=900, ack=101
    )
    for wait in traffic.tries(bed):
        server.send(answer, C1.mac)
        if (got := client.receive(TCP, wait)) is not None:
            break
    assert got is not None
    assert addressed(got, version) == (target, mine)
    assert (got[TCP].sport, got[TCP].ack) == (80, 101)
    assert said(b"", "A", flags="A", seq=101, ack=901) is not None
    assert said(b"hello", "PA", flags="PA", seq=101, ack=901) is not None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guarded", [False, True])
def test_tcp_by_the_virtual_address_and_past_it(
    bed: Sandbox, ends: tuple[Inside, Inside], guarded: bool, version: int
) -> None:
    balance(bed, "tcp", version)
    if guarded:
        change(bed, "acl-add", "sw1", "to-lport", "2002", "ip", "allow-related")
    connects(bed, ends, version, C2.addresses[version], 5001)
    connects(bed, ends, version, VIP[version], 5002)


@pytest.mark.parametrize("version", VERSIONS)
def test_udp_by_the_virtual_address(
    bed: Sandbox, ends: tuple[Inside, Inside], version: int
) -> None:
    client, server = ends
    mine, theirs = C1.addresses[version], C2.addresses[version]
    balance(bed, "udp", version)
    question = UDP(sport=5003, dport=80) / Raw(b"question")

    def crosses(send: Callable[[], None], to: Inside) -> Any:
        """A packet at the other end; sent again where Open vSwitch may have lost it."""
        for wait in traffic.tries(bed):
            send()
            if (found := to.receive(UDP, wait)) is not None:
                return found
        return None

    packet = network(version, mine, VIP[version]) / question
    asked = crosses(lambda: client.send(packet, ROUTER_MAC), server)
    assert asked is not None
    assert addressed(asked, version) == (mine, theirs)
    answer = UDP(sport=80, dport=5003) / Raw(b"answer")
    back = network(version, theirs, mine) / answer
    answered = crosses(lambda: server.send(back, C1.mac), client)
    assert answered is not None
    assert addressed(answered, version) == (VIP[version], mine)


def test_containers_find_their_router(ends: tuple[Inside, Inside]) -> None:
    client, _ = ends
    mine = C1.addresses[4]
    question = ARP(hwsrc=C1.mac, psrc=mine, pdst=ROUTER[4])
    answer = client.asks(question, "ff:ff:ff:ff:ff:ff", ARP)
    assert answer is not None
    assert (answer[ARP].hwsrc, answer[ARP].psrc) == (ROUTER_MAC, ROUTER[4])
    ask = IPv6(src=C1.addresses[6], dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=ROUTER[6])
    ask = ask / ICMPv6NDOptSrcLLAddr(lladdr=C1.mac)
    found = client.asks(ask, "33:33:ff:00:00:01", ICMPv6ND_NA)
    assert found is not None
    assert found[ICMPv6ND_NA].tgt == ROUTER[6]
