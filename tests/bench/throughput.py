# SPDX-License-Identifier: Apache-2.0
"""TCP throughput and request-response latency between guests, for `make bench`.

    python -m tests.bench.throughput [--rounds N] [--seconds S] [--json FILE]

Absolute numbers mean nothing on a shared machine: every path is measured in each
round of one run, and what is reported is the ratio of medians to a plain veth
pair and to Open vSwitch's userspace data path.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.status import table
from ovn_bpf_controller.sandbox.topology import parse
from tests.bench import ending

TOPOLOGY = """
chassis: {{hv1: {agent}, hv2: {agent}}}
switches: {{sw0: {{ipv4: 10.0.0.0/24}}}}
ports:
  vm1: {{switch: sw0, chassis: hv1, port_security: true}}
  vm2: {{switch: sw0, chassis: hv1, port_security: true}}
  vm3: {{switch: sw0, chassis: hv2, port_security: true}}
"""
TRANSACTIONS = 3000

# One byte there and back over one connection; prints microseconds at the median.
# Python's own cost is in every path alike, so ratios of latency are flattered.
SERVER = """
import socket, sys
s = socket.create_server((sys.argv[1], 7777)); print("ready", flush=True)
c, _ = s.accept(); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while (b := c.recv(1)): c.send(b)
"""
CLIENT = """
import socket, statistics, sys, time
c = socket.create_connection((sys.argv[1], 7777))
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
t = []
for _ in range(int(sys.argv[2])):
    a = time.perf_counter(); c.send(b"x"); c.recv(1); t.append(time.perf_counter() - a)
print(statistics.median(t) * 1e6)
"""


@dataclass
class Way:
    """A way between two namespaces, and what was measured on it."""

    name: str
    source: str
    target: str
    address: str
    bits: list[float] = field(default_factory=list)
    micros: list[float] = field(default_factory=list)

    def measure(self, seconds: int) -> None:
        """One round: bulk, then request-response."""
        self.bits.append(self._bulk(seconds))
        self.micros.append(self._latency())

    def _bulk(self, seconds: int) -> float:
        listen = ["iperf3", "-s", "-1", "--forceflush", "-B", self.address]
        with serving(self.target, listen, "listening"):
            command = ["iperf3", "-J", "-c", self.address, "-t", str(seconds)]
            report = json.loads(netns.run(netns.argv(self.source, command)))
        return float(report["end"]["sum_received"]["bits_per_second"])

    def _latency(self) -> float:
        python = sys.executable
        with serving(self.target, [python, "-c", SERVER, self.address], "ready"):
            command = [python, "-c", CLIENT, self.address, str(TRANSACTIONS)]
            return float(netns.run(netns.argv(self.source, command)))


@contextmanager
def serving(namespace: str, command: list[str], ready: str) -> Iterator[None]:
    """A server in `namespace`, from the line that says `ready` on, whatever its client does."""
    argv = netns.argv(namespace, command)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            while ready not in (line := server.stdout.readline()):
                if not line:
                    raise SystemExit(f"{command[0]} ended early")
            yield
        finally:
            server.terminate()


@contextmanager
def veth_pair(mtu: int) -> Iterator[Way]:
    """Two namespaces joined by nothing but a veth pair."""
    names = [f"obs-bench-{os.getpid()}-{end}" for end in "ab"]
    try:
        for name in names:
            netns.add(name)
        netns.ip(names[0], f"link add eth0 type veth peer name eth0 netns {names[1]}")
        for number, name in enumerate(names, 1):
            netns.ip(name, f"addr add 10.0.0.{number}/24 dev eth0", f"link set eth0 mtu {mtu} up")
        yield Way("veth pair", names[0], names[1], "10.0.0.2")
    finally:
        for name in names:
            netns.delete(name)


def paths_of(bed: Sandbox, name: str) -> list[Way]:
    """The way within a chassis and the way between two."""
    ends = {"one chassis": "vm2", "two chassis": "vm3"}
    source = bed.ports["vm1"].netns
    return [
        Way(f"{name}, {how}", source, bed.ports[end].netns, bed.ports[end].ip4)
        for how, end in ends.items()
    ]


def measure(rounds: int, seconds: int) -> list[Way]:
    """Every path measured `rounds` times, the paths taking turns."""
    with ExitStack() as stack:
        beds = {
            name: stack.enter_context(Sandbox(parse(TOPOLOGY.format(agent=agent))))
            for name, agent in (("eBPF", "{}"), ("OVS userspace", "{agent: ovn-controller}"))
        }
        mtu = beds["eBPF"].topology.vif_mtu
        paths = [stack.enter_context(veth_pair(mtu))]
        for name, bed in beds.items():
            paths += paths_of(bed, name)
        for _ in range(rounds):
            for path in paths:
                path.measure(seconds)
    return paths


def report(paths: list[Way]) -> dict[str, Any]:
    """Medians and ratios by path; a ratio of latency above 1 is slower."""
    medians = {p.name: (statistics.median(p.bits), statistics.median(p.micros)) for p in paths}
    result: dict[str, Any] = {}
    for name, (bits, micros) in medians.items():
        entry: dict[str, float] = {"tcp_bits_per_second": bits, "rr_microseconds": micros}
        ovs = name.replace("eBPF", "OVS userspace")
        for label, base in (("veth", "veth pair"), ("ovs_userspace", ovs)):
            if base != name and base in medians:
                entry[f"tcp_to_{label}"] = bits / medians[base][0]
                entry[f"rr_to_{label}"] = micros / medians[base][1]
        result[name] = entry
    return result


def lines(result: dict[str, Any]) -> list[str]:
    """The report as a table."""
    rows: list[tuple[str, ...]] = [
        ("PATH", "TCP Gb/s", "to veth", "to OVS", "RR us", "to veth", "to OVS")
    ]
    for name, entry in result.items():
        cells = [f"{entry['tcp_bits_per_second'] / 1e9:.2f}"]
        cells += [ratio(entry, "tcp_to_veth"), ratio(entry, "tcp_to_ovs_userspace")]
        cells += [f"{entry['rr_microseconds']:.1f}"]
        cells += [ratio(entry, "rr_to_veth"), ratio(entry, "rr_to_ovs_userspace")]
        rows.append((name, *cells))
    return table(rows)


def ratio(entry: dict[str, float], key: str) -> str:
    return f"{entry[key]:.2f}" if key in entry else "-"


def main() -> int:
    """Measure, print the table, write the JSON."""
    ending.by_signal()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = report(measure(options.rounds, options.seconds))
    print("\n".join(lines(result)))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
