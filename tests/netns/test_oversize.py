# SPDX-License-Identifier: Apache-2.0
"""A guest with too large an MTU hears what fits, instead of nothing.

Not for ovn-controller: OVS's userspace data path drops such frames in silence.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def bed(request: pytest.FixtureRequest, kind: str) -> Iterator[Sandbox]:
    """One switch over two chassis, whose guests believe in jumbo frames."""
    for sandbox in traffic.two_chassis(kind, request.param):
        for port in sandbox.ports.values():
            netns.ip(port.netns, "link set eth0 mtu 9000")
            netns.ip(sandbox.chassis[port.chassis].netns, f"link set {port.vif} mtu 9000")
        yield sandbox


def ping(bed: Sandbox, target: str, size: int) -> subprocess.CompletedProcess[str]:
    """One ping of vm1 with DF and `size` bytes of payload."""
    command = bed.ports["vm1"].argv("ping", "-c1", "-W20", "-M", "do", "-s", str(size), target)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_oversize_ipv4_packet_is_told_what_fits(bed: Sandbox) -> None:
    done = ping(bed, bed.ports["vm3"].ip4, 3000)
    assert f"Frag needed and DF set (mtu = {bed.topology.vif_mtu})" in done.stdout


def test_an_oversize_ipv6_packet_is_told_what_fits(bed: Sandbox) -> None:
    done = ping(bed, bed.ports["vm3"].ip6, 3000)
    assert f"Packet too big: mtu={bed.topology.vif_mtu}" in done.stdout


def test_the_same_packet_passes_within_the_chassis(bed: Sandbox) -> None:
    assert ping(bed, bed.ports["vm2"].ip4, 3000).returncode == 0
    assert ping(bed, bed.ports["vm2"].ip6, 3000).returncode == 0


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_finds_its_size(bed: Sandbox, version: int) -> None:
    """Path MTU discovery end to end: a bulk transfer that starts with jumbo segments."""
    assert traffic.carries(bed, "vm1", "vm3", version, 50e6)


def test_all_still_ping_all(bed: Sandbox) -> None:
    assert bed.unanswered(list(itertools.permutations(bed.ports, 2))) == []
