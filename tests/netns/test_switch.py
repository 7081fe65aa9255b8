# SPDX-License-Identifier: Apache-2.0
"""One logical switch over two chassis: everything a LAN does."""

from __future__ import annotations

import itertools
import os
import socket

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}, sw1: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
  stranger: {switch: sw1, chassis: hv2, ips: [10.0.0.2/24], mac: "0a:00:00:00:00:01"}
  learner: {switch: sw0, chassis: hv2, mac: "0a:00:00:00:00:77", ips: [10.0.0.77/24],
            addresses: [unknown]}
"""

VMS = ("vm1", "vm2", "vm3")


def test_every_port_pings_every_other(bed: Sandbox) -> None:
    assert bed.unanswered(list(itertools.permutations(VMS, 2))) == []


def test_a_port_without_known_addresses_is_flooded_to(bed: Sandbox) -> None:
    assert bed.unanswered([("vm1", "learner"), ("vm3", "learner"), ("learner", "vm2")], (4,)) == []


def test_another_switch_with_the_same_addresses_is_separate(bed: Sandbox) -> None:
    traffic.acquaint(bed, "vm3", "stranger")
    try:
        assert traffic.blocked(bed, "stranger", "vm3", 4000)
    finally:
        for name in ("vm3", "stranger"):
            netns.ip(bed.ports[name].netns, "neigh flush dev eth0 nud permanent")


def test_broadcast_reaches_each_other_port_once_and_no_other_switch(bed: Sandbox) -> None:
    with netns.entered(bed.ports["vm1"].netns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    names = ("vm1", "vm2", "vm3", "learner", "stranger")
    wires = {name: traffic.Wire(bed.ports[name].netns, "eth0") for name in names}
    wanted = {"vm1": 1, "vm2": 1, "vm3": 1, "learner": 1, "stranger": 0}  # vm1: as it leaves

    def counts() -> dict[str, int]:
        """Who sees how many of one broadcast."""
        payload = b"to everyone on sw0 " + os.urandom(8)
        sender.sendto(payload, ("10.0.0.255", 4001))
        found = dict.fromkeys(wires, 0)
        for name in ("vm2", "vm3", "learner"):
            found[name] += wires[name].first(lambda f: payload in f, traffic.ARRIVES) is not None
        # No sleep: the answer to a ping comes after whatever was flooded before it.
        assert bed.unanswered(list(itertools.permutations(VMS, 2)), (4,)) == []
        for name, wire in wires.items():
            found[name] += sum(payload in frame for frame in wire.frames())
        return found

    with sender:
        assert traffic.obeyed(bed, lambda: counts() == wanted), counts()
    for wire in wires.values():
        wire.close()


def test_arp_for_a_known_address_is_answered_without_the_owner(bed: Sandbox) -> None:
    owner = bed.ports["vm3"]
    netns.ip(bed.ports["vm1"].netns, "neigh flush dev eth0")
    request = owner.guest.address(4)
    assert request is not None
    with traffic.Wire(owner.netns, "eth0") as wire:
        assert traffic.answers(bed, "vm1", "vm3")
        asked = [f for f in wire.frames() if f[12:14] == b"\x08\x06" and f[20:22] == b"\x00\x01"
                 and f[38:42] == socket.inet_aton(request)]  # fmt: skip
    assert asked == []


def test_neighbour_discovery_for_a_known_address_is_answered_without_the_owner(
    bed: Sandbox,
) -> None:
    owner = bed.ports["vm3"]
    netns.ip(bed.ports["vm1"].netns, "neigh flush dev eth0")
    target = socket.inet_pton(socket.AF_INET6, owner.ip6)
    with traffic.Wire(owner.netns, "eth0") as wire:
        assert traffic.answers(bed, "vm1", "vm3", 6)
        asked = [f for f in wire.frames() if f[12:14] == b"\x86\xdd" and f[54:55] == b"\x87"
                 and f[62:78] == target]  # fmt: skip
    assert asked == []
