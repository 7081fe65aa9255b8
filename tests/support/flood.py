# SPDX-License-Identifier: Apache-2.0
"""A million UDP connections through the program, by real frames on a veth.

For tests and measures of a large connection table.  Connection n is from one of many
addresses and ports to one server; what becomes of packets is told by counters of
flows, so that nobody has to read them.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.conntrack import Conntrack
from ovn_bpf_controller.datapath.counters import Counters
from ovn_bpf_controller.datapath.loader import sizes
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.records import word
from tests.support.dataplane import Bed, bed, mac

PORTS = 50_000  # from one client address
FIRST_PORT = 10_000
_SPORT = 14 + 20  # offset in the frame; there is no UDP checksum
_PORT = struct.Struct("!H")
SERVER = "10.9.9.9"


class Flood:
    """One chassis: vm1 has all clients, vm2 the server; packets end where they are known."""

    def __init__(self, plane: Bed) -> None:
        self.bed = plane
        self.table = Conntrack(plane.plane.maps, plane.plane.programs)
        plane.plug(1, 2)
        plane.flow(0, 0, 50, "udp", "ct_next;")
        self._numbers: dict[str, str] = {}
        for priority, name, match, actions in (
            (60, "answer", "ct.est && ct.rpl", "drop;"),
            (50, "known", "ct.est", "drop;"),
            (40, "new", "ct.new", "ct_commit { };"),
            (0, "other", "1", "drop;"),
        ):
            plane.flow(0, 1, priority, match, actions)
            self._numbers[name] = plane.last_flow
        plane.flows_live()
        self._time_outs()

    def close(self) -> None:
        """Unmaps what was mapped."""
        self.table.close()

    def _time_outs(self) -> None:
        """An hour for all: none of them is what is looked at."""
        self.table.start()  # sets the defaults first
        control = ArrayMap("ovn_ct_ctl", self.bed.plane.maps["ovn_ct_ctl"])
        try:
            first = word("struct ovn_ct_ctl", "timeout")
            for which in range(lib.OVN_CTT_MAX):
                control.publish(0, first + which, 3_600_000)
        finally:
            control.close()

    def request(self, numbers: range) -> float:
        """A packet from the client of each connection; seconds that took."""
        return self._send("p1", numbers, answer=False)

    def answer(self, numbers: range) -> float:
        """A packet from the server."""
        return self._send("p2", numbers, answer=True)

    def _send(self, peer: str, numbers: range, answer: bool) -> float:
        send = self.bed._sockets[peer].send
        begin = time.perf_counter()
        for first in range(numbers.start - numbers.start % PORTS, numbers.stop, PORTS):
            frame = bytearray(_frame(first // PORTS, answer))
            place = _SPORT + (2 if answer else 0)
            for n in range(max(first, numbers.start), min(first + PORTS, numbers.stop)):
                _PORT.pack_into(frame, place, FIRST_PORT + n - first)
                send(frame)
        return time.perf_counter() - begin

    def counts(self) -> dict[str, int]:
        """Packets so far by what they were: new, known, answer, other."""
        counters = Counters("ovn_flows", self.bed.plane.maps["ovn_flows"])
        numbers = self.bed.compiler.flow_ids
        return {
            name: counters.read(numbers.number(uuid) or 0).packets
            for name, uuid in self._numbers.items()
        }


def _frame(client: int, answer: bool) -> bytes:
    ip = f"10.{client >> 8 & 255}.{client & 255}.1"
    there = IP(src=ip, dst=SERVER) / UDP(sport=0, dport=53, chksum=0)
    back = IP(src=SERVER, dst=ip) / UDP(sport=53, dport=0, chksum=0)
    packet = back if answer else there
    source = mac(2) if answer else mac(1)
    return bytes(Ether(src=source, dst=mac(9)) / packet / Raw(b"x" * 18))


@contextmanager
def flood(connections: int) -> Iterator[Flood]:
    """A Flood over a table with room for this many."""
    wanted = sizes(connections + 1)  # element 0 is not used
    table = {name: wanted[name] for name in ("ovn_conns", "ovn_ct_idx", "ovn_ct_free")}
    with bed(table) as plane:
        made = Flood(plane)
        try:
            yield made
        finally:
            made.close()
