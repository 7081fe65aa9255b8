# SPDX-License-Identifier: Apache-2.0
"""Kinds of routers and what NAT does to traffic that it does not concern.

east: a gateway router with NAT between its two networks.
mode: SNAT of a whole network in a gateway router.
shared: a distributed router whose gateway port has SNAT for all and for one.
dynamic: a gateway router that learns its neighbours, behind a distributed router whose
port towards the guests is bound to a chassis.
plain: a router that must learn who asks it, because Northbound does not say.
None of them asks by ARP or ND here: that is another part's to show.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  e1: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  e2: {ipv4: 192.168.2.0/24, ipv6: "fd12::/64"}
  m: {ipv4: 192.168.3.0/24, ipv6: "fd13::/64"}
  m-pub: {}
  s: {ipv4: 192.168.4.0/24, ipv6: "fd14::/64"}
  s-pub: {}
  d: {}
  d-join: {}
  d-pub: {}
  p: {ipv4: 192.168.20.0/24, ipv6: "fd15::/64"}
routers:
  er:
    ports:
      er-1: {switch: e1, mac: "0e:00:00:00:01:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      er-2: {switch: e2, mac: "0e:00:00:00:01:02", networks: [192.168.2.1/24, "fd12::1/64"]}
  mr:
    ports:
      mr-m: {switch: m, mac: "0e:00:00:00:02:01", networks: [192.168.3.1/24, "fd13::1/64"]}
      mr-pub: {switch: m-pub, mac: "0e:00:00:00:02:02", networks: [172.16.3.254/24, "fd33::a/64"]}
  sr:
    ports:
      sr-s: {switch: s, mac: "0e:00:00:00:03:01", networks: [192.168.4.1/24, "fd14::1/64"]}
      sr-pub: {switch: s-pub, mac: "0e:00:00:00:03:02", networks: [172.16.4.1/24, "fd34::1/64"]}
  dr:
    ports:
      dr-d: {switch: d, mac: "0e:00:00:00:04:01", networks: [10.244.2.1/24, "fd24::1/64"]}
      dr-join: {switch: d-join, mac: "0e:00:00:00:04:02", networks: [100.64.0.1/16, "fd64::1/64"]}
  dgr:
    ports:
      dgr-join: {switch: d-join, mac: "0e:00:00:00:04:03", networks: [100.64.0.3/16, "fd64::3/64"]}
      dgr-pub: {switch: d-pub, mac: "0e:00:00:00:04:04", networks: [10.89.189.12/24, "fd89::12/64"]}
  pr:
    ports:
      pr-p: {switch: p, mac: "0e:00:00:00:05:01", networks: [192.168.20.1/24, "fd15::1/64"]}
ports:
  e11: {switch: e1, chassis: hv1}
  e21: {switch: e2, chassis: hv2}
  m1: {switch: m, chassis: hv1}
  m2: {switch: m, chassis: hv2}
  m-ext: {switch: m-pub, chassis: hv2, ips: [172.16.3.1/24, "fd33::1/64"]}
  s1: {switch: s, chassis: hv1}
  s2: {switch: s, chassis: hv2}
  s-ext: {switch: s-pub, chassis: hv1, ips: [172.16.4.100/24, "fd34::100/64"]}
  d1: {switch: d, chassis: hv1, ips: [10.244.2.11/24, "fd24::11/64"]}
  d-ext: {switch: d-pub, chassis: hv1, ips: [10.89.189.1/24, "fd89::1/64"]}
  p1: {switch: p, chassis: hv1, addresses: [unknown]}
nbctl:
  - set logical_router er options:chassis=hv1
  - set logical_router mr options:chassis=hv2
  - lr-nat-add mr snat 172.16.3.10 192.168.3.0/24
  - lr-nat-add mr snat fd33::10 fd13::/64
  - lrp-set-gateway-chassis sr-pub hv1
  - lr-nat-add sr snat 172.16.4.1 192.168.4.0/24
  - lr-nat-add sr snat 172.16.4.20 192.168.4.2
  - lr-nat-add sr snat fd34::1 fd14::/64
  - lr-nat-add sr snat fd34::20 fd14::2
  - lrp-set-gateway-chassis dr-d hv1 10
  - --policy=src-ip lr-route-add dr 10.244.2.0/24 100.64.0.3
  - --policy=src-ip lr-route-add dr fd24::/64 fd64::3
  - set logical_router dgr options:chassis=hv1 options:dynamic_neigh_routers=true
  - set logical_router dgr options:lb_force_snat_ip=router_ip options:snat-ct-zone=0
  - lr-route-add dgr 10.244.0.0/16 100.64.0.1
  - lr-route-add dgr fd24::/64 fd64::1
  - lr-nat-add dgr snat 10.89.189.12 10.244.0.0/16
  - lr-nat-add dgr snat fd89::12 fd24::/64
  - static-mac-binding-add dgr-join 100.64.0.1 0e:00:00:00:04:02
  - static-mac-binding-add dgr-join fd64::1 0e:00:00:00:04:02
"""
VERSIONS = (4, 6)
E_SNAT = {4: "172.16.1.21", 6: "fd31::21"}
E_FLOATING = {4: "172.16.1.2", 6: "fd31::2"}
E2_NETWORK = {4: "192.168.2.0/24", 6: "fd12::/64"}


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("e21", "e11"), ("m1", "m2"), ("s1", "s2"))


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.fixture(scope="module")
def east_snat(bed: Sandbox) -> None:
    for version in VERSIONS:
        bed.nbctl("lr-nat-add", "er", "snat", E_SNAT[version], E2_NETWORK[version])
    bed.sync()


