# SPDX-License-Identifier: Apache-2.0
"""A gateway router that translates: SNAT, DNAT, both at once, and its own address.

    foo1 - foo - r1 - join - r2 - alice - alice1
           bar1 - bar -'      (on hv2)

foo1 is on another chassis than the gateway router, bar1 beside it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  foo1: {switch: foo, chassis: hv1}
  bar1: {switch: bar, chassis: hv2}
  alice1: {switch: alice, chassis: hv2}
$gateway
  - lr-route-add r1 30.0.0.0/24 20.0.0.2
  - lr-route-add r1 fd30::/64 fd20::2
"""
VERSIONS = (4, 6)
SNAT = {4: "30.0.0.1", 6: "fd30::1"}  # bar1 behind r2
DNAT = {4: "30.0.0.2", 6: "fd30::2"}  # foo1 before r2
OWN = {4: "172.16.1.1", 6: "fd21::1"}  # of r2 in alice


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("foo1", "alice1"), ("bar1", "alice1"), ("foo1", "bar1"))


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.fixture
def both(bed: Sandbox) -> Iterator[None]:
    """SNAT for bar1 and DNAT to foo1."""
    for version in VERSIONS:
        bed.nbctl("lr-nat-add", "r2", "snat", SNAT[version], address(bed, "bar1", version))
        bed.nbctl("lr-nat-add", "r2", "dnat", DNAT[version], address(bed, "foo1", version))
    bed.sync()
    yield
    bed.nbctl("--wait=hv", "lr-nat-del", "r2")


@pytest.fixture
def easy(bed: Sandbox) -> Iterator[None]:
    """SNAT for foo1 with the gateway router's own address."""
    for version in VERSIONS:
        bed.nbctl("lr-nat-add", "r2", "snat", OWN[version], address(bed, "foo1", version))
    bed.sync()
    yield
    bed.nbctl("--wait=hv", "lr-nat-del", "r2")


@pytest.mark.parametrize("version", VERSIONS)
def test_dnat_leaves_the_way_to_the_real_address(bed: Sandbox, both: None, version: int) -> None:
    alice, foo = address(bed, "alice1", version), address(bed, "foo1", version)
    assert talk.pings(bed, "alice1", foo)
    assert talk.pings(bed, "alice1", DNAT[version])
    assert conntrack.towards(bed, alice) == [
        conntrack.echo((alice, foo), (foo, alice)),
        conntrack.echo((alice, DNAT[version]), (foo, alice)),
    ]
    assert talk.tcp(bed, "alice1", "foo1", DNAT[version]) == alice
    assert talk.udp(bed, "alice1", "foo1", DNAT[version]) == alice


@pytest.mark.parametrize("version", VERSIONS)
def test_snat_hides_the_guest(bed: Sandbox, both: None, version: int) -> None:
    alice, bar = address(bed, "alice1", version), address(bed, "bar1", version)
    assert talk.pings(bed, "bar1", alice)
    assert conntrack.towards(bed, SNAT[version]) == [
        conntrack.echo((bar, alice), (alice, SNAT[version]))
    ]
    assert talk.tcp(bed, "bar1", "alice1", alice) == SNAT[version]
    assert talk.udp(bed, "bar1", "alice1", alice) == SNAT[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_guest_reaches_another_through_both_translations(
    bed: Sandbox, both: None, version: int
) -> None:
    bar, foo = address(bed, "bar1", version), address(bed, "foo1", version)
    assert talk.pings(bed, "bar1", DNAT[version])
    assert conntrack.towards(bed, DNAT[version]) == [
        conntrack.echo((bar, DNAT[version]), (foo, bar))
    ]
    assert conntrack.towards(bed, SNAT[version]) == [
        conntrack.echo((bar, foo), (foo, SNAT[version]))
    ]
    assert talk.tcp(bed, "bar1", "foo1", DNAT[version]) == SNAT[version]
    assert talk.udp(bed, "bar1", "foo1", DNAT[version]) == SNAT[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_nobody_begins_a_connection_to_an_snat_address(
    bed: Sandbox, both: None, version: int
) -> None:
    alice = address(bed, "alice1", version)
    with (
        talk.Udp(bed, "bar1", "alice1", alice) as flow,
        talk.open_socket(bed, "alice1", socket.SOCK_DGRAM, version) as stranger,
        traffic.Wire(bed.ports["bar1"].netns, "eth0") as wire,
    ):
        stranger.sendto(b"a stranger", (SNAT[version], flow.seen[1]))
        flow.exchange()
        assert talk.unanswered(bed, "alice1", SNAT[version])
        assert [frame for frame in wire.frames() if b"a stranger" in frame] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_two_guests_ports_do_not_meet(bed: Sandbox, easy: None, version: int) -> None:
    """Easy SNAT for both guests: whoever comes second gets another port."""
    alice, bar = address(bed, "alice1", version), address(bed, "bar1", version)
    bed.nbctl("--wait=hv", "lr-nat-add", "r2", "snat", OWN[version], bar)
    with (
        talk.Udp(bed, "foo1", "alice1", alice, 7000, source_port=5000) as first,
        talk.Udp(bed, "bar1", "alice1", alice, 7000, source_port=5000) as second,
    ):
        assert first.seen == (OWN[version], 5000)
        assert second.seen[0] == OWN[version]
        assert second.seen[1] != 5000


@pytest.mark.parametrize("version", VERSIONS)
def test_easy_snat_uses_the_routers_address(bed: Sandbox, easy: None, version: int) -> None:
    alice, foo = address(bed, "alice1", version), address(bed, "foo1", version)
    assert talk.pings(bed, "foo1", alice)
    assert conntrack.towards(bed, OWN[version]) == [
        conntrack.echo((foo, alice), (alice, OWN[version]))
    ]
    assert talk.tcp(bed, "foo1", "alice1", alice) == OWN[version]
    assert talk.udp(bed, "foo1", "alice1", alice) == OWN[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_router_still_answers_for_the_address(bed: Sandbox, easy: None, version: int) -> None:
    assert talk.pings(bed, "alice1", OWN[version])
    assert talk.pings(bed, "bar1", OWN[version])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hops_error_finds_the_guest_behind_snat(bed: Sandbox, both: None, version: int) -> None:
    """ICMP "port unreachable" from alice1 quotes the translated packet."""
    assert talk.refused(bed, "bar1", address(bed, "alice1", version))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_guests_error_finds_who_asked_for_the_dnat_address(
    bed: Sandbox, both: None, version: int
) -> None:
    """It comes from foo1 and must look as if it came from the address that was asked."""
    assert talk.refused(bed, "alice1", DNAT[version])
