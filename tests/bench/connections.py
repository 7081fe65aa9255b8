# SPDX-License-Identifier: Apache-2.0
"""What connections cost, for `make bench`: new ones, established ones, many.

    python -m tests.bench.connections [--rounds N] [--json FILE]

ns per packet of the program by PROG_TEST_RUN, over flows with stateful ACLs and a
load balancer that a real ovn-northd wrote; then guests' own view, beside Open
vSwitch's userspace data path in the same run; then a table of a million.
"""

from __future__ import annotations

import shlex
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.datapath.conntrack import Conntrack
from ovn_bpf_controller.datapath.loader import sizes
from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.status import table
from ovn_bpf_controller.sandbox.topology import parse
from tests.bench import alone
from tests.bench.throughput import serving
from tests.support import southbound
from tests.support.dataplane import Bed, bed
from tests.support.flood import flood
from tests.support.kernel import test_run
from tests.support.ovsdb import OvnCentral

REPEAT = 100_000  # of an established connection's packet
NEW = 5_000  # connections a round
_REDIRECT = 7  # TC_ACT_REDIRECT
MACS = {name: f"0a:00:00:00:00:0{n}" for n, name in enumerate(("vm1", "vm2", "vm3", "vm4"), 1)}
NBCTL = f"""
ls-add plain
-- lsp-add plain vm1 -- lsp-set-addresses vm1 "{MACS["vm1"]} 10.0.0.1"
-- lsp-add plain vm2 -- lsp-set-addresses vm2 "{MACS["vm2"]} 10.0.0.2"
-- ls-add guarded
-- lsp-add guarded vm3 -- lsp-set-addresses vm3 "{MACS["vm3"]} 10.0.0.3"
-- lsp-add guarded vm4 -- lsp-set-addresses vm4 "{MACS["vm4"]} 10.0.0.4"
-- acl-add guarded to-lport 900 "udp" allow-related
-- acl-add guarded to-lport 800 "ip" drop
"""
BALANCER = 'lb-add lb0 30.0.0.1:53 "10.0.0.4:53" udp -- ls-lb-add guarded lb0'


# --- the program --------------------------------------------------------------------


def switches(made: Bed, balanced: bool) -> dict[str, int]:
    """Flows of NBCTL into the maps; ifindex of each port's device."""
    with tempfile.TemporaryDirectory() as directory, OvnCentral(Path(directory)) as central:
        central.nbctl(*shlex.split(NBCTL))
        if balanced:
            central.nbctl(*shlex.split(BALANCER))
        central.sync()
        found = southbound.read(central.sb)
    changes = found.compiler.flush()
    devices, rows = {}, []
    for zone, name in enumerate(MACS, 1):
        dp, key = found.keys[name]
        devices[name] = made.device(f"v{name}", f"p{name}", "ovn_vif")
        rows.append(Port(dp, key, PortKind.VIF, ifindex=devices[name], ct_zone=zone))
    made.apply(
        rules_added=list(changes.added),
        sets_added=list(changes.sets_added),
        ports_added=list(rows),
    )
    return devices


def datagram(source: str, target: str, sport: int, dport: int, to: str = "") -> bytes:
    """64 bytes with the frame check sequence."""
    number = {name: n for n, name in enumerate(MACS, 1)}
    address = to or f"10.0.0.{number[target]}"
    ip = IP(src=f"10.0.0.{number[source]}", dst=address)
    udp = UDP(sport=sport, dport=dport)
    return bytes(Ether(src=MACS[source], dst=MACS[target]) / ip / udp / Raw(b"x" * 18))


def sent(made: Bed, frame: bytes, ifindex: int, repeat: int = 1) -> int:
    """ns per run.  Fails unless the packet leaves."""
    result = test_run(made.plane.programs["ovn_vif"], frame, ifindex=ifindex, repeat=repeat)
    assert result.verdict == _REDIRECT, f"the packet was not sent: {made.drops()}"
    return result.duration


