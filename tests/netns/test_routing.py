# SPDX-License-Identifier: Apache-2.0
"""Two routers between two chassis of ours and a real ovn-controller's.

A packet's sender walks it through both routers; the chassis of the receiver does
the last switch's egress pipeline.  So each direction shows another chassis' routing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import talk, traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent, hv3: {agent: ovn-controller}}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 10.1.0.0/24, ipv6: "fd01::/64"}
  join: {ipv4: 10.9.0.0/24, ipv6: "fd09::/64"}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      r0-join: {switch: join, mac: "0e:00:00:00:00:02", networks: [10.9.0.1/24, "fd09::1/64"]}
  r1:
    ports:
      r1-sw1: {switch: sw1, mac: "0e:00:00:00:00:03", networks: [10.1.0.1/24, "fd01::1/64"]}
      r1-join: {switch: join, mac: "0e:00:00:00:00:04", networks: [10.9.0.2/24, "fd09::2/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw1, chassis: hv1}
  vm3: {switch: sw1, chassis: hv2}
  vm4: {switch: sw1, chassis: hv3}
"""
ROUTES = (
    ("r0", "10.1.0.0/24", "10.9.0.2"),
    ("r0", "fd01::/64", "fd09::2"),
    ("r1", "10.0.0.0/24", "10.9.0.1"),
    ("r1", "fd00::/64", "fd09::1"),
)
OWN = ("r0-sw0", "r0-join", "r1-sw1", "r1-join")
GATEWAY_MTU = 1300


@pytest.fixture(scope="module", autouse=True)
def routed(bed: Sandbox) -> None:
    for router, prefix, hop in ROUTES:
        bed.nbctl("lr-route-add", router, prefix, hop)
    bed.nbctl("--wait=hv", "sync")


def says(bed: Sandbox, source: str, target: str, text: str, *options: str) -> bool:
    """Whether a ping prints what matches; again where one of its packets may be lost."""
    command = bed.ports[source].argv("ping", "-n", "-c1", "-W10", *options, target)
    return traffic.obeyed(bed, lambda: re.search(text, traffic.output(command)) is not None)


def addresses(bed: Sandbox, legs: tuple[str, ...], version: int) -> list[str]:
    return [
        str(network.ip)
        for router in bed.topology.routers.values()
        for leg in router.ports
        if leg.name in legs
        for network in leg.networks
        if network.version == version
    ]


def test_every_port_reaches_every_other_through_the_routers(bed: Sandbox) -> None:
    pairs = list(itertools.permutations(bed.ports, 2))
    assert traffic.obeyed(bed, lambda: bed.unanswered(pairs) == [])


@pytest.mark.parametrize("version", [4, 6])
def test_router_addresses_answer_wherever_the_asker_is(bed: Sandbox, version: int) -> None:
    silent = [
        (source, address)
        for source in ("vm1", "vm3")
        for address in addresses(bed, OWN, version)
        if not talk.pings(bed, source, address)
    ]
    assert silent == []


def hops(bed: Sandbox, source: str, target: str, *options: str) -> list[str]:
    """Who answers the packets of traceroute, hop by hop; "*": nobody."""
    command = ("traceroute", "-n", "-q1", "-w3", "-N1", "-m6", *options, target)
    lines = traffic.output(bed.ports[source].argv(*command)).splitlines()[1:]
    return [line.split()[1] for line in lines]


def goes(bed: Sandbox, source: str, target: str, way: list[str], *options: str) -> bool:
    """Whether these are the hops; a real chassis may lose an answer."""
    return traffic.obeyed(bed, lambda: hops(bed, source, target, *options) == way)


@pytest.mark.parametrize("probe", [(), ("-I",), ("-T", "-p", "80")])
@pytest.mark.parametrize(("source", "target"), [("vm1", "vm3"), ("vm3", "vm1"), ("vm1", "vm4")])
def test_every_hop_answers_traceroute(
    bed: Sandbox, source: str, target: str, probe: tuple[str, ...]
) -> None:
    way = ["10.0.0.1", "10.9.0.2"] if source == "vm1" else ["10.1.0.1", "10.9.0.1"]
    last = bed.ports[target].ip4
    assert goes(bed, source, last, [*way, last], *probe), hops(bed, source, last, *probe)


@pytest.mark.parametrize(("source", "target"), [("vm1", "vm3"), ("vm3", "vm1"), ("vm1", "vm4")])
def test_each_ipv6_hop_that_northd_has_a_flow_for_answers(
    bed: Sandbox, source: str, target: str
) -> None:
    """23.03's flow wants the sender to be in the network of the router's port."""
    first = "fd00::1" if source == "vm1" else "fd01::1"
    address = bed.ports[target].ip6
    assert goes(bed, source, address, [first, "*", address], "-6")


def test_arp_and_nd_find_the_router(bed: Sandbox) -> None:
    guest = bed.ports["vm1"].netns
    netns.ip(guest, "neigh flush dev eth0")
    assert talk.pings(bed, "vm1", "10.0.0.1", "fd00::1")
    seen = traffic.output(["ip", "netns", "exec", guest, "ip", "neigh", "show", "dev", "eth0"])
    for address in ("10.0.0.1", "fd00::1"):
        assert re.search(rf"^{address} lladdr 0e:00:00:00:00:01 ", seen, re.MULTILINE), seen


@pytest.fixture
def narrow(bed: Sandbox) -> Iterator[int]:
    """Router r0 knows that what is behind it takes less."""
    bed.nbctl("--wait=hv", "lrp-set-options", "r0-join", f"gateway_mtu={GATEWAY_MTU}")
    yield GATEWAY_MTU
    bed.nbctl("--wait=hv", "clear", "logical_router_port", "r0-join", "options")


def forget(bed: Sandbox, name: str) -> None:
    """A guest forgets the path MTUs that it has learnt."""
    for family in ("-4", "-6"):
        traffic.output(bed.ports[name].argv("ip", family, "route", "flush", "cache"))


@pytest.mark.parametrize("target", ["vm2", "vm3", "vm4"])
def test_a_router_tells_what_fits(bed: Sandbox, narrow: int, target: str) -> None:
    forget(bed, "vm1")
    size = str(narrow)
    needed = rf"From 10\.0\.0\.1 .*Frag needed and DF set \(mtu = {narrow}\)"
    assert says(bed, "vm1", bed.ports[target].ip4, needed, "-Mdo", f"-s{size}")
    big = rf"From fd00::1 .*Packet too big: mtu={narrow}"
    assert says(bed, "vm1", bed.ports[target].ip6, big, "-Mdo", f"-s{size}")


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_finds_its_size_through_the_router(bed: Sandbox, narrow: int, version: int) -> None:
    """The sender's super-frames are cut to segments that are too long at first."""
    forget(bed, "vm1")
    assert traffic.carries(bed, "vm1", "vm2", version, 10e6)
    assert bed.unanswered([("vm1", "vm2")], (version,)) == []
