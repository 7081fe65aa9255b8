# SPDX-License-Identifier: Apache-2.0
"""Many groups on one switch: each is delivered to its member, and none is forgotten.

OVN's system test 58, "mcast flow count", written anew: it counts OpenFlow flows, and this
looks at what members get.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support.learnt import told

TOPOLOGY = """
chassis: {hv1: $agent}
switches: {ls: {ipv4: 42.42.42.0/24}}
ports:
  vm1: {switch: ls, chassis: hv1}
  vm2: {switch: ls, chassis: hv1}
  vm3: {switch: ls, chassis: hv1}
nbctl:
  - set logical_switch ls other_config:mcast_snoop=true other_config:mcast_querier=false
      other_config:mcast_idle_timeout=3000
"""
GROUPS = {
    "vm2": [f"228.1.{number}.1" for number in range(1, 41)],
    "vm3": [f"229.1.{number}.1" for number in range(1, 41)],
}
ALL = sum(GROUPS.values(), [])
OF_A_SOCKET = 20  # memberships that Linux lets one have
PORT = 5000
PATIENCE = 60.0
IP_MULTICAST_ALL = 49  # linux/in.h; Python does not name it


class Guest:
    """Its sockets in groups, until they are closed."""

    def __init__(self, bed: Sandbox, name: str) -> None:
        self._netns = bed.ports[name].netns
        self._sockets: list[socket.socket] = []
        self.received: set[str] = set()

    def join(self, groups: list[str]) -> None:
        for first in range(0, len(groups), OF_A_SOCKET):
            made = self._socket()
            for group in groups[first : first + OF_A_SOCKET]:
                request = struct.pack("4s4si", socket.inet_aton(group), bytes(4), self._index)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            self._sockets.append(made)

    def leave(self) -> None:
        """All groups."""
        self.close()
        self._sockets.clear()

    def _socket(self) -> socket.socket:
        with netns.entered(self._netns):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._index = socket.if_nametoindex("eth0")
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        made.bind(("", PORT))
        return made

    def take(self) -> set[str]:
        """Groups that something has come for, so far."""
        for each in self._sockets:
            while True:
                try:
                    self.received.add(each.recv(64).decode())
                except BlockingIOError:
                    break
        return self.received

    def close(self) -> None:
        for each in self._sockets:
            each.close()


@pytest.fixture(scope="module")
def guests(bed: Sandbox) -> Iterator[dict[str, Guest]]:
    with ExitStack() as stack:
        made = {name: Guest(bed, name) for name in GROUPS}
        for guest in made.values():
            stack.callback(guest.close)
        yield made


def learnt(bed: Sandbox) -> dict[str, int]:
    """Members by group, of IGMP_Group."""
    command = ("--format=csv", "--data=bare", "--no-headings", "--columns=address,ports")
    rows = (line.split(",") for line in bed.sbctl(*command, "list", "igmp_group").splitlines())
    return {address: len(ports.split()) for address, ports in rows}


def cast(bed: Sandbox, groups: list[str]) -> None:
    with netns.entered(bed.ports["vm1"].netns):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        index = socket.if_nametoindex("eth0")
    with sender:
        request = struct.pack("4s4si", bytes(4), bytes(4), index)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
        for group in groups:
            sender.sendto(group.encode(), (group, PORT))


def test_each_group_has_a_row_and_reaches_its_member(
    bed: Sandbox, guests: dict[str, Guest]
) -> None:
    """One after the other, as OVN's test lets them join."""

    def join() -> None:
        for guest in guests.values():
            guest.leave()
        for left, right in zip(*GROUPS.values(), strict=True):
            guests["vm2"].join([left])
            guests["vm3"].join([right])

    told(bed, "vm2", join, lambda: learnt(bed).keys() >= set(ALL), "a row of each group")
    assert {group: learnt(bed)[group] for group in ALL} == dict.fromkeys(ALL, 1)
    bed.nbctl("--wait=hv", "sync")

    def reached() -> bool:
        cast(bed, ALL)
        time.sleep(0.05)
        return all(guests[name].take() >= set(groups) for name, groups in GROUPS.items())

    wait_until(reached, PATIENCE, "what is sent to each group at its member")
    for name, groups in GROUPS.items():
        assert guests[name].received == set(groups)
    log = (bed.layout.root / "ovn-northd.log").read_text()
    assert "Too many active mcast flows" not in log
