# SPDX-License-Identifier: Apache-2.0
"""An agent whose tables are full goes on to larger ones; traffic does not notice.

Tables begin with room for 32,767 addresses of sets: so an address set of more makes
them grow.  Killed anywhere on the way, the next agent finishes it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ovn_bpf_controller.process.crash import VARIABLE
from ovn_bpf_controller.sandbox import ping, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, punting, traffic

KINDS = ("alone",)
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
"""
OPTIONS6 = {"server_id": "c0:ff:ee:00:00:01", "dns_server": "fd00::53"}
ADDRESSES = 33_000
ALLOWED, DENIED = 4000, 4001
INTERVAL = 0.001
# Points that an agent which adopted its maps comes by only when they grow.
POINTS = (
    pytest.param("programs-loaded", marks=pytest.mark.long),
    "maps-pinned",
    pytest.param("programs-pinned", marks=pytest.mark.long),
    "change-live",
    "link-inherited",
    pytest.param("superseded", marks=pytest.mark.long),
)


@pytest.fixture(scope="module", autouse=True)
def slow_path(bed: Sandbox) -> None:
    """There is one, which must go over too."""
    dhcp.serve6(bed, OPTIONS6, "vm1")


@pytest.fixture(autouse=True)
def small(bed: Sandbox) -> Iterator[None]:
    """hv1's tables are as they are at first; it denies what comes from many addresses, but
    the set is empty yet."""
    hv1 = bed.chassis["hv1"]
    bed.nbctl("--if-exists", "destroy", "address_set", "many")
    bed.nbctl("acl-del", "sw0")
    if hv1.agent_pid() is not None:
        hv1.exit_agent()
    hv1.start_agent()
    bed.nbctl("create", "address_set", "name=many")
    deny = f"ip4.src == $many && udp.dst == {DENIED}"
    bed.nbctl("--wait=hv", "acl-add", "sw0", "from-lport", "1000", deny, "drop")
    bed.wait_up("vm1")
    bed.sync()
    assert traffic.delivers(bed, "vm1", "vm2", DENIED)
    assert room(bed) < ADDRESSES
    yield
    bed.nbctl("acl-del", "sw0")


def room(bed: Sandbox) -> int:
    """How many addresses of sets fit."""
    said = bed.chassis["hv1"].appctl("ovn-bpf/status")
    [line] = [line for line in said.splitlines() if "map ovn_sets:" in line]
    return int(line.split()[-1])


def fill(bed: Sandbox) -> None:
    """More addresses than there is room for; vm1's is one of them."""
    others = (f"172.16.{n >> 8}.{n & 255}" for n in range(ADDRESSES))
    bed.nbctl("add", "address_set", "many", "addresses", bed.ports["vm1"].ip4, *others)


@contextmanager
def pings(bed: Sandbox) -> Iterator[list[ping.Stream]]:
    """Within the chassis and across, every millisecond; none may be lost."""
    source = bed.ports["vm1"].netns
    with ExitStack() as stack:
        streams = [
            stack.enter_context(ping.Stream(source, bed.ports[to].ip4, INTERVAL))
            for to in ("vm2", "vm3")
        ]
        yield streams
        for stream in streams:
            stream.wait_sent(200)
    assert [stream.lost for stream in streams] == [0, 0]


def grown(bed: Sandbox) -> None:
    """All is in the large tables, and nothing is left of the small ones."""
    bed.sync()
    assert room(bed) > ADDRESSES
    assert traffic.blocked(bed, "vm1", "vm2", DENIED)
    assert traffic.delivers(bed, "vm1", "vm3", ALLOWED)
    hv1 = bed.chassis["hv1"]
    assert len(list(hv1.bpffs.glob("ovn-bpf/*/*/maps"))) == 1
    assert hv1.appctl("ovn-bpf/check").endswith(" 0 differences")


def test_nothing_is_lost_when_tables_grow(bed: Sandbox) -> None:
    port = bed.ports["vm1"]
    asked: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            asked.extend(punting.asked(port.netns, "eth0", punting.dhcpv6(port.mac), 0.2))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        with pings(bed):
            fill(bed)
            bed.sync()
    finally:
        over.set()
        thread.join()
    assert asked and float("inf") not in asked
    grown(bed)
    bed.chassis["hv1"].exit_agent("--restart")
    with pings(bed):
        bed.chassis["hv1"].start_agent()
        bed.sync()
    grown(bed)


@pytest.mark.parametrize("point", POINTS)
def test_an_agent_may_die_while_tables_grow(
    bed: Sandbox, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    hv1 = bed.chassis["hv1"]
    hv1.exit_agent("--restart")
    with pings(bed):
        fill(bed)
        monkeypatch.setenv(VARIABLE, point)
        pid = hv1.spawn_agent()
        monkeypatch.delenv(VARIABLE)
        process.wait_until(lambda: not process.alive(pid), 120.0, f"an end at {point}")
        hv1.start_agent()
        bed.sync()
    grown(bed)
