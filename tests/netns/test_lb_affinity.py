# SPDX-License-Identifier: Apache-2.0
"""Session affinity: a client comes back to the backend that it had, for a while.

The packet that affinity is learnt from goes no further, by northd's flows, so a client
has to ask twice.  TCP's retransmission does not help on a switch, where the tracker has
translated it before affinity is looked up.

foo1 - foo - r1 - join - r2 (on hv2) - alice - alice1
bar1, bar2 - bar -'
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk
from tests.support.balancers import add, address, change, endpoint, remove_all, settle, tracked

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  foo1: {switch: foo, chassis: hv1}
  bar1: {switch: bar, chassis: hv2}
  bar2: {switch: bar, chassis: hv1}
  alice1: {switch: alice, chassis: hv2}
$gateway
"""
VERSIONS = (4, 6)
VIP = {4: "172.16.1.100", 6: "fd21::100"}
HAIRPIN = {4: "30.0.0.200", 6: "fd30::200"}
TRIES = 24  # all to one of two by chance: 1.2e-7
#: (client, where the balancer is, backends)
PLACES = {
    "router": ("alice1", "lr:r2", {"foo1", "bar1"}),
    "switch": ("foo1", "ls:foo", {"bar1", "bar2"}),
}


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("foo1", "bar1"), ("alice1", "foo1"))
    with servers.Servers(bed) as everybody:
        for guest in bed.ports:
            everybody.serve(guest, 80)
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    remove_all(bed)


def balance(
    bed: Sandbox, place: str, version: int, protocol: str, timeout: int, **options: str
) -> None:
    """VIP:8080 with affinity of `timeout` seconds, VIP:8081 without."""
    _, owner, names = PLACES[place]
    hosts = [endpoint(address(bed, name, version), 80) for name in sorted(names)]
    for name, port in (("sticky", 8080), ("loose", 8081)):
        own = {"affinity_timeout": str(timeout)} if name == "sticky" else {}
        vip = {endpoint(VIP[version], port): hosts}
        add(bed, name, vip, owner, protocol=protocol, options=own | options)


def asked(bed: Sandbox, client: str, version: int, protocol: str, tries: int = TRIES) -> set[str]:
    """Who answers this client on the sticky port.

    Open vSwitch's tracker has left a connection of UDP without any answer: one that nobody
    answered there is asked for once more, by another.
    """

    def visit() -> servers.Seen | None:
        return servers.visit(bed, client, VIP[version], 8080, protocol)

    answers = [visit() or (visit() if bed.topology.mixed else None) for _ in range(tries)]
    return {answer.server if answer else "nobody" for answer in answers}


def learnt(bed: Sandbox, client: str, version: int, protocol: str) -> servers.Seen:
    """The first answer to a client that may be unknown."""
    for number in range(40):
        patience = servers.ABSENT * (1 + number / 4)  # the machine may be slow
        answer = servers.visit(bed, client, VIP[version], 8080, protocol, seconds=patience)
        settle(bed)
        if answer:
            return answer
    pytest.fail("no answer at all")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
@pytest.mark.parametrize("place", PLACES)
def test_a_client_comes_back_to_its_backend(
    bed: Sandbox, place: str, protocol: str, version: int
) -> None:
    client, _, names = PLACES[place]
    balance(bed, place, version, protocol, 60)
    first = {learnt(bed, client, version, protocol).server}
    assert first < names
    assert asked(bed, client, version, protocol) == first
    conntrack.flush(bed)
    assert asked(bed, client, version, protocol) == first
    hosts = [address(bed, name, version) for name in first]
    source, vip = address(bed, client, version), VIP[version]
    assert conntrack.towards(bed, vip) == tracked(source, vip, hosts, protocol=protocol)
    assert servers.reached(bed, client, vip, 8081, names, protocol) == names


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", PLACES)
def test_a_backend_that_goes_is_not_come_back_to(bed: Sandbox, place: str, version: int) -> None:
    client, _, names = PLACES[place]
    balance(bed, place, version, "udp", 60)
    first = learnt(bed, client, version, "udp").server
    left = names - {first}
    (host,) = (endpoint(address(bed, name, version), 80) for name in left)
    vip = endpoint(VIP[version], 8080)
    change(bed, "set", "load_balancer", "sticky", f'vips={{"{vip}"="{host}"}}')
    assert {learnt(bed, client, version, "udp").server} == left


@pytest.mark.parametrize("version", VERSIONS)
def test_affinity_of_a_hairpin(bed: Sandbox, version: int) -> None:
    """The client is the only backend."""
    host = endpoint(address(bed, "foo1", version), 80)
    options = {"affinity_timeout": "60", "hairpin_snat_ip": HAIRPIN[version]}
    add(bed, "lb", {endpoint(VIP[version], 8080): [host]}, "ls:foo", options=options)
    learnt(bed, "foo1", version, "tcp")
    for _ in range(3):
        answer = servers.visit(bed, "foo1", VIP[version], 8080)
        assert answer
        assert (answer.server, answer.address) == ("foo1", HAIRPIN[version])


def test_affinity_ends_when_it_was_not_used_for_its_time(bed: Sandbox) -> None:
    """Each question after a pause takes one of the two at odds of 1 in 2: 40 in a row
    to one of them have odds of 2e-12.
    """
    balance(bed, "router", 4, "udp", 1)
    six = {endpoint(VIP[6], 8080): [endpoint(address(bed, n, 6), 80) for n in ("foo1", "bar1")]}
    add(bed, "six", six, "lr:r2", protocol="udp", options={"affinity_timeout": "1"})
    found: dict[int, set[str]] = {4: set(), 6: set()}
    for _ in range(40):
        for version in VERSIONS:
            found[version].add(learnt(bed, "alice1", version, "udp").server)
        if all(len(names) == 2 for names in found.values()):
            break
        time.sleep(1.5)  # the pause is what is tested
        settle(bed)
    assert found == {4: {"foo1", "bar1"}, 6: {"foo1", "bar1"}}
