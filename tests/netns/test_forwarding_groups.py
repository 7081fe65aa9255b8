# SPDX-License-Identifier: Apache-2.0
"""Forwarding groups: one of several ports behind an address, or nothing at all.

What makes a group do nothing is ovn-controller's (encode_FWD_GROUP of its lib/actions.c),
which passes these tests as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

KINDS = ("alone", "oracle")
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  near: {switch: sw0, chassis: hv1}
  far1: {switch: sw0, chassis: hv2}
  far2: {switch: sw0, chassis: hv2}
"""
VIP, VMAC = "10.0.0.100", "0a:00:00:00:99:99"
FLOWS = 64  # all of them go to one of two ports with odds of 1e-19


@pytest.fixture(scope="module")
def wires(bed: Sandbox) -> Iterator[dict[str, traffic.Wire]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(traffic.Wire(bed.ports[name].netns, "eth0"))
            for name in ("vm1", "near", "far1", "far2")
        }


@pytest.fixture(autouse=True)
def no_group(bed: Sandbox) -> Iterator[None]:
    yield
    bed.nbctl("--if-exists", "fwd-group-del", "group")


def group(bed: Sandbox, *ports: str, liveness: bool) -> None:
    """Makes the only group anew."""
    bed.nbctl("--if-exists", "fwd-group-del", "group")
    options = ["--liveness"] if liveness else []
    bed.nbctl("--wait=hv", *options, "fwd-group-add", "group", "sw0", VIP, VMAC, *ports)


def reached(bed: Sandbox, wires: dict[str, traffic.Wire]) -> set[str]:
    """Who gets packets to the group that vm1 sends; each of the ports can be reached."""
    token = os.urandom(16)
    for n in range(FLOWS):
        wires["vm1"].send(frame(bed, VMAC, VIP, token, 1000 + n))
    return {name for name in ("near", "far1", "far2") if token in until_asked(bed, wires, name)}


def until_asked(bed: Sandbox, wires: dict[str, traffic.Wire], name: str) -> bytes:
    """What a port gets up to a packet to itself that vm1 sends now."""
    port, mark = bed.ports[name], os.urandom(16)
    seen: list[bytes] = []

    def last(found: bytes) -> bool:
        seen.append(found)
        return mark in found

    def ask() -> None:
        wires["vm1"].send(frame(bed, port.mac, port.ip4, mark, 9))

    assert traffic.came(bed, wires[name], ask, last) is not None, name
    return b"".join(seen)


def frame(bed: Sandbox, mac: str, ip: str, data: bytes, port: int) -> bytes:
    """A datagram of vm1's."""
    headers = Ether(src=bed.ports["vm1"].mac, dst=mac) / IP(src=bed.ports["vm1"].ip4, dst=ip)
    return bytes(headers / UDP(sport=port, dport=53) / Raw(data))


@pytest.mark.parametrize("liveness", [False, True])
def test_ports_behind_tunnels_share_what_comes(
    bed: Sandbox, wires: dict[str, traffic.Wire], liveness: bool
) -> None:
    group(bed, "far1", "far2", liveness=liveness)
    assert traffic.obeyed(bed, lambda: reached(bed, wires) == {"far1", "far2"})


def test_without_liveness_a_port_here_has_its_share(
    bed: Sandbox, wires: dict[str, traffic.Wire]
) -> None:
    group(bed, "near", "far1", liveness=False)
    assert traffic.obeyed(bed, lambda: reached(bed, wires) == {"near", "far1"})


def test_with_liveness_a_port_here_stops_the_group(
    bed: Sandbox, wires: dict[str, traffic.Wire]
) -> None:
    """No tunnel leads to it that could be watched."""
    group(bed, "near", "far1", liveness=True)
    assert traffic.obeyed(bed, lambda: not reached(bed, wires))
