# SPDX-License-Identifier: Apache-2.0
"""Which way a router sends: longest prefixes, source routes, policies, ECMP.

Three guests are next hops; what each of them gets of a guest's datagrams tells the
router's choice.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent, hv3: {agent: ovn-controller}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  hop1: {switch: sw1, chassis: hv1}
  hop2: {switch: sw1, chassis: hv2}
  hop3: {switch: sw1, chassis: hv3}
$routed
"""
HOPS = ("hop1", "hop2", "hop3")
# A share of a third is off by a tenth once in ten million runs; a batch fits a socket's buffer.
FLOWS = 6000
BATCH = 300
FIRST_PORT = 20000
FAR = {4: "172.16.5.5", 6: "fd50:5::5"}


@pytest.fixture
def router(bed: Sandbox) -> Iterator[Sandbox]:
    """Routes and policies that a test adds are gone after it."""
    yield bed
    bed.nbctl("lr-route-del", "r0")
    bed.nbctl("lr-policy-del", "r0")
    bed.nbctl("--wait=hv", "sync")


def hop(bed: Sandbox, name: str, version: int) -> str:
    address = bed.ports[name].guest.address(version)
    assert address is not None
    return address


def taken(
    bed: Sandbox, target: str, count: int = 1, flows: int = 1, seconds: float = 5.0
) -> Counter[str]:
    """Which hops get `count` datagrams of each of `flows` ports sent to `target`.

    seconds: without another one, after which none is waited for.
    """
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    port = 7000
    wires = {name: traffic.Wire(bed.ports[name].netns, "eth0") for name in HOPS}
    found: Counter[str] = Counter()
    for first in range(0, flows, BATCH):
        batch = min(BATCH, flows - first)
        with netns.entered(bed.ports["vm1"].netns):
            senders = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(batch)]
        for number, sender in enumerate(senders, FIRST_PORT + first):
            with sender:
                sender.bind(("", number))
                for _ in range(count):
                    sender.sendto(b"which way?", (target, port))
        expected = (first + batch) * count
        deadline = time.monotonic() + seconds
        while found.total() < expected and time.monotonic() < deadline:
            before = found.total()
            for name, wire in wires.items():
                found[name] += sum(_is_probe(frame) for frame in wire.frames())
            if found.total() > before:
                deadline = time.monotonic() + seconds
    for wire in wires.values():
        wire.close()
    return +found


def goes(bed: Sandbox, target: str, name: str) -> bool:
    """Whether a datagram takes this hop; a real chassis is among them (traffic.obeyed)."""
    return traffic.obeyed(bed, lambda: set(taken(bed, target)) == {name})


def _is_probe(frame: bytes) -> bool:
    return frame.endswith(b"which way?")


@pytest.mark.parametrize("version", [4, 6])
def test_the_longest_prefix_wins(router: Sandbox, version: int) -> None:
    prefixes = {4: ["172.16.0.0/12", "172.16.5.0/24", "172.16.5.5/32"],
                6: ["fd50::/16", "fd50:5::/32", "fd50:5::5/128"]}[version]  # fmt: skip
    for name, prefix in zip(HOPS, prefixes, strict=True):
        router.nbctl("lr-route-add", "r0", prefix, hop(router, name, version))
        router.nbctl("--wait=hv", "sync")
        assert goes(router, FAR[version], name), prefix
    router.nbctl("lr-route-del", "r0", prefixes[2])
    router.nbctl("--wait=hv", "sync")
    assert goes(router, FAR[version], "hop2")


@pytest.mark.parametrize("version", [4, 6])
def test_a_route_by_source_counts_for_its_source(router: Sandbox, version: int) -> None:
    source = {4: "10.0.0.0/24", 6: "fd00::/64"}[version]
    other = {4: "10.7.0.0/24", 6: "fd07::/64"}[version]
    router.nbctl("--policy=src-ip", "lr-route-add", "r0", source, hop(router, "hop2", version))
    router.nbctl("--policy=src-ip", "lr-route-add", "r0", other, hop(router, "hop3", version))
    router.nbctl("--wait=hv", "sync")
    assert goes(router, FAR[version], "hop2")


@pytest.mark.parametrize("version", [4, 6])
def test_a_policy_beats_the_route(router: Sandbox, version: int) -> None:
    far, field = FAR[version], f"ip{version}.dst"
    default = {4: "0.0.0.0/0", 6: "::/0"}[version]
    router.nbctl("lr-route-add", "r0", default, hop(router, "hop1", version))
    router.nbctl("--wait=hv", "sync")
    assert goes(router, far, "hop1")
    reroute = ("reroute", hop(router, "hop2", version))
    router.nbctl("lr-policy-add", "r0", "100", f"{field} == {far}", *reroute)
    router.nbctl("--wait=hv", "sync")
    assert goes(router, far, "hop2")
    router.nbctl("lr-policy-add", "r0", "200", f"{field} == {far}", "drop")
    router.nbctl("--wait=hv", "sync")
    assert traffic.obeyed(router, lambda: not taken(router, far, seconds=traffic.ABSENT))


def shared(bed: Sandbox, kind: str, target: str, hops: tuple[str, ...]) -> None:
    """Evenly over the hops.  OVS's user space hashes no ports here: one hop takes all."""
    flows = BATCH if kind == "oracle" else FLOWS
    found: Counter[str] = Counter()

    def all_came() -> bool:
        found.clear()
        found.update(taken(bed, target, flows=flows))
        # Of a burst that is an upcall each, its packet socket takes 256.
        whole = found.total() == flows or (kind == "oracle" and found.total() > 0)
        return set(found) <= set(hops) and whole

    assert traffic.obeyed(bed, all_came), found
    if kind != "oracle":
        share = FLOWS / len(hops)
        assert all(abs(found[name] - share) < share / 10 for name in hops), found


@pytest.mark.parametrize("version", [4, 6])
def test_ecmp_routes_share_the_connections(router: Sandbox, kind: str, version: int) -> None:
    prefix = {4: "172.16.0.0/16", 6: "fd50::/16"}[version]
    for name in HOPS:
        router.nbctl("--ecmp", "lr-route-add", "r0", prefix, hop(router, name, version))
    router.nbctl("--wait=hv", "sync")
    shared(router, kind, FAR[version], HOPS)
    assert len(taken(router, FAR[version], count=20)) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_ecmp_policies_share_the_connections(router: Sandbox, kind: str, version: int) -> None:
    hops = ",".join(hop(router, name, version) for name in HOPS[:2])
    default = {4: "0.0.0.0/0", 6: "::/0"}[version]  # a policy is asked for routed packets only
    router.nbctl("lr-route-add", "r0", default, hop(router, "hop3", version))
    match = f"ip{version}.dst == {FAR[version]}"
    router.nbctl("lr-policy-add", "r0", "100", match, "reroute", hops)
    router.nbctl("--wait=hv", "sync")
    shared(router, kind, FAR[version], HOPS[:2])


def test_a_static_mac_binding_tells_the_next_hop(router: Sandbox) -> None:
    """An address that no port has: only the binding knows where it is."""
    router.nbctl("lr-route-add", "r0", "172.16.0.0/16", "10.1.0.200")
    router.nbctl("static-mac-binding-add", "r0-sw1", "10.1.0.200", router.ports["hop2"].mac)
    router.nbctl("--wait=hv", "sync")
    try:
        assert goes(router, FAR[4], "hop2")
    finally:
        router.nbctl("--wait=hv", "static-mac-binding-del", "r0-sw1", "10.1.0.200")
