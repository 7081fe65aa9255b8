# SPDX-License-Identifier: Apache-2.0
"""BFD for routes: packets as the RFC has them, and a real routing daemon as the peer.

OVN's system test 44, "BFD", with another daemon.  ovn-controller 23.03 passes too, but
sleeps for up to a minute over each change.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scapy.contrib.bfd import BFD
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support import traffic
from tests.support.beds import OURS
from tests.support.bird import Bird
from tests.support.routes import FAR, PATIENCE, hops, wait_status, watch

ANNOUNCED = ("the slow path ended with status -9",)  # a test kills it
KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {out: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
routers:
  gr1:
    ports:
      gr1-out: {switch: out, mac: "0e:00:00:00:01:02", networks: [10.0.0.1/24, "fd00::1/64"]}
ports:
  vm1: {switch: out, chassis: hv1}
nbctl: [set logical_router gr1 options:chassis=hv1]
"""
OTHER = {4: "10.0.0.77", 6: "fd00::77"}
STEADY = 200  # packets: twenty seconds, for what a busy machine does in one


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def control(frame: bytes, network: type[Packet]) -> Packet | None:
    """A BFD packet of gr1's."""
    packet = Ether(frame)
    if packet.haslayer(network) and packet.haslayer(UDP) and packet[UDP].dport == 3784:
        return packet
    return None


@contextmanager
def watching(bed: Sandbox, version: int, mult: int = 3) -> Iterator[tuple[str, str]]:
    """gr1 has a route by way of vm1, which it watches; uuids of the BFD row and the route."""
    peer = str(bed.ports["vm1"].guest.address(version))
    row = watch(bed, "gr1-out", peer, mult)
    bed.nbctl("lr-route-add", "gr1", FAR[version], peer)
    route = bed.nbctl("--bare", "get", "logical_router", "gr1", "static_routes").strip("[]\n")
    bed.nbctl("set", "logical_router_static_route", route, f"bfd={row}")
    try:
        yield row, route
    finally:
        bed.nbctl("lr-route-del", "gr1")
        bed.nbctl("destroy", "bfd", row)


@pytest.fixture
def silent(bed: Sandbox, version: int) -> Iterator[str]:
    """vm1 does not answer; the uuid of the route that wants it watched."""
    with watching(bed, version) as (row, route):
        wait_status(bed, row, "down")
        yield route


def test_packets_are_as_rfc_5880_has_them(bed: Sandbox, silent: str, version: int) -> None:
    """To somebody who does not answer: Down, and no discriminator of his."""
    network = IP if version == 4 else IPv6
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        frame = wire.first(lambda f: control(f, network) is not None, PATIENCE)
    assert frame is not None
    packet = Ether(frame)
    disc = int(bed.sbctl("--bare", "--columns=disc", "find", "bfd", "logical_port=gr1-out"))
    sport = int(bed.sbctl("--bare", "--columns=src_port", "find", "bfd", "logical_port=gr1-out"))
    assert packet.dst == bed.ports["vm1"].guest.mac
    assert packet[network].src == ("10.0.0.1" if version == 4 else "fd00::1")
    assert packet[UDP].sport == sport
    message = BFD(bytes(packet[UDP].payload))
    assert (message.version, message.diag, message.sta, int(message.flags)) == (1, 0, 1, 0)
    assert (message.detect_mult, message.len) == (3, 24)
    assert (message.my_discriminator, message.your_discriminator) == (disc & 0xFFFFFFFF, 0)
    assert (message.min_tx_interval, message.min_rx_interval) == (100_000, 100_000)
    assert message.echo_rx_interval == 0
    if version == 6:
        sent = packet[UDP].chksum
        del packet[UDP].chksum
        assert Ether(bytes(packet))[UDP].chksum == sent


def test_nobody_is_asked_while_no_route_wants_it(bed: Sandbox, silent: str, version: int) -> None:
    network = IP if version == 4 else IPv6
    [row] = bed.nbctl("--bare", "--columns=_uuid", "find", "bfd", "logical_port=gr1-out").split()

    def asks(frame: bytes) -> bool:
        return control(frame, network) is not None

    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        assert wire.first(asks, PATIENCE)
        bed.nbctl("clear", "logical_router_static_route", silent, "bfd")
        wait_status(bed, row, "admin_down")
        bed.nbctl("--wait=hv", "sync")

        def nobody_asks() -> bool:
            wire.frames()
            return wire.first(asks, 0.5) is None

        wait_until(nobody_asks, PATIENCE, "end of the questions")
        bed.nbctl("set", "logical_router_static_route", silent, f"bfd={row}")
        wait_status(bed, row, "down")
        assert wire.first(asks, PATIENCE)


