# SPDX-License-Identifier: Apache-2.0
"""Floating addresses that never leave the chassis: three networks side by side.

hairpin: a guest asks for the floating address of its neighbour, or its own.
outside: floating addresses that are not in the network of the router's port.
zones: a load balancer's DNAT first, then SNAT, in zones of their own, and the far
router's both in its.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches:
  h: {ipv4: 192.168.100.0/24, ipv6: "fd10::/64"}
  h-pub: {ipv4: 172.18.1.0/24, ipv6: "fd18::/64"}
  o1: {ipv4: 192.168.101.0/24, ipv6: "fd11::/64"}
  o2: {ipv4: 192.168.102.0/24, ipv6: "fd12::/64"}
  o-pub: {}
  z1: {ipv4: 173.0.1.0/24, ipv6: "fd71::/64"}
  z2: {ipv4: 173.0.2.0/24, ipv6: "fd72::/64"}
  z-pub: {}
routers:
  hr:
    ports:
      hr-h: {switch: h, mac: "0e:00:00:00:01:01", networks: [192.168.100.1/24, "fd10::1/64"]}
      hr-pub: {switch: h-pub, mac: "0e:00:00:00:01:02", networks: [172.18.1.1/24, "fd18::1/64"]}
  or1:
    ports:
      or1-o1: {switch: o1, mac: "0e:00:00:00:02:01", networks: [192.168.101.1/24, "fd11::1/64"]}
      or1-pub:
        {switch: o-pub, mac: "0e:00:00:00:02:02", networks: [172.19.2.110/24, "fd19:2::110/64"]}
  or2:
    ports:
      or2-o2: {switch: o2, mac: "0e:00:00:00:02:03", networks: [192.168.102.1/24, "fd12::1/64"]}
      or2-pub:
        {switch: o-pub, mac: "0e:00:00:00:02:04", networks: [172.19.1.173/24, "fd19:1::173/64"]}
  zr1:
    ports:
      zr1-z1: {switch: z1, mac: "0e:00:00:00:03:01", networks: [173.0.1.1/24, "fd71::1/64"]}
      zr1-pub: {switch: z-pub, mac: "0e:00:00:00:03:02", networks: [172.16.0.1/16, "fd16::1/64"]}
  zr2:
    ports:
      zr2-z2: {switch: z2, mac: "0e:00:00:00:03:03", networks: [173.0.2.1/24, "fd72::1/64"]}
      zr2-pub: {switch: z-pub, mac: "0e:00:00:00:03:04", networks: [172.16.0.2/16, "fd16::2/64"]}
ports:
  h1: {switch: h, chassis: hv1}
  h2: {switch: h, chassis: hv1}
  h-ext: {switch: h-pub, chassis: hv1}
  o11: {switch: o1, chassis: hv1}
  o21: {switch: o2, chassis: hv1}
  z11: {switch: z1, chassis: hv1}
  z21: {switch: z2, chassis: hv1}
nbctl:
  - lrp-set-gateway-chassis hr-pub hv1
  - lr-nat-add hr snat 172.18.1.1 192.168.100.0/24
  - lr-nat-add hr snat fd18::1 fd10::/64
  - lr-nat-add hr dnat_and_snat 172.18.2.10 192.168.100.3
  - lr-nat-add hr dnat_and_snat fd18:2::10 fd10::3
  - lr-route-add hr 0.0.0.0/0 172.18.1.2
  - lr-route-add hr ::/0 fd18::2
  - lrp-set-gateway-chassis or1-pub hv1
  - lrp-set-gateway-chassis or2-pub hv1
  - --add-route lr-nat-add or1 dnat_and_snat 172.19.2.11 192.168.101.2 o11 0e:00:00:00:02:02
  - --add-route lr-nat-add or2 dnat_and_snat 172.19.2.12 192.168.102.2 o21 0e:00:00:00:02:04
  - lr-nat-add or1 dnat_and_snat fd19:2::11 fd11::2 o11 0e:00:00:00:02:02
  - lr-nat-add or2 dnat_and_snat fd19:2::12 fd12::2 o21 0e:00:00:00:02:04
  - lr-route-add or1 fd19:2::12/128 fd19:1::173 or1-pub  # northd 23.03 adds only IPv4 routes
  - lr-route-add or2 fd19:2::11/128 fd19:2::110 or2-pub
  - lrp-set-gateway-chassis zr1-pub hv1
  - lrp-set-gateway-chassis zr2-pub hv1
  - lb-add zlb4 30.0.0.1 172.16.0.102
  - lb-add zlb6 fd30::1 fd16::102
  - lr-lb-add zr1 zlb4
  - lr-lb-add zr1 zlb6
  - lr-nat-add zr1 dnat_and_snat 172.16.0.101 173.0.1.2 z11 0e:00:00:00:03:05
  - lr-nat-add zr1 dnat_and_snat fd16::101 fd71::2 z11 0e:00:00:00:03:05
  - lr-nat-add zr2 dnat_and_snat 172.16.0.102 173.0.2.2
  - lr-nat-add zr2 dnat_and_snat fd16::102 fd72::2
  - static-mac-binding-add zr1-pub 172.16.0.102 0e:00:00:00:03:04
  - static-mac-binding-add zr1-pub fd16::102 0e:00:00:00:03:04
"""
VERSIONS = (4, 6)
H2_FLOATING = {4: "172.18.2.10", 6: "fd18:2::10"}
H_SNAT = {4: "172.18.1.1", 6: "fd18::1"}
O_FLOATING = {
    "o11": {4: "172.19.2.11", 6: "fd19:2::11"},
    "o21": {4: "172.19.2.12", 6: "fd19:2::12"},
}
Z_VIP = {4: "30.0.0.1", 6: "fd30::1"}
Z11_FLOATING = {4: "172.16.0.101", 6: "fd16::101"}
Z21_FLOATING = {4: "172.16.0.102", 6: "fd16::102"}


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_neighbours_floating_address_is_turned_round_in_the_router(
    bed: Sandbox, version: int
) -> None:
    floating = H2_FLOATING[version]
    assert talk.pings(bed, "h1", floating)
    assert talk.tcp(bed, "h1", "h2", floating) == H_SNAT[version]
    assert talk.udp(bed, "h1", "h2", floating) == H_SNAT[version]


