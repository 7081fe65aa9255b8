# SPDX-License-Identifier: Apache-2.0
"""Path MTU discovery through a router by guests that believe in jumbo frames.

Not for ovn-controller: OVS's userspace data path drops such frames in silence.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw1, chassis: hv1}
  vm3: {switch: sw1, chassis: hv2}
$routed
"""


@pytest.fixture(scope="module")
def jumbo(bed: Sandbox) -> Iterator[Sandbox]:
    for port in bed.ports.values():
        netns.ip(port.netns, "link set eth0 mtu 9000")
        netns.ip(bed.chassis[port.chassis].netns, f"link set {port.vif} mtu 9000")
    yield bed


def ping(bed: Sandbox, target: str, size: int) -> str:
    """What one ping of vm1 with DF and `size` bytes of payload prints."""
    command = ("ping", "-n", "-c1", "-W20", "-M", "do", "-s", str(size), target)
    return traffic.output(bed.ports["vm1"].argv(*command))


def test_the_sender_is_told_what_fits_the_tunnel(jumbo: Sandbox) -> None:
    mtu = jumbo.topology.vif_mtu
    said = ping(jumbo, jumbo.ports["vm3"].ip4, 8000)
    assert f"Frag needed and DF set (mtu = {mtu})" in said
    assert f"Packet too big: mtu={mtu}" in ping(jumbo, jumbo.ports["vm3"].ip6, 8000)


def test_large_packets_pass_where_there_is_no_tunnel(jumbo: Sandbox) -> None:
    assert " 0% packet loss" in ping(jumbo, jumbo.ports["vm2"].ip4, 8000)
    assert " 0% packet loss" in ping(jumbo, jumbo.ports["vm2"].ip6, 8000)


@pytest.mark.parametrize("version", [4, 6])
def test_a_bulk_transfer_finds_its_size(jumbo: Sandbox, version: int) -> None:
    assert traffic.carries(jumbo, "vm1", "vm3", version, 50e6)
