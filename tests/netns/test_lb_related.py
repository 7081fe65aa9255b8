# SPDX-License-Identifier: Apache-2.0
"""ICMP errors about balanced packets: both their headers and what they quote are
translated, or the other side's kernel would not know what they are about.

    client - ls0 - lr (on hv1) - ls1 - server (on hv2)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPerror
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPerror6, IPv6
from scapy.layers.l2 import Ether

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk, traffic
from tests.support.balancers import add, address, change, endpoint, remove_all, tracked

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  client: {switch: ls0, chassis: hv1}
  server: {switch: ls1, chassis: hv2}
$balancing_router
"""
VERSIONS = (4, 6)
OWNERS = ("ls:ls0", "lr:lr")
VIP = {4: "192.168.20.20", 6: "fd20::20"}
ROUTER = {4: "192.168.20.1", 6: "fd20::1"}  # of lr in ls1
PORT, CLIENT_PORT, MTU = 2000, 1000, 1400


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("client", "server"))
    with servers.Servers(bed) as everybody:
        everybody.serve("server", PORT)
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    bed.nbctl("remove", "logical_router", "lr", "options", "lb_force_snat_ip")
    remove_all(bed)


def balance(bed: Sandbox, owner: str, ported: bool, version: int) -> None:
    port = PORT if ported else 0
    server = endpoint(address(bed, "server", version), port)
    add(bed, "lb", {endpoint(VIP[version], port): [server]}, owner, protocol="udp")


def too_big(bed: Sandbox, version: int) -> bytes:
    """The client's error about the answer that it got from the virtual address."""
    client, vip = address(bed, "client", version), VIP[version]
    quoted = UDP(sport=PORT, dport=CLIENT_PORT, chksum=0) / (b"x" * 32)
    link = Ether(src=bed.ports["client"].mac, dst="0e:00:00:00:00:01")
    if version == 4:
        error = IP(src=client, dst=vip) / ICMP(type=3, code=4, nexthopmtu=MTU)
        return bytes(link / error / IP(src=vip, dst=client) / quoted)
    error = IPv6(src=client, dst=vip) / ICMPv6PacketTooBig(mtu=MTU)
    return bytes(link / error / IPv6(src=vip, dst=client) / quoted)


@dataclass(frozen=True)
class Told:
    """An ICMP error: between whom, and about a packet between whom."""

    source: str
    destination: str
    mtu: int
    quoted_source: str
    quoted_destination: str
    quoted_ports: tuple[int, int]


def told(frame: bytes) -> Told:
    """Reads an error whose checksums, the quoted IP header's too, must be right."""
    packet: Any = Ether(frame)
    again: Any = packet.copy()
    four = IP in packet
    if four:
        for layer in (again[IP], again[ICMP], again[IPerror]):
            del layer.chksum
    else:
        del again[ICMPv6PacketTooBig].cksum
    assert bytes(again) == frame
    outer, icmp, inner = (
        (packet[IP], packet[ICMP], packet[IPerror])
        if four
        else (packet[IPv6], packet[ICMPv6PacketTooBig], packet[IPerror6])
    )
    ports = (inner.payload.sport, inner.payload.dport)
    mtu = icmp.nexthopmtu if four else icmp.mtu
    return Told(outer.src, outer.dst, mtu, inner.src, inner.dst, ports)


def error_at_the_server(bed: Sandbox, version: int) -> Told:
    """What arrives of the client's error, after one question and its answer."""
    assert servers.visit(bed, "client", VIP[version], PORT, "udp", source_port=CLIENT_PORT)
    errors = ICMP if version == 4 else ICMPv6PacketTooBig
    with traffic.Wire(bed.ports["server"].netns, "eth0") as wire:
        frame = traffic.came(
            bed,
            wire,
            lambda: traffic.send_raw(bed, "client", too_big(bed, version)),
            lambda frame: errors in Ether(frame),
        )
    assert frame is not None
    seen = told(frame)
    if version == 6 and bed.topology.mixed:
        # OVS 3.1's userspace data path takes the MTU for the checksum of what is
        # quoted, and writes the change of the addresses there.
        return replace(seen, mtu=MTU)
    return seen


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ported", [False, True])
@pytest.mark.parametrize("owner", OWNERS)
def test_a_clients_error_finds_the_backend(
    bed: Sandbox, owner: str, ported: bool, version: int
) -> None:
    client, server = address(bed, "client", version), address(bed, "server", version)
    balance(bed, owner, ported, version)
    assert error_at_the_server(bed, version) == Told(
        client, server, MTU, server, client, (PORT, CLIENT_PORT)
    )
    vip = VIP[version]
    assert conntrack.towards(bed, vip) == tracked(client, vip, [server], protocol="udp")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clients_error_passes_forced_snat(bed: Sandbox, version: int) -> None:
    client, server = address(bed, "client", version), address(bed, "server", version)
    change(bed, "set", "logical_router", "lr", "options:lb_force_snat_ip=router_ip")
    balance(bed, "lr:lr", False, version)
    router = ROUTER[version]
    assert error_at_the_server(bed, version) == Told(
        router, server, MTU, server, router, (PORT, CLIENT_PORT)
    )
    vip = VIP[version]
    assert conntrack.towards(bed, vip) == tracked(client, vip, [server], ",mark=10", "udp")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("owner", OWNERS)
def test_a_backends_error_comes_from_the_virtual_address(
    bed: Sandbox, owner: str, version: int
) -> None:
    """The server's kernel refuses; the client's believes it if it quotes what it sent."""
    balance(bed, owner, False, version)
    vip = VIP[version]
    with traffic.Wire(bed.ports["client"].netns, "eth0") as wire:
        assert talk.refused(bed, "client", vip)
        layer = IP if version == 4 else IPv6
        sources = {
            packet[layer].src
            for packet in map(Ether, wire.frames())
            if layer in packet and packet.dst == bed.ports["client"].mac
        }
    assert vip in sources


@pytest.mark.parametrize("version", VERSIONS)
def test_a_foreign_error_is_not_translated(bed: Sandbox, version: int) -> None:
    """Nobody has sent what it quotes."""
    balance(bed, "lr:lr", True, version)
    errors = ICMP if version == 4 else ICMPv6PacketTooBig
    with traffic.Wire(bed.ports["server"].netns, "eth0") as wire:
        traffic.send_raw(bed, "client", too_big(bed, version))
        assert servers.visit(bed, "client", VIP[version], PORT, "udp", source_port=1001)
        assert [frame for frame in wire.frames() if errors in Ether(frame)] == []
