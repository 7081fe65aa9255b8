# SPDX-License-Identifier: Apache-2.0
"""The tunnel over IPv6, and frames at and above what it carries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def bed(request: pytest.FixtureRequest, kind: str) -> Iterator[Sandbox]:
    """One switch over two chassis, with either underlay."""
    yield from traffic.two_chassis(kind, request.param)


def least(bed: Sandbox) -> float:
    """TCP bits per second that any machine manages."""
    return 1e6 if bed.topology.mixed else 100e6


def test_all_ping_all(bed: Sandbox) -> None:
    assert bed.unanswered(list(itertools.permutations(bed.ports, 2))) == []


def test_the_outer_family_is_the_underlays(bed: Sandbox) -> None:
    kind = b"\x08\x00" if bed.topology.underlay == "ipv4" else b"\x86\xdd"
    with traffic.Wire(bed.layout.underlay_netns, traffic.underlay_port(bed, "hv1")) as wire:
        assert traffic.answers(bed, "vm1", "vm3")
        frames = [frame for frame in wire.frames() if traffic.geneve(frame)]
    assert frames
    assert {frame[12:14] for frame in frames} == {kind}


@pytest.mark.parametrize("version", [4, 6])
def test_the_largest_packet_that_fits_passes(bed: Sandbox, version: int) -> None:
    room = bed.topology.vif_mtu - (28 if version == 4 else 48)
    target = bed.ports["vm3"].guest.address(version)
    assert target is not None
    command = ("ping", "-c1", "-W10", "-q", "-M", "do", "-s", str(room), target)
    argv = bed.ports["vm1"].argv(*command)
    assert traffic.obeyed(bed, lambda: " 1 received" in traffic.output(argv))


@pytest.mark.parametrize("pair", [("vm1", "vm2"), ("vm1", "vm3"), ("vm3", "vm1")])
@pytest.mark.parametrize("version", [4, 6])
def test_tcp_crosses_in_bulk(bed: Sandbox, pair: tuple[str, str], version: int) -> None:
    assert traffic.carries(bed, *pair, version, least(bed))


def test_tunnelled_tcp_stays_in_large_segments(bed: Sandbox) -> None:
    """GSO intact: what reaches the underlay device is far larger than its MTU."""
    with traffic.Wire(bed.layout.underlay_netns, traffic.underlay_port(bed, "hv1")) as wire:
        traffic.throughput(bed, "vm1", "vm3", 4, "-n", "4M")
        sizes = [len(frame) for frame in wire.frames() if traffic.geneve(frame)]
    if bed.topology.mixed:  # offload is off there, see sandbox/underlay.py
        assert max(sizes) <= bed.topology.mtu + 14
    else:
        assert max(sizes) > 8000