@pytest.fixture
def east_floating(bed: Sandbox, east_snat: None) -> Iterator[None]:
    for version in VERSIONS:
        inner = address(bed, "e11", version)
        bed.nbctl("lr-nat-add", "er", "dnat_and_snat", E_FLOATING[version], inner)
    bed.sync()
    yield
    bed.nbctl("--wait=hv", "lr-nat-del", "er", "dnat_and_snat")


def tracked_from_e21(bed: Sandbox, version: int, asked: str) -> list[str]:
    """What the tracker must hold after a ping and a TCP connection from e21."""
    source, target = address(bed, "e21", version), address(bed, "e11", version)
    lines = [make((source, asked), (target, source)) for make in (conntrack.echo, conntrack.tcp)]
    return sorted(lines)


def seen_by_e11(bed: Sandbox, version: int, asked: str) -> list[str]:
    """Ping and connect from e21; what the tracker holds then of e21."""
    source = address(bed, "e21", version)
    assert talk.pings(bed, "e21", asked)
    assert talk.tcp(bed, "e21", "e11", asked) == E_SNAT[version]
    return conntrack.towards(bed, source)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_router_with_snat_passes_between_its_networks(
    bed: Sandbox, east_snat: None, version: int
) -> None:
    inner = address(bed, "e11", version)
    assert seen_by_e11(bed, version, inner) == tracked_from_e21(bed, version, inner)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_router_with_both_passes_between_its_networks(
    bed: Sandbox, east_floating: None, version: int
) -> None:
    for asked in (address(bed, "e11", version), E_FLOATING[version]):
        conntrack.flush(bed)
        assert seen_by_e11(bed, version, asked) == tracked_from_e21(bed, version, asked)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guest", ["m1", "m2"])
def test_a_gateway_router_hides_a_whole_network(bed: Sandbox, version: int, guest: str) -> None:
    outer = address(bed, "m-ext", version)
    hidden = {4: "172.16.3.10", 6: "fd33::10"}[version]
    assert talk.pings(bed, guest, outer)
    assert talk.tcp(bed, guest, "m-ext", outer) == hidden
    assert talk.udp(bed, guest, "m-ext", outer) == hidden


@pytest.mark.parametrize("version", VERSIONS)
def test_the_longest_logical_prefix_decides_the_snat_address(bed: Sandbox, version: int) -> None:
    outer = address(bed, "s-ext", version)
    shared = {4: "172.16.4.1", 6: "fd34::1"}[version]
    own = {4: "172.16.4.20", 6: "fd34::20"}[version]
    inner = address(bed, "s1", version)
    assert talk.pings(bed, "s1", outer)
    assert conntrack.towards(bed, outer) == [conntrack.echo((inner, outer), (outer, own))]
    assert talk.udp(bed, "s1", "s-ext", outer) == own
    assert talk.udp(bed, "s2", "s-ext", outer) == shared


@pytest.mark.parametrize("version", VERSIONS)
def test_the_outside_is_reached_through_a_router_that_learns(bed: Sandbox, version: int) -> None:
    """The outside asks for the router first, which learns it from that."""
    outer = address(bed, "d-ext", version)
    hidden = {4: "10.89.189.12", 6: "fd89::12"}[version]
    assert talk.pings(bed, "d-ext", hidden)
    assert talk.pings(bed, "d1", outer)
    assert talk.tcp(bed, "d1", "d-ext", outer) == hidden
    assert talk.udp(bed, "d1", "d-ext", outer) == hidden


@pytest.mark.parametrize("version", VERSIONS)
def test_a_router_answers_a_guest_that_only_announced_itself(bed: Sandbox, version: int) -> None:
    """The switch answers for the router, which hears of the guest by the announcement."""
    mac, own = bed.ports["p1"].mac, address(bed, "p1", version)
    if version == 4:
        news = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=mac, psrc=own, pdst=own)
    else:
        news = Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src=own, dst="ff02::1", hlim=255)
        news /= ICMPv6ND_NA(tgt=own, R=0, S=0) / ICMPv6NDOptDstLLAddr(lladdr=mac)
    traffic.send_raw(bed, "p1", bytes(news))
    assert talk.pings(bed, "p1", {4: "192.168.20.1", 6: "fd15::1"}[version])
