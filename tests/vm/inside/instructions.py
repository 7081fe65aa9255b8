# SPDX-License-Identifier: Apache-2.0
"""Instructions of the guest per packet, ours beside Open vSwitch's kernel data path.

Runs in a guest whose clock is its instruction counter (1 ns each): tests.vm.instructions
starts it.  Frames leave a guest's namespace by AF_PACKET and end at a filter in the
other's; what the sender costs by itself is the baseline, where they end at once.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import talk

TOPOLOGY = """
chassis: {hv1: {}, hv2: {agent: ovn-controller, datapath: system}}
switches: {plain: {ipv4: 10.0.0.0/24}, guarded: {ipv4: 10.1.0.0/24}}
ports:
  p1: {switch: plain, chassis: hv1}
  p2: {switch: plain, chassis: hv1}
  p3: {switch: guarded, chassis: hv1}
  p4: {switch: guarded, chassis: hv1}
  q1: {switch: plain, chassis: hv2}
  q2: {switch: plain, chassis: hv2}
  q3: {switch: guarded, chassis: hv2}
  q4: {switch: guarded, chassis: hv2}
acls:
  - {switch: guarded, direction: from-lport, priority: 900, match: "ip", action: allow-related}
  - {switch: guarded, direction: to-lport, priority: 900, match: "ip", action: allow-related}
"""
PAIRS = {
    "eBPF": {"plain": ("p1", "p2"), "guarded": ("p3", "p4")},
    "OVS kernel": {"plain": ("q1", "q2"), "guarded": ("q3", "q4")},
}
PACKETS = 1000  # a burst
BURSTS = 5  # the least counts: daemons wake up now and then
PORT = 4242
_SPORT = 14 + 20


class Sender:
    """Frames of one guest to another, with a source port of choice."""

    def __init__(self, namespace: str, frame: bytes) -> None:
        with netns.entered(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._socket.bind(("eth0", 0))
        self._frame = bytearray(frame)
        self._next = 20_000

    def burst(self, fresh: bool, port: int = PORT) -> float:
        """ns per packet; fresh: each has a source port that was not used yet."""
        send, frame, put = self._socket.send, self._frame, struct.Struct("!H").pack_into
        ports = range(self._next, self._next + PACKETS) if fresh else [port] * PACKETS
        self._next += PACKETS if fresh else 0
        begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        for number in ports:
            put(frame, _SPORT, number)
            send(frame)
        return (time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - begin) / PACKETS

    def least(self, fresh: bool) -> float:
        return min(self.burst(fresh) for _ in range(BURSTS))


def frame(source: tuple[str, str], target: tuple[str, str]) -> bytes:
    """64 bytes with the frame check sequence; ends are (MAC, IP)."""
    ip = IP(src=source[1], dst=target[1]) / UDP(sport=0, dport=PORT, chksum=0)
    return bytes(Ether(src=source[0], dst=target[0]) / ip / Raw(b"x" * 18))


def drop_at(namespace: str | None, device: str) -> None:
    """IPv4 packets that enter by the device end there."""
    for command in (
        f"qdisc add dev {device} clsact",
        f"filter add dev {device} ingress protocol ip matchall action drop",
    ):
        argv = ["tc", *command.split()]
        netns.run(netns.argv(namespace, argv) if namespace else argv)


def dropped(namespace: str) -> int:
    """Packets that the filter has ended."""
    argv = netns.argv(namespace, ["tc", "-s", "filter", "show", "dev", "eth0", "ingress"])
    return int(re.findall(r"Sent \d+ bytes (\d+) pkt", netns.run(argv))[0])


def settled(namespace: str) -> int:
    """dropped() once it stays: what was sent to a user process comes late."""
    before = dropped(namespace)
    for _ in range(60):
        time.sleep(1)
        now = dropped(namespace)
        if now == before:
            return now
        before = now
    raise AssertionError(f"packets still arrive in {namespace}: {before}")


@contextmanager
def baseline() -> Iterator[Sender]:
    """A sender whose frames end at the other side of its veth pair."""
    name = "obs-baseline"
    netns.add(name)
    try:
        netns.ip(name, "link add eth0 type veth peer name other", "link set eth0 up")
        netns.ip(name, "link set other up")
        drop_at(name, "other")
        ends = ("02:00:00:00:00:01", "10.2.0.1"), ("02:00:00:00:00:02", "10.2.0.2")
        yield Sender(name, frame(*ends))
    finally:
        netns.delete(name)


def end(bed: Sandbox, name: str) -> tuple[str, str]:
    port = bed.ports[name]
    argv = netns.argv(port.netns, ["cat", "/sys/class/net/eth0/address"])
    return netns.run(argv).strip(), port.ip4


def between(bed: Sandbox, source: str, target: str) -> dict[str, float]:
    """An answered connection's packets, then new connections, above nothing yet."""
    sender = Sender(bed.ports[source].netns, frame(end(bed, source), end(bed, target)))
    with talk.Udp(bed, source, target, bed.ports[target].ip4, PORT, source_port=PORT) as udp:
        udp.exchange()
    there = bed.ports[target].netns
    drop_at(there, "eth0")
    for _ in range(2):  # then whatever is cached is cached, and has been used
        sender.burst(True)
        before = settled(there)
    found = {"established": sender.least(False), "new": sender.least(True)}
    arrived = settled(there) - before
    assert arrived == 2 * BURSTS * PACKETS, f"{arrived} frames arrived from {source}"
    print(source, found, flush=True)
    return found


def main() -> None:
    """Measures and writes JSON to the file that is named."""
    with baseline() as sender:
        sender.burst(False)
        nothing = {"established": sender.least(False), "new": sender.least(True)}
    with Sandbox(parse(TOPOLOGY)) as bed:
        every = [pair for pairs in PAIRS.values() for pair in pairs.values()]
        # Open vSwitch loses packets before its handlers run.
        process.wait_until(lambda: bed.unanswered(every, seconds=5.0) == [], 120, "ways through")
        found = {
            who: {
                switch: {what: count - nothing[what] for what, count in between(bed, *pair).items()}
                for switch, pair in pairs.items()
            }
            for who, pairs in PAIRS.items()
        }
    Path(sys.argv[1]).write_text(json.dumps({"baseline": nothing, **found}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}: {error.stderr}")