class Program:
    """One kind of switch in maps of its own: what its packets take, round by round."""

    def __init__(self, made: Bed, ends: tuple[str, str], vip: str, balanced: bool) -> None:
        self._bed = made
        self._devices = switches(made, balanced)
        self._ends, self._vip = ends, vip
        self._table = Conntrack(made.plane.maps, made.plane.programs)
        self.new: list[float] = []
        self.established: list[float] = []

    def close(self) -> None:
        """Unmaps what was mapped."""
        self._table.close()

    def round(self) -> None:
        """New connections, an answer to the last, then packets of that one."""
        self._table.flush_all()
        source, target = self._ends
        device = self._devices[source]
        frames = [datagram(source, target, 10_000 + n, 53, self._vip) for n in range(NEW)]
        self.new.append(statistics.mean(sent(self._bed, frame, device) for frame in frames))
        sent(self._bed, datagram(target, source, 53, 10_000 + NEW - 1), self._devices[target])
        self.established.append(self._again(frames[-1], device))

    def _again(self, frame: bytes, device: int) -> float:
        """One connection's packet.  The kernel repeats a run on the frame that the last one
        left: what is translated is another packet then, and is made anew each time."""
        if not self._vip:
            return sent(self._bed, frame, device, REPEAT)
        return statistics.mean(sent(self._bed, frame, device) for _ in range(NEW))


def programs(rounds: int) -> dict[str, Any]:
    """ns per packet, medians of rounds; "new" of a stateless switch is its first packet."""
    kinds = {
        "stateless": (("vm1", "vm2"), "", False),
        "stateful ACLs": (("vm3", "vm4"), "", False),
        "load balancer, stateful ACLs": (("vm3", "vm4"), "30.0.0.1", True),
    }
    wanted = sizes(1 << 17)
    room = {name: wanted[name] for name in ("ovn_conns", "ovn_ct_idx", "ovn_ct_free")}
    found: dict[str, Any] = {}
    for name, (ends, vip, balanced) in kinds.items():
        with bed(room) as made:
            program = Program(made, ends, vip, balanced)
            for _ in range(rounds):
                program.round()
            program.close()
        found[name] = {
            "new": statistics.median(program.new),
            "established": statistics.median(program.established),
        }
    return found


# --- guests -------------------------------------------------------------------------

TOPOLOGY = """
chassis: {{hv1: {agent}}}
switches: {{sw0: {{ipv4: 10.0.0.0/24}}}}
ports:
  vm1: {{switch: sw0, chassis: hv1}}
  vm2: {{switch: sw0, chassis: hv1}}
acls:
  - {{switch: sw0, direction: to-lport, priority: 900, match: "ip", action: allow-related}}
"""
TIMES = 1000
FIRST_PORT = 15_000  # of the clients; each round has ports of its own, see CLIENT
SERVER = """
import selectors, socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((sys.argv[1], 7777))
t = socket.create_server((sys.argv[1], 7777), backlog=128)
s = selectors.DefaultSelector()
s.register(u, 1); s.register(t, 1); print("ready", flush=True)
while True:
    for key, _ in s.select():
        if key.fileobj is u:
            u.sendto(*u.recvfrom(64))
        else:
            t.accept()[0].close()
"""
# Prints microseconds: an exchange of datagrams on one socket, on a fresh one each
# time, and a TCP connection from SYN to FIN; medians.  No port is used twice: what is
# new would be known already, and OVS 3.1's userspace tracker fails an assertion
# (conn_update_state()) and is gone.
CLIENT = """
import itertools, socket, statistics, sys, time
where, times = (sys.argv[1], 7777), int(sys.argv[2])
ports = itertools.count(int(sys.argv[3]))
def bound(kind):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(10); s.bind(("", next(ports)))
    return s
def fresh():
    s = bound(socket.SOCK_DGRAM); s.connect(where)
    return s
def exchange(s):
    s.send(b"x"); s.recv(1)
def measured(sockets):
    found = []
    for s in sockets:
        a = time.perf_counter(); exchange(s); found.append(time.perf_counter() - a)
    return statistics.median(found) * 1e6
one = fresh(); exchange(one)
print(measured([one] * times))
print(measured([fresh() for _ in range(times)]))
found = []
for _ in range(times):
    s = bound(socket.SOCK_STREAM)
    a = time.perf_counter()
    s.connect(where); s.recv(1); s.close()
    found.append(time.perf_counter() - a)
print(statistics.median(found) * 1e6)
"""
MEASURES = ("established exchange", "first exchange", "TCP connection")


