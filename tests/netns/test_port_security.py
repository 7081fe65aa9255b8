# SPDX-License-Identifier: Apache-2.0
"""The demonstration of OVSCON 2016, and its cousins for MAC, ARP and ND."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw0, chassis: hv2, port_security: true}
"""


@contextmanager
def changed(bed: Sandbox, *commands: str) -> Iterator[None]:
    """vm1 with another eth0, by its owner's hand; as it was, afterwards."""
    port = bed.ports["vm1"]
    netns.ip(port.netns, *commands)
    try:
        yield
    finally:
        netns.ip(port.netns, "addr flush dev eth0", f"link set eth0 address {port.mac}")
        port.configure()


@pytest.mark.parametrize("peer", ["vm2", "vm3"])
def test_a_changed_ipv4_address_stops_the_ping_and_the_old_one_brings_it_back(
    bed: Sandbox, peer: str
) -> None:
    assert traffic.answers(bed, "vm1", peer)
    with changed(bed, "addr flush dev eth0", "addr add 10.0.0.99/24 dev eth0"):
        assert traffic.silent(bed, "vm1", peer)
    assert traffic.answers(bed, "vm1", peer)


@pytest.mark.parametrize("peer", ["vm2", "vm3"])
def test_a_changed_ipv6_address_stops_the_ping_and_the_old_one_brings_it_back(
    bed: Sandbox, peer: str
) -> None:
    assert traffic.answers(bed, "vm1", peer, 6)
    with changed(bed, "addr flush dev eth0", "addr add fd00::99/64 dev eth0 nodad"):
        assert traffic.silent(bed, "vm1", peer, 6)
    assert traffic.answers(bed, "vm1", peer, 6)


@pytest.mark.parametrize("peer", ["vm2", "vm3"])
def test_a_changed_mac_is_mute(bed: Sandbox, peer: str) -> None:
    with changed(bed, "link set eth0 address 0a:00:00:00:00:99"):
        assert traffic.silent(bed, "vm1", peer)
        assert traffic.silent(bed, "vm1", peer, 6)
    assert traffic.answers(bed, "vm1", peer)
    assert traffic.answers(bed, "vm1", peer, 6)


def test_forged_arp_does_not_leave(bed: Sandbox) -> None:
    """vm1 claims vm3's address by gratuitous ARP: vm2 must not hear of it."""
    forged = bytes.fromhex(
        "ffffffffffff0a0000000001" "0806" "0001080006040001"
        "0a0000000001" "0a000004" "000000000000" "0a000004"
    )  # fmt: skip
    honest = forged.replace(bytes.fromhex("0a000004"), bytes.fromhex("0a000002"))
    with traffic.Wire(bed.ports["vm2"].netns, "eth0") as wire:

        def announce() -> None:
            traffic.send_raw(bed, "vm1", forged)
            traffic.send_raw(bed, "vm1", honest)

        # Kernels ask by ARP, too, whether those that they know are still there.
        arrived = traffic.came(bed, wire, announce, lambda frame: frame in (forged, honest))
        assert arrived == honest
        assert forged not in wire.frames()


def test_a_datagram_to_an_address_that_the_port_may_not_have_is_not_delivered(
    bed: Sandbox,
) -> None:
    """Egress port security: the frame has vm3's MAC but not its address."""
    vm1, vm3 = bed.ports["vm1"], bed.ports["vm3"]
    netns.ip(vm1.netns, f"neigh replace 10.0.0.50 lladdr {vm3.mac} dev eth0 nud permanent")
    with traffic.Wire(vm3.netns, "eth0") as wire:
        assert traffic.answers(bed, "vm1", "vm3")
        assert wire.first(lambda f: f[30:34] == bytes([10, 0, 0, 4]), traffic.ARRIVES)
        traffic.send_udp(bed, "vm1", "10.0.0.50", 4000)
        assert not wire.first(lambda f: f[30:34] == bytes([10, 0, 0, 50]), traffic.ABSENT)
