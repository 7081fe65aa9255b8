# SPDX-License-Identifier: Apache-2.0
"""A next hop behind a gateway port of another chassis, which alone hears the answer."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import talk

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  ext: {ipv4: 172.16.0.0/24, ipv6: "fd16::/64"}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      r0-ext: {switch: ext, mac: "0e:00:00:00:00:02", networks: [172.16.0.1/24, "fd16::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  out: {switch: ext, chassis: hv2}
"""
EXTRA = {4: "172.16.0.77", 6: "fd16::77"}


@pytest.fixture(scope="module", autouse=True)
def gateway(bed: Sandbox) -> None:
    """On the other chassis, where a host has addresses that Northbound does not know."""
    bed.nbctl("lrp-set-gateway-chassis", "r0-ext", "hv2")
    bed.nbctl("lsp-set-addresses", "out", bed.ports["out"].mac, "unknown")
    for version, address in EXTRA.items():
        length = 24 if version == 4 else 64
        netns.ip(bed.ports["out"].netns, f"addr add {address}/{length} dev eth0 nodad")
    bed.nbctl("--wait=hv", "sync")
    bed.sbctl("--timeout=60", "wait-until", "port_binding", "cr-r0-ext", "up=true")
    bed.nbctl("--wait=hv", "sync")


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_packet_arrives(bed: Sandbox, version: int) -> None:
    assert talk.all_of_three(bed, "vm1", EXTRA[version])
    find = ("--bare", "--columns=logical_port", "find", "mac_binding", f'ip="{EXTRA[version]}"')
    process.wait_until(lambda: bed.sbctl(*find).split() == ["r0-ext"], 60.0, "what was learnt")
