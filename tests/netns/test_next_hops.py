# SPDX-License-Identifier: Apache-2.0
"""A packet for a next hop that nobody has asked for yet is delivered, not lost."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 10.1.0.0/24, ipv6: "fd01::/64"}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      r0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [10.1.0.1/24, "fd01::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw1, chassis: hv1}
"""
EXTRA = {4: "10.1.0.77", 6: "fd01::77"}


@pytest.fixture(scope="module", autouse=True)
def unknown(bed: Sandbox) -> None:
    """vm2 may use addresses that Northbound does not know, and has one."""
    bed.nbctl("lsp-set-addresses", "vm2", f"{bed.ports['vm2'].mac}", "unknown")
    for version, address in EXTRA.items():
        length = 24 if version == 4 else 64
        netns.ip(bed.ports["vm2"].netns, f"addr add {address}/{length} dev eth0 nodad")
    bed.nbctl("--wait=hv", "sync")


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_packet_arrives(bed: Sandbox, version: int) -> None:
    pings = ["ping", "-n", "-q", "-c", "3", "-i", "0.3", "-W", "5", EXTRA[version]]
    out = netns.run(netns.argv(bed.ports["vm1"].netns, pings))
    assert "3 packets transmitted, 3 received" in out


@pytest.mark.parametrize("version", [4, 6])
def test_what_was_learnt_serves_the_next(bed: Sandbox, version: int) -> None:
    with traffic.Wire(bed.ports["vm2"].netns, "eth0") as wire:
        pings = ["ping", "-n", "-q", "-c", "1", "-W", "5", EXTRA[version]]
        assert " 1 received" in netns.run(netns.argv(bed.ports["vm1"].netns, pings))
        asked = [f for f in wire.frames() if is_request(f, version)]
    assert asked == []


def is_request(frame: bytes, version: int) -> bool:
    """ARP, or a neighbour solicitation, of the router."""
    if frame[6:12] != bytes.fromhex("0e0000000002"):
        return False
    if version == 4:
        return frame[12:14] == b"\x08\x06" and frame[21] == 1
    return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 135
