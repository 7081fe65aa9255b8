# SPDX-License-Identifier: Apache-2.0
"""One ping that lives through changes of ACLs, behind a load balancer.

    vm1 - s1 - r1 - s2 - vm2      30.0.0.1 is vm2 for whoever asks in s1

Each change must be obeyed by the connection that is there, and no change may make the
load balancer forget which backend it chose.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import ping
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  s1: {ipv4: 173.0.1.0/24, ipv6: "fd71::/64"}
  s2: {ipv4: 173.0.2.0/24, ipv6: "fd72::/64"}
routers:
  r1:
    ports:
      r1-s1: {switch: s1, mac: "0e:00:00:00:01:01", networks: [173.0.1.1/24, "fd71::1/64"]}
      r1-s2: {switch: s2, mac: "0e:00:00:00:01:02", networks: [173.0.2.1/24, "fd72::1/64"]}
ports:
  vm1: {switch: s1, chassis: hv1}
  vm2: {switch: s2, chassis: hv2}
nbctl:
  - lb-add lb1 30.0.0.1 173.0.2.2
  - lb-add lb1u 30.0.0.1:80 173.0.2.2:80 udp
  - lb-add lb6 fd30::1 fd72::2
  - lb-add lb2 173.0.2.250 173.0.1.3
  - ls-lb-add s1 lb1
  - ls-lb-add s1 lb1u
  - ls-lb-add s1 lb6
  - ls-lb-add s2 lb2
"""
VIP = {4: "30.0.0.1", 6: "fd30::1"}
ECHO = {4: "icmp4", 6: "icmp6.type == {128, 129}"}
SOURCE = {4: "ip4.src", 6: "ip6.src"}


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("vm1", "vm2"))


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def pings(bed: Sandbox, version: int) -> Iterator[ping.Stream]:
    """A ping of the address from vm1, always with the same identifier."""
    conntrack.flush(bed)
    with ping.Stream(bed.ports["vm1"].netns, VIP[version], 0.01) as stream:
        yield stream


@pytest.fixture(autouse=True)
def allowed(bed: Sandbox) -> Iterator[None]:
    """Everything is allowed at first, without "related"."""
    for switch in ("s1", "s2"):
        for direction in ("from-lport", "to-lport"):
            bed.nbctl("acl-add", switch, direction, "1001", "ip", "allow")
    bed.sync()
    yield
    for switch in ("s1", "s2"):
        bed.nbctl("acl-del", switch)
    bed.sync()


def goes(bed: Sandbox, stream: ping.Stream) -> bool:
    """Whether a request is answered that is sent once a change must be obeyed."""
    first = stream.sent
    deadline = time.monotonic() + traffic.ARRIVES
    while not (found := stream.answered_since(first)) and time.monotonic() < deadline:
        stream.wait_sent(1)
    return bool(found)


def stands(bed: Sandbox, stream: ping.Stream) -> bool:
    """Whether no such request is answered."""

    def silent() -> bool:
        first = stream.sent
        stream.wait_sent(25)
        return not stream.answered_since(first)

    return traffic.obeyed(bed, silent)


def test_a_connection_obeys_each_change_and_stays_with_its_backend(
    bed: Sandbox, pings: ping.Stream, version: int
) -> None:
    source, backend, vip = address(bed, "vm1", version), address(bed, "vm2", version), VIP[version]
    echo = ECHO[version]
    plain = conntrack.echo((source, backend), (backend, source))
    balanced = conntrack.echo((source, vip), (backend, source), ",mark=2")

    assert goes(bed, pings)
    assert conntrack.towards(bed, source) == sorted([plain, balanced])
    assert in_zone_of(bed, "vm1", source) == [balanced]
    assert in_zone_of(bed, "vm2", source) == [plain]

    for switch in ("s1", "s2"):
        bed.nbctl("acl-del", switch)
    bed.nbctl("--wait=hv", "acl-add", "s1", "to-lport", "2001", echo, "drop")
    assert stands(bed, pings)

    related = f"{echo} && {SOURCE[version]} == {source}"
    bed.nbctl("--wait=hv", "acl-add", "s1", "to-lport", "2002", related, "allow-related")
    assert goes(bed, pings)

    bed.nbctl("acl-del", "s1", "to-lport", "2001", echo)
    bed.nbctl("--wait=hv", "acl-add", "s2", "to-lport", "2001", echo, "drop")
    assert stands(bed, pings)
    (line,) = conntrack.towards(bed, vip)
    assert line.partition(",mark=")[0] == balanced.partition(",mark=")[0]

    bed.nbctl("--wait=hv", "acl-add", "s2", "to-lport", "2005", echo, "allow")
    assert goes(bed, pings)
    assert conntrack.towards(bed, vip) == [balanced]


def in_zone_of(bed: Sandbox, port: str, source: str) -> list[str]:
    """Connections from an address in the zone of a port, on its own chassis."""
    chassis = bed.chassis[bed.ports[port].chassis]
    return conntrack.towards(chassis, source, f"zone={conntrack.zone(chassis, port)}")
