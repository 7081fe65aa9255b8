# SPDX-License-Identifier: Apache-2.0
"""ns per packet of the BPF program, by PROG_TEST_RUN, for `make bench`.

    python -m tests.bench.datapath [--rounds N]

An empty program, one that only parses, and a UDP packet between two ports of a
switch with port security and ACLs whose flows a real ovn-northd wrote.  Rounds
take turns; medians count, and ratios to the empty program.
"""

from __future__ import annotations

import shlex
import statistics
import struct
import tempfile
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

import build
from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.counters import possible_cpus
from ovn_bpf_controller.datapath.libbpf import BpfObject
from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.sandbox.status import table
from tests.bench import alone
from tests.support import southbound
from tests.support.dataplane import Bed, bed
from tests.support.kernel import test_run
from tests.support.ovsdb import OvnCentral

REPEAT = 200_000
FRAME = bytes(
    Ether(src="0a:00:00:00:00:01", dst="0a:00:00:00:00:02")
    / IP(src="10.0.0.1", dst="10.0.0.2")
    / UDP(sport=1000, dport=2000)
    / Raw(b"x" * 22)
)  # 64 bytes with the frame check sequence
NBCTL = """
ls-add sw
-- lsp-add sw vm1 -- lsp-set-addresses vm1 "0a:00:00:00:00:01 10.0.0.1"
-- lsp-set-port-security vm1 "0a:00:00:00:00:01 10.0.0.1"
-- lsp-add sw vm2 -- lsp-set-addresses vm2 "0a:00:00:00:00:02 10.0.0.2"
-- lsp-set-port-security vm2 "0a:00:00:00:00:02 10.0.0.2"
-- acl-add sw to-lport 900 "ip4.src == 10.9.0.0/16" drop
-- acl-add sw from-lport 900 "tcp.dst == 22" drop
"""


def switch(made: Bed) -> int:
    """Puts the flows of NBCTL into the maps; returns the ifindex of vm1's device."""
    with tempfile.TemporaryDirectory() as directory, OvnCentral(Path(directory)) as central:
        central.nbctl(*shlex.split(NBCTL))
        central.sync()
        found = southbound.read(central.sb)
    changes = found.compiler.flush()
    devices, rows = {}, []
    for name in ("vm1", "vm2"):
        dp, key = found.keys[name]
        devices[name] = made.device(f"v{name}", f"p{name}", "ovn_vif")
        rows.append(Port(dp, key, PortKind.VIF, ifindex=devices[name]))
    made.apply(rules_added=list(changes.added), ports_added=list(rows))
    return devices["vm1"]


def work(made: Bed) -> tuple[int, int, int]:
    """Packets, stages and probes so far (struct ovn_work)."""
    buffer = ffi.new("char[]", possible_cpus() * 24)
    assert lib.ovn_map_lookup(made.plane.maps["ovn_work"], ffi.new("uint32_t *", 0), buffer) == 0
    values = list(struct.iter_unpack("=QQQ", ffi.buffer(buffer)))
    return (sum(v[0] for v in values), sum(v[1] for v in values), sum(v[2] for v in values))


def measure(rounds: int) -> dict[str, Any]:
    """Everything, as for the JSON report: nanoseconds are medians of `rounds`."""
    times: dict[str, list[int]] = {"empty program": [], "parse only": [], "switched, full walk": []}
    with tempfile.TemporaryDirectory() as directory, bed() as made:
        parts = Path(directory) / "parts.o"
        build.clang(Path(__file__).with_name("parts.bpf.c"), parts)
        ifindex = switch(made)
        walk = made.plane.programs["ovn_vif"]
        before = work(made)
        result = test_run(walk, FRAME, ifindex=ifindex)
        assert result.verdict == 7, f"the packet was not sent: {made.drops()}"
        _, stages, probes = (now - then for now, then in zip(work(made), before, strict=True))
        with BpfObject(parts) as source:
            source.load()
            programs = {
                "empty program": source.program_fd("bench_empty"),
                "parse only": source.program_fd("bench_parse"),
                "switched, full walk": walk,
            }
            for _ in range(rounds):
                for name, program in programs.items():
                    run = test_run(program, FRAME, ifindex=ifindex, repeat=REPEAT)
                    times[name].append(run.duration)
    nanoseconds = {name: statistics.median(each) for name, each in times.items()}
    empty = max(nanoseconds["empty program"], 1)
    return {
        "ns per packet": nanoseconds,
        "ratio to empty program": {name: ns / empty for name, ns in nanoseconds.items()},
        "stages": stages,
        "probes": probes,
        "rounds": rounds,
    }


def report(found: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [("PROGRAM", "NS/PACKET", "TO EMPTY")]
    for name, ns in found["ns per packet"].items():
        rows.append((name, f"{ns:.0f}", f"{found['ratio to empty program'][name]:.1f}"))
    walk = f"the full walk: {found['stages']} stages, {found['probes']} probes"
    return "\n".join([*table(rows), walk])


if __name__ == "__main__":
    alone.main(__doc__, measure, report)
