# SPDX-License-Identifier: Apache-2.0
"""A distributed router whose gateway port translates: north-south and east-west.

    foo1, foo2, foo3, foo4 - foo - r1 - alice - alice1
                       bar1 - bar -'   ^ gateway port, on hv1

foo1 and bar1 have floating addresses that their own chassis translates (with a MAC
of their own), foo4 has one at the gateway, the others share the router's address.
foo3 and foo4 are on another chassis than the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  foo: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  bar: {ipv4: 192.168.2.0/24, ipv6: "fd12::/64"}
  alice: {}
routers:
  r1:
    ports:
      r1-foo: {switch: foo, mac: "0e:00:00:01:00:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      r1-bar: {switch: bar, mac: "0e:00:00:01:00:02", networks: [192.168.2.1/24, "fd12::1/64"]}
      r1-alice: {switch: alice, mac: "0e:00:00:01:00:03", networks: [172.16.1.1/24, "fd20::1/64"]}
ports:
  foo1: {switch: foo, chassis: hv1}
  foo2: {switch: foo, chassis: hv1}
  foo3: {switch: foo, chassis: hv2}
  foo4: {switch: foo, chassis: hv2}
  bar1: {switch: bar, chassis: hv1}
  alice1: {switch: alice, chassis: hv1, ips: [172.16.1.2/24, "fd20::2/64"]}
nbctl:
  - lrp-set-gateway-chassis r1-alice hv1
  - lr-nat-add r1 dnat_and_snat 172.16.1.3 192.168.1.2 foo1 0e:00:00:01:01:01
  - lr-nat-add r1 dnat_and_snat fd20::3 fd11::2 foo1 0e:00:00:01:01:01
  - lr-nat-add r1 dnat_and_snat 172.16.1.4 192.168.2.2 bar1 0e:00:00:01:01:02
  - lr-nat-add r1 dnat_and_snat fd20::4 fd12::2 bar1 0e:00:00:01:01:02
  - lr-nat-add r1 dnat_and_snat 172.16.1.5 192.168.1.5
  - lr-nat-add r1 dnat_and_snat fd20::5 fd11::5
  - lr-nat-add r1 snat 172.16.1.1 192.168.0.0/16
  - lr-nat-add r1 snat fd20::1 fd10::/12
  - lr-route-add r1 10.0.0.0/24 172.16.1.2
  - lr-route-add r1 fd40::/64 fd20::2
"""
VERSIONS = (4, 6)
NUMBERS = {"foo1": 3, "bar1": 4, "foo4": 5, "foo2": 1, "foo3": 1}  # in alice's network
BEYOND = {4: "10.0.0.1", 6: "fd40::1"}  # behind alice1


def outside(guest: str, version: int) -> str:
    """How the outside knows a guest."""
    return {4: "172.16.1.{}", 6: "fd20::{}"}[version].format(NUMBERS[guest])


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("foo1", "foo4"), ("foo3", "bar1"), ("foo4", "alice1"))


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guest", ["foo1", "foo4", "bar1"])
def test_the_outside_reaches_a_floating_address(bed: Sandbox, version: int, guest: str) -> None:
    alice, inner = address(bed, "alice1", version), address(bed, guest, version)
    outer = outside(guest, version)
    assert talk.pings(bed, "alice1", outer)
    assert conntrack.towards(bed, outer) == [conntrack.echo((alice, outer), (inner, alice))]
    assert talk.tcp(bed, "alice1", guest, outer) == alice
    assert talk.udp(bed, "alice1", guest, outer) == alice
    assert talk.refused(bed, "alice1", outer)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("guest", list(NUMBERS))
def test_a_guest_goes_out_with_its_floating_or_the_shared_address(
    bed: Sandbox, version: int, guest: str
) -> None:
    alice, inner = address(bed, "alice1", version), address(bed, guest, version)
    outer = outside(guest, version)
    assert talk.pings(bed, guest, alice)
    assert conntrack.towards(bed, outer) == [conntrack.echo((inner, alice), (alice, outer))]
    assert talk.tcp(bed, guest, "alice1", alice) == outer
    assert talk.udp(bed, guest, "alice1", alice) == outer
    assert talk.refused(bed, guest, alice)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("source", "target"), [("foo1", "bar1"), ("foo2", "bar1"), ("bar1", "foo2")]
)
def test_real_addresses_are_not_tracked_between_networks(
    bed: Sandbox, version: int, source: str, target: str
) -> None:
    inner = address(bed, target, version)
    assert talk.pings(bed, source, inner)
    assert talk.tcp(bed, source, target, inner) == address(bed, source, version)
    assert conntrack.towards(bed, inner) == conntrack.towards(bed, outside(target, version)) == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("source", ["foo1", "foo2"])
def test_a_guest_reaches_anothers_floating_address(bed: Sandbox, version: int, source: str) -> None:
    """Its own address is translated first, as if it had come from outside."""
    inner, target = address(bed, source, version), address(bed, "bar1", version)
    outer, floating = outside(source, version), outside("bar1", version)
    assert talk.pings(bed, source, floating)
    translations = [
        conntrack.echo((inner, floating), (floating, outer)),
        conntrack.echo((outer, floating), (target, outer)),
    ]
    assert conntrack.towards(bed, floating) == sorted(translations)
    assert talk.tcp(bed, source, "bar1", floating) == outer
    assert talk.udp(bed, source, "bar1", floating) == outer


@pytest.fixture
def without_snat(bed: Sandbox) -> Iterator[None]:
    """The router's own address is nobody's any more; alice1 is a router, too."""
    for text in BEYOND.values():
        netns.ip(bed.ports["alice1"].netns, f"addr add {text} dev lo nodad")
    bed.nbctl("--wait=hv", "lr-nat-del", "r1", "snat")
    yield
    bed.nbctl("lr-nat-add", "r1", "snat", "172.16.1.1", "192.168.0.0/16")
    bed.nbctl("--wait=hv", "lr-nat-add", "r1", "snat", "fd20::1", "fd10::/12")
    for text in BEYOND.values():
        netns.ip(bed.ports["alice1"].netns, f"addr del {text} dev lo")


@pytest.mark.parametrize("version", VERSIONS)
def test_floating_addresses_reach_beyond_the_network_without_snat(
    bed: Sandbox, without_snat: None, version: int
) -> None:
    assert talk.pings(bed, "foo1", BEYOND[version])
    assert talk.tcp(bed, "foo1", "alice1", BEYOND[version]) == outside("foo1", version)
    assert talk.tcp(bed, "foo4", "alice1", BEYOND[version]) == outside("foo4", version)
