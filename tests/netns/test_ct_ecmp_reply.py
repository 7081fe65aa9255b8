# SPDX-License-Identifier: Apache-2.0
"""Symmetric replies: what came by one of two next hops goes back by the same.

    alice1 - alice - r1 - ext - r2 - bob - bob1
                           '--- r3 --'

r1 has two routes to everybody for alice's network.  Each connection remembers in its
label which Ethernet address it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  alice: {ipv4: 10.0.0.0/24, ipv6: "fd01::/64"}
  bob: {}
  ext: {}
routers:
  r1:
    ports:
      r1-alice: {switch: alice, mac: "00:00:01:01:02:03", networks: [10.0.0.1/24, "fd01::1/64"]}
      r1-ext: {switch: ext, mac: "00:00:04:01:02:03", networks: [20.0.0.1/24, "fd02::1/64"]}
  r2:
    ports:
      r2-bob: {switch: bob, mac: "00:00:02:01:02:03", networks: [172.16.0.2/16, "fd07::2/64"]}
      r2-ext: {switch: ext, mac: "00:00:04:01:02:04", networks: [20.0.0.2/24, "fd02::2/64"]}
  r3:
    ports:
      r3-bob: {switch: bob, mac: "00:00:02:01:02:04", networks: [172.16.0.3/16, "fd07::3/64"]}
      r3-ext: {switch: ext, mac: "00:00:04:01:02:05", networks: [20.0.0.3/24, "fd02::3/64"]}
ports:
  alice1: {switch: alice, chassis: hv2}
  bob1: {switch: bob, chassis: hv1, ips: [172.16.0.1/16, "fd07::1/64"]}
nbctl:
  - set logical_router r1 options:chassis=hv1
  - --ecmp-symmetric-reply --policy=src-ip lr-route-add r1 10.0.0.0/24 20.0.0.2
  - --ecmp-symmetric-reply --policy=src-ip lr-route-add r1 10.0.0.0/24 20.0.0.3
  - --ecmp-symmetric-reply --policy=src-ip lr-route-add r1 fd01::/64 fd02::2
  - --ecmp-symmetric-reply --policy=src-ip lr-route-add r1 fd01::/64 fd02::3
  - lr-route-add r2 10.0.0.0/24 20.0.0.1
  - lr-route-add r3 10.0.0.0/24 20.0.0.1
  - lr-route-add r2 fd01::/64 fd02::1
  - lr-route-add r3 fd01::/64 fd02::1
"""
VERSIONS = (4, 6)
HOPS = {"r2": {4: "172.16.0.2", 6: "fd07::2"}, "r3": {4: "172.16.0.3", 6: "fd07::3"}}
MACS = {"r2": "00:00:02:01:02:03", "r3": "00:00:02:01:02:04"}  # towards bob1
OUTER = {"r2": "00:00:04:01:02:04", "r3": "00:00:04:01:02:05"}  # towards r1
NEW_MAC = "00:00:10:01:02:04"
CONNECTIONS = 24


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("bob1", "alice1"))


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.fixture(params=list(HOPS))
def hop(bed: Sandbox, request: pytest.FixtureRequest) -> str:
    """bob1 goes by this router only."""
    name: str = request.param
    guest = bed.ports["bob1"].netns
    for text in HOPS[name].values():
        netns.ip(guest, f"route replace default via {text}")
    return name


def came_by(bed: Sandbox, frames: list[bytes]) -> set[str]:
    """The routers that handed TCP and UDP to bob1; "?" for somebody else."""
    own = ethernet(bed.ports["bob1"].mac)
    names = {ethernet(mac): name for name, mac in MACS.items()}
    protocols = {b"\x08\x00": 23, b"\x86\xdd": 20}  # where the protocol's number lies
    return {
        names.get(frame[6:12], "?")
        for frame in frames
        if frame[:6] == own and frame[12:14] in protocols
        if frame[protocols[frame[12:14]]] in (6, 17)
    }


def ethernet(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def without_marks(lines: list[str]) -> list[str]:
    """The mark has the number of a port, which is northd's to choose."""
    return [re.sub(r",mark=[1-9][0-9]*", "", line) for line in lines]


def label(mac: str) -> str:
    """How a dump shows ct_label.ecmp_reply_eth, bits 32 to 79."""
    return f",labels={int.from_bytes(ethernet(mac)) << 32:#x}"


@pytest.mark.parametrize("version", VERSIONS)
def test_answers_go_back_by_the_router_that_they_came_by(
    bed: Sandbox, hop: str, version: int
) -> None:
    """Each of 24 connections would take the other way at odds of 1 in 2."""
    alice = address(bed, "alice1", version)

    def all_by_the_hop() -> bool:
        with traffic.Wire(bed.ports["bob1"].netns, "eth0") as wire:
            for _ in range(CONNECTIONS // 2):
                assert talk.tcp(bed, "bob1", "alice1", alice) == address(bed, "bob1", version)
                assert talk.udp(bed, "bob1", "alice1", alice) == address(bed, "bob1", version)
            return came_by(bed, wire.frames()) == {hop}

    assert traffic.obeyed(bed, all_by_the_hop)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_label_says_who_handed_the_connection_over(
    bed: Sandbox, hop: str, version: int
) -> None:
    alice, bob = address(bed, "alice1", version), address(bed, "bob1", version)
    talk.tcp(bed, "bob1", "alice1", alice)
    talk.udp(bed, "bob1", "alice1", alice)
    lines = conntrack.towards(bed, bob)
    assert all(",mark=" in line for line in lines)
    assert without_marks(lines) == [
        conntrack.tcp((bob, alice), (alice, bob), label(OUTER[hop])),
        conntrack.udp((bob, alice), (alice, bob), label(OUTER[hop])),
    ]


@pytest.fixture
def old_mac(bed: Sandbox) -> Iterator[None]:
    """Puts back the address of r2 in ext."""
    yield
    set_mac(bed, OUTER["r2"])


def set_mac(bed: Sandbox, mac: str) -> None:
    bed.nbctl("--wait=hv", "set", "logical_router_port", "r2-ext", f'mac="{mac}"')


@pytest.mark.parametrize("hop", ["r2"], indirect=True)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_hop_with_a_new_address_is_followed(
    bed: Sandbox, hop: str, old_mac: None, version: int
) -> None:
    """By the connection that is there as well as by new ones."""
    alice, bob = address(bed, "alice1", version), address(bed, "bob1", version)
    wanted = [conntrack.tcp((bob, alice), (alice, bob), label(NEW_MAC))]
    with talk.Tcp(bed, "bob1", "alice1", alice) as connection:
        connection.exchange()
        set_mac(bed, NEW_MAC)

        def old_one_follows() -> bool:
            connection.exchange()
            return without_marks(conntrack.towards(bed, bob)) == wanted

        assert traffic.obeyed(bed, old_one_follows)

    def new_one_follows() -> bool:
        conntrack.flush(bed)
        talk.tcp(bed, "bob1", "alice1", alice)
        return without_marks(conntrack.towards(bed, bob)) == wanted

    assert traffic.obeyed(bed, new_one_follows)