@dataclass
class Guests:
    """Microseconds by measure, a value a round."""

    bed: Sandbox
    micros: dict[str, list[float]] = field(default_factory=dict)

    def round(self, number: int) -> None:
        """All of MEASURES once."""
        one, two = (self.bed.ports[name] for name in ("vm1", "vm2"))
        first = FIRST_PORT + number * (2 * TIMES + 1)
        command = [sys.executable, "-c", CLIENT, two.ip4, str(TIMES), str(first)]
        with serving(two.netns, [sys.executable, "-c", SERVER, two.ip4], "ready"):
            printed = netns.run(netns.argv(one.netns, command)).split()
        for name, value in zip(MEASURES, printed, strict=True):
            self.micros.setdefault(name, []).append(float(value))


def guests(rounds: int) -> dict[str, Any]:
    """Medians in microseconds, ours and Open vSwitch's taking turns."""
    with ExitStack() as stack:
        kinds = {
            name: Guests(stack.enter_context(Sandbox(parse(TOPOLOGY.format(agent=agent)))))
            for name, agent in (("eBPF", "{}"), ("OVS userspace", "{agent: ovn-controller}"))
        }
        for number in range(rounds):
            for each in kinds.values():
                each.round(number)
    found: dict[str, Any] = {}
    for measure in MEASURES:
        ours, theirs = (statistics.median(each.micros[measure]) for each in kinds.values())
        found[measure] = {"eBPF": ours, "OVS userspace": theirs, "ratio": ours / theirs}
    return found


# --- many ---------------------------------------------------------------------------


def many(connections: int = 1_000_000, room: int = 1_200_000) -> dict[str, Any]:
    """Connections a second from one sender, and packets of them once there are many.

    The sender is Python: its own cost is in every rate alike.
    """
    every = range(connections)
    with flood(room) as made:
        created = made.request(every)
        answered = made.answer(every)
        found_again = made.request(every)
        counts = made.counts()
    assert counts["new"] == counts["known"] == counts["answer"] == connections, counts
    return {
        "connections": connections,
        "room": room,
        "new per second": connections / created,
        "answers per second": connections / answered,
        "found again per second": connections / found_again,
    }


# --- report -------------------------------------------------------------------------


def measure(rounds: int) -> dict[str, Any]:
    """Everything, as for the JSON report."""
    return {"ns per packet": programs(rounds), "guests": guests(rounds), "many": many()}


def report(found: dict[str, Any]) -> str:
    """The figures as tables."""
    base = found["ns per packet"]["stateless"]["established"]
    rows = [("CONNECTIONS, NS/PACKET", "NEW", "ESTABLISHED", "TO STATELESS")]
    for name, each in found["ns per packet"].items():
        new, established = each["new"], each["established"]
        rows.append((name, f"{new:.0f}", f"{established:.0f}", f"{established / base:.1f}"))
    lines = [*table(rows), ""]
    rows = [("STATEFUL ACLS, US", "EBPF", "OVS USERSPACE", "RATIO")]
    for name, each in found["guests"].items():
        us = [f"{each[who]:.1f}" for who in ("eBPF", "OVS userspace")]
        rows.append((name, us[0], us[1], f"{each['ratio']:.2f}"))
    lines += [*table(rows), ""]
    each = found["many"]
    rates = ", ".join(
        f"{each[f'{what} per second'] / 1000:.0f} k {what}"
        for what in ("new", "answers", "found again")
    )
    lines.append(f"{each['connections']:,} connections in a table of {each['room']:,}: {rates} a s")
    return "\n".join(lines)


if __name__ == "__main__":
    alone.main(__doc__, measure, report)
