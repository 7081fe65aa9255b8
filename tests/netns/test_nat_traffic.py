# SPDX-License-Identifier: Apache-2.0
"""What must survive translation: super-frames, fragments, errors that quote, ports.

    foo1 - foo - r1 - join - r2 - alice - alice1, alice2
           (hv1)         (gateway, on hv2)  (hv2)   (hv1)

Offloads are as they come where our chassis forward, so that NAT sees partial checksums
and super-frames, on veths and through a tunnel in either direction.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.talk import address

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  foo1: {switch: foo, chassis: hv1}
  foo2: {switch: foo, chassis: hv2}
  alice1: {switch: alice, chassis: hv2}
  alice2: {switch: alice, chassis: hv1}
$gateway
  - lr-route-add r2 192.168.1.0/24 20.0.0.1
  - lr-nat-add r2 snat 30.0.0.1 192.168.1.0/24
  - lr-nat-add r2 snat fd30::1 fd11::/64
  - lr-nat-add r2 dnat 30.0.0.2 192.168.1.2
  - lr-nat-add r2 dnat fd30::2 fd11::2
  - --portrange lr-nat-add r2 snat 30.0.0.3 192.168.1.3 6000-6003
  - --portrange lr-nat-add r2 snat fd30::3 fd11::3 6000-6003
"""
VERSIONS = (4, 6)
SNAT = {4: "30.0.0.1", 6: "fd30::1"}
DNAT = {4: "30.0.0.2", 6: "fd30::2"}
RANGED = {4: "30.0.0.3", 6: "fd30::3"}
SLOWEST = 20e6  # bits per second; without its checksums or offloads right TCP creeps


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("foo1", "foo2"), ("alice1", "alice2"))


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("outer", ["alice1", "alice2"])
@pytest.mark.parametrize("way", ["snat", "dnat"])
def test_tcp_streams_in_bulk_both_ways(bed: Sandbox, version: int, outer: str, way: str) -> None:
    ends = ("foo1", outer, address(bed, outer, version))
    if way == "dnat":
        ends = (outer, "foo1", DNAT[version])
    size = 2 << 20

    def fast() -> bool:
        with talk.Tcp(bed, *ends) as connection:
            begin = time.monotonic()
            connection.stream(size)
            return 2 * 8 * size / (time.monotonic() - begin) > SLOWEST

    assert any(fast() for _ in range(5))  # two processors are shared with other tests


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("outer", ["alice1", "alice2"])
def test_fragments_follow_their_first(bed: Sandbox, version: int, outer: str) -> None:
    with talk.Udp(bed, "foo1", outer, address(bed, outer, version)) as flow:
        flow.exchange(4000)
        assert flow.seen[0] == SNAT[version]
    with talk.Udp(bed, outer, "foo1", DNAT[version]) as flow:
        flow.exchange(4000)


@pytest.mark.parametrize("outer", ["alice1", "alice2"])
@pytest.mark.parametrize("probe", [(), ("-I",), ("-T", "-p", "80")])
def test_hops_behind_a_translated_address_answer_in_its_name(
    bed: Sandbox, outer: str, probe: tuple[str, ...]
) -> None:
    """r1's error comes from 20.0.0.1 and quotes 192.168.1.2: both become what was asked."""
    command = ("traceroute", "-n", "-q1", "-w3", "-N1", "-m6", *probe, DNAT[4])

    def hops() -> list[str]:
        lines = traffic.output(bed.ports[outer].argv(*command)).splitlines()[1:]
        return [line.split()[1] for line in lines]

    assert traffic.obeyed(bed, lambda: hops() == ["172.16.1.1", DNAT[4], DNAT[4]]), hops()


@pytest.mark.parametrize("version", VERSIONS)
def test_errors_about_either_end_are_translated(bed: Sandbox, version: int) -> None:
    assert talk.refused(bed, "foo1", address(bed, "alice2", version))
    assert talk.refused(bed, "alice2", DNAT[version])


@pytest.mark.parametrize("version", VERSIONS)
def test_snat_keeps_to_its_port_range(bed: Sandbox, version: int) -> None:
    """As long as no two of its connections would look alike: four ports for one target."""
    outer = address(bed, "alice1", version)
    ranged = [(RANGED[version], port) for port in range(6000, 6004)]
    with ExitStack() as stack:

        def seen(target: int, source: int) -> tuple[str, int]:
            flow = talk.Udp(bed, "foo2", "alice1", outer, target, source_port=source)
            return stack.enter_context(flow).seen

        assert {seen(7000 + number, 5000 + number) for number in range(8)} <= set(ranged)
        assert sorted(seen(8000, 5100 + number) for number in range(4)) == ranged
        if bed.chassis["hv2"].ours:  # OVS's userspace data path lets a fifth out as it is
            fifth = talk.open_socket(bed, "foo2", socket.SOCK_DGRAM, version)
            eyes = traffic.Wire(bed.ports["alice1"].netns, "eth0")
            stack.callback(fifth.close)
            stack.callback(eyes.close)
            fifth.sendto(b"the fifth", (outer, 8000))
            assert eyes.first(lambda frame: b"the fifth" in frame, traffic.ABSENT) is None