def test_a_routing_daemon_is_a_peer(bed: Sandbox, version: int) -> None:
    """One of two next hops leaves when its BIRD is killed, and comes back."""
    guest = bed.ports["vm1"].guest
    theirs = str(guest.address(version))
    ours = "10.0.0.1" if version == 4 else "fd00::1"
    row = watch(bed, "gr1-out", theirs)
    bed.nbctl("lr-route-add", "gr1", FAR[version], OTHER[version])
    bed.nbctl("--ecmp", "lr-route-add", "gr1", FAR[version], theirs)
    route = bed.nbctl(
        "--bare", "--columns=_uuid", "find", "logical_router_static_route", f'nexthop="{theirs}"'
    ).strip()
    bed.nbctl("set", "logical_router_static_route", route, f"bfd={row}")
    both = {OTHER[version], theirs}
    try:
        with Bird(bed.ports["vm1"].netns, "eth0", ours) as bird:
            wait_status(bed, row, "up")
            wait_until(lambda: bird.state() == "Up", PATIENCE, "session in BIRD")
            wait_until(lambda: hops(bed, "gr1") == both, PATIENCE, "both hops")
            bird.kill()
            wait_status(bed, row, "down")
            only = both - {theirs}
            wait_until(lambda: hops(bed, "gr1") == only, PATIENCE, "one hop")
        with Bird(bed.ports["vm1"].netns, "eth0", ours):
            wait_status(bed, row, "up")
    finally:
        bed.nbctl("lr-route-del", "gr1")
        bed.nbctl("destroy", "bfd", row)


@pytest.fixture
def distributed(bed: Sandbox) -> Iterator[Callable[[], None]]:
    """gr1 has a gateway port instead of being a gateway router, until this is called."""
    bed.nbctl("remove", "logical_router", "gr1", "options", "chassis", "--",
              "lrp-set-gateway-chassis", "gr1-out", "hv1")  # fmt: skip

    def as_it_was() -> None:
        bed.nbctl("clear", "logical_router_port", "gr1-out", "gateway_chassis", "--",
                  "set", "logical_router", "gr1", "options:chassis=hv1")  # fmt: skip

    yield as_it_was
    as_it_was()
    bed.sync()


def test_a_session_ends_and_begins_anew_on_another_kind_of_router(
    bed: Sandbox, distributed: Callable[[], None]
) -> None:
    guest = bed.ports["vm1"].netns
    with watching(bed, 4) as (row, route), Bird(guest, "eth0", "10.0.0.1") as bird:
        wait_status(bed, row, "up")
        bed.nbctl("clear", "logical_router_static_route", route, "bfd")
        wait_status(bed, row, "admin_down")
        wait_until(lambda: bird.state() != "Up", PATIENCE, "end of the session in BIRD")
        distributed()
        bed.nbctl("set", "logical_router_static_route", route, f"bfd={row}")
        wait_status(bed, row, "up")


@pytest.fixture
def session(bed: Sandbox) -> Iterator[Bird]:
    """BIRD in vm1, whose session with gr1 is up; either side may miss STEADY packets."""
    guest = bed.ports["vm1"].netns
    with watching(bed, 4, STEADY) as (row, _), Bird(guest, "eth0", "10.0.0.1", STEADY) as bird:
        wait_status(bed, row, "up")
        wait_until(lambda: bird.state() == "Up", PATIENCE, "session in BIRD")
        yield bird
        wait_status(bed, row, "up")


@pytest.fixture
def unbroken(bed: Sandbox, session: Bird) -> Iterator[None]:
    """What happens meanwhile, the peer notices nothing, and hears us after it."""
    before = session.changes()
    assert before[-1].endswith("to Up")
    yield
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        for _ in range(20):
            assert wire.first(lambda f: control(f, IP) is not None, PATIENCE)
    assert (session.state(), session.changes()) == ("Up", before)


@pytest.mark.usefixtures("unbroken")
def test_a_session_outlives_the_agent(bed: Sandbox) -> None:
    bed.chassis["hv1"].stop_agent(signal.SIGKILL)
    try:
        with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
            for _ in range(20):
                assert wire.first(lambda f: control(f, IP) is not None, PATIENCE)
    finally:
        before = slow_path(bed)
        bed.chassis["hv1"].start_agent()
    wait_until(lambda: slow_path(bed) != before, PATIENCE, "slow path of the next agent")


@pytest.mark.usefixtures("unbroken")
def test_a_session_outlives_the_slow_path(bed: Sandbox) -> None:
    """The next process takes it up where its peer still has it."""
    before = slow_path(bed)
    bed.chassis["hv1"].run("kill", "-9", str(before))
    wait_until(lambda: slow_path(bed) != before, PATIENCE, "another slow path")


def slow_path(bed: Sandbox) -> int:
    """Its pid; the last one's while none runs."""
    return int((bed.chassis["hv1"].root / "ovn-slowpath.pid").read_text())
