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
from typing import NamedTuple

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import talk

TOPOLOGY = """
chassis:
  hv1: {}
  hv2: {agent: ovn-controller, datapath: system}
  hv3: {}
  hv4: {agent: ovn-controller, datapath: system}
switches:
  plain: {ipv4: 10.0.0.0/24}
  guarded: {ipv4: 10.1.0.0/24}
  near: {ipv4: 10.2.0.0/24}
  far: {ipv4: 10.3.0.0/24}
  balanced: {ipv4: 10.4.0.0/24}
  wide: {ipv4: 10.5.0.0/24}
routers:
  lr:
    ports:
      lr-near: {switch: near, mac: "0e:00:00:00:00:01", networks: [10.2.0.254/24]}
      lr-far: {switch: far, mac: "0e:00:00:00:00:02", networks: [10.3.0.254/24]}
      lr-balanced: {switch: balanced, mac: "0e:00:00:00:00:03", networks: [10.4.0.254/24]}
ports:
  p1: {switch: plain, chassis: hv1}
  p2: {switch: plain, chassis: hv1}
  p3: {switch: guarded, chassis: hv1}
  p4: {switch: guarded, chassis: hv1}
  p5: {switch: near, chassis: hv1}
  p6: {switch: far, chassis: hv1}
  p7: {switch: balanced, chassis: hv1}
  p8: {switch: wide, chassis: hv1}
  p9: {switch: wide, chassis: hv3}
  q1: {switch: plain, chassis: hv2}
  q2: {switch: plain, chassis: hv2}
  q3: {switch: guarded, chassis: hv2}
  q4: {switch: guarded, chassis: hv2}
  q5: {switch: near, chassis: hv2}
  q6: {switch: far, chassis: hv2}
  q7: {switch: balanced, chassis: hv2}
  q8: {switch: wide, chassis: hv2}
  q9: {switch: wide, chassis: hv4}
acls:
  - {switch: guarded, direction: from-lport, priority: 900, match: "ip", action: allow-related}
  - {switch: guarded, direction: to-lport, priority: 900, match: "ip", action: allow-related}
"""
DATA_PATHS = {"eBPF": "p", "OVS kernel": "q"}  # the first letter of their guests
VIPS = {"p": "30.0.0.1", "q": "30.0.0.2"}


class Case(NamedTuple):
    """From a guest to another, by their numbers.  by: the router's MAC address; vip: to
    the data path's virtual address, behind which the other guest is."""

    source: int
    target: int
    by: str = ""
    vip: bool = False


CASES = {
    "plain": Case(1, 2),
    "guarded": Case(3, 4),
    "routed": Case(5, 6, by="0e:00:00:00:00:01"),
    "balanced": Case(7, 6, by="0e:00:00:00:00:03", vip=True),
    "wide": Case(8, 9),
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


def drop_at(namespace: str, device: str) -> None:
    """IPv4 packets that enter by the device end there."""
    tc(namespace, f"qdisc add dev {device} clsact")
    tc(namespace, f"filter add dev {device} ingress protocol ip matchall action drop")


def tc(namespace: str, command: str) -> None:
    netns.run(netns.argv(namespace, ["tc", *command.split()]))


@contextmanager
def dropping(namespace: str) -> Iterator[None]:
    """drop_at() for a while: a guest may be the target of several cases."""
    drop_at(namespace, "eth0")
    yield
    tc(namespace, "qdisc del dev eth0 clsact")


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


def between(bed: Sandbox, guests: str, case: Case) -> dict[str, float]:
    """An answered connection's packets, then new connections, above nothing yet.

    guests: the first letter of their names.
    """
    source, target = f"{guests}{case.source}", f"{guests}{case.target}"
    mac, ip = end(bed, target)
    ip = VIPS[guests] if case.vip else ip
    sender = Sender(bed.ports[source].netns, frame(end(bed, source), (case.by or mac, ip)))
    with talk.Udp(bed, source, target, ip, PORT, source_port=PORT) as udp:
        udp.exchange()
    there = bed.ports[target].netns
    with dropping(there):
        for _ in range(2):  # then whatever is cached is cached, and has been used
            sender.burst(True)
            before = settled(there)
        found = {"established": sender.least(False), "new": sender.least(True)}
        arrived = settled(there) - before
    assert arrived == 2 * BURSTS * PACKETS, f"{arrived} frames arrived from {source}"
    print(source, found, flush=True)
    return found


def balance(bed: Sandbox) -> None:
    """A virtual address for each data path, for clients of one switch."""
    for guests, vip in VIPS.items():
        backend = f"{bed.ports[f'{guests}6'].ip4}:{PORT}"
        bed.nbctl("lb-add", f"lb-{guests}", f"{vip}:{PORT}", backend, "udp")
        bed.nbctl("--wait=hv", "ls-lb-add", "balanced", f"lb-{guests}")


def main() -> None:
    """Measures and writes JSON to the file that is named."""
    with baseline() as sender:
        sender.burst(False)
        nothing = {"established": sender.least(False), "new": sender.least(True)}
    with Sandbox(parse(TOPOLOGY)) as bed:
        balance(bed)
        every = [
            (f"{guests}{case.source}", f"{guests}{case.target}")
            for guests in DATA_PATHS.values()
            for case in CASES.values()
        ]
        # Open vSwitch loses packets before its handlers run.
        process.wait_until(lambda: bed.unanswered(every, seconds=5.0) == [], 120, "ways through")
        found = {
            who: {
                name: {
                    what: count - nothing[what]
                    for what, count in between(bed, guests, case).items()
                }
                for name, case in CASES.items()
            }
            for who, guests in DATA_PATHS.items()
        }
    Path(sys.argv[1]).write_text(json.dumps({"baseline": nothing, **found}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error}: {error.stderr}")