@pytest.fixture
def stateless(bed: Sandbox) -> Iterator[None]:
    """The floating address of h2 is exchanged without the tracker."""
    find = ("--bare", "--columns=_uuid", "find", "nat")
    rows = [bed.nbctl(*find, f'external_ip="{text}"') for text in H2_FLOATING.values()]
    for row in rows:
        bed.nbctl("set", "nat", row, "options:stateless=true")
    bed.sync()
    yield
    for row in rows:
        bed.nbctl("remove", "nat", row, "options", "stateless")
    bed.sync()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("source", ["h1", "h2"])
def test_stateless_floating_addresses_turn_round_too(
    bed: Sandbox, stateless: None, version: int, source: str
) -> None:
    assert talk.pings(bed, source, H2_FLOATING[version])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("source", "target"), [("o11", "o21"), ("o21", "o11")])
def test_floating_addresses_outside_the_routers_network_are_reached(
    bed: Sandbox, version: int, source: str, target: str
) -> None:
    floating = O_FLOATING[target][version]
    assert talk.pings(bed, source, floating)
    assert talk.tcp(bed, source, target, floating) == O_FLOATING[source][version]
    assert talk.udp(bed, source, target, floating) == O_FLOATING[source][version]


@pytest.mark.parametrize("version", VERSIONS)
def test_snat_after_a_load_balancer_has_a_zone_of_its_own(bed: Sandbox, version: int) -> None:
    """23.03's flows undo SNAT in the other zone, so that no answer comes back, unless
    the first packet waited for ARP and lost its mark over it.
    """
    inner, real = address(bed, "z11", version), address(bed, "z21", version)
    vip, here, there = Z_VIP[version], Z11_FLOATING[version], Z21_FLOATING[version]
    dnat = conntrack.router_zone(bed, "hv1", "zr1", "dnat")
    snat = conntrack.router_zone(bed, "hv1", "zr1", "snat")
    far = conntrack.router_zone(bed, "hv1", "zr2", "dnat")
    wanted = [
        conntrack.echo((inner, vip), (there, inner), ",mark=2"),
        conntrack.echo((inner, there), (there, here)),
        conntrack.echo((here, there), (real, here)),
    ]

    def tracked() -> list[str]:
        assert talk.unanswered(bed, "z11", vip)
        places = ((inner, dnat), (here, snat), (here, far))
        return [each for at, zone in places for each in conntrack.towards(bed, at, f"zone={zone}")]

    assert traffic.obeyed(bed, lambda: tracked() == wanted), tracked()
