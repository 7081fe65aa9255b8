# SPDX-License-Identifier: Apache-2.0
"""Our chassis and a real one beside each other: the same Northbound, the same frames.

A Case is a frame that goes out of the same guest of both; what came of it is the set
of frames that guests got, with everything in them but what two implementations may
choose.  Which member of a group of next hops gets a packet is such a choice: of as
many connections of TCP as it takes all members must show on both.  (Of UDP and ICMP
all packets between two hosts go to one member with OVS's userspace data path.)
"""

from __future__ import annotations

import select
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.differential.topologies import Host, host
from tests.support import traffic
from tests.support.beds import AGENTS

SWITCHES, GUESTS = (1, 2, 3), 2
FIRST_PORT = 20_000
FLOWS = 128  # connections of a case, at most
BATCHES = (1, 40, FLOWS)
SPREAD = (12, 60, FLOWS)  # where there are groups
RST = 4
PATIENCE = 20.0  # seconds for a real chassis to make its answers

HOSTS = [host(s, f"vm{s}-{n}", n) for s in SWITCHES for n in range(1, 1 + GUESTS)]
Outcome = tuple[str, bytes]  # who got it, and what


@dataclass(frozen=True)
class Case:
    """frame: with a source port, or an identifier, of its own.  told: for a failure."""

    number: int
    by: Host
    frame: Callable[[int], bytes]
    told: str


class Side:
    """One of both: a sandbox whose guests are silent, and eyes on all of them."""

    def __init__(self, bed: Sandbox) -> None:
        self.bed = bed
        self.wires: dict[str, traffic.Wire] = {}
        self.seen: dict[int, set[Outcome]] = {}
        self.arrived: set[bytes] = set()
        self.groups = False

    def begin(self) -> None:
        """Addresses that Northbound knows and no guest answers for."""
        for each in HOSTS:
            namespace = self.bed.ports[each.name].netns
            netns.ip(namespace, "addr flush dev eth0", "link set eth0 arp off")
            with netns.entered(namespace):
                Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
            self.wires[each.name] = traffic.Wire(namespace, "eth0")
            self.bed.nbctl("lsp-set-addresses", each.name, each.full)

    def close(self) -> None:
        """No more eyes."""
        for wire in self.wires.values():
            wire.close()

    def configure(self, argv: Sequence[str], groups: bool) -> None:
        """The network as one transaction, obeyed when this returns.

        groups: of next hops, of which an answer may take any.
        """
        self.groups = groups
        self.bed.nbctl("--wait=hv", *(argv or ["sync"]))
        self.collect()
        self.seen = defaultdict(set)

    def send(self, by: Host, frame: bytes) -> None:
        """Out of a guest."""
        self.wires[by.name].send(frame)

    def collect(self) -> None:
        """Takes in what guests got since."""
        for name, wire in self.wires.items():
            for frame in wire.frames():
                number = number_of(frame)
                if number is None:
                    self.arrived.add(frame)
                else:
                    outcome = (name, plain(frame))
                    if self.groups and is_answer(frame):
                        outcome = ("somebody", bytes(12) + outcome[1][12:])
                    self.seen[(number - FIRST_PORT) // FLOWS].add(outcome)


@contextmanager
def pair() -> Iterator[tuple[Side, Side]]:
    """Ours and a real ovn-controller with OVS, without routers yet."""
    nets = {s: f"ipv4: 10.0.{s}.0/24, ipv6: 'fd00:{s}::/64'" for s in SWITCHES}
    switches = "\n".join(f"  sw{s}: {{{net}}}" for s, net in nets.items())
    ports = "\n".join(f"  {h.name}: {{switch: sw{h.s}, chassis: hv1}}" for h in HOSTS)
    with ExitStack() as stack:
        sides = []
        for kind in ("alone", "oracle"):
            text = f"chassis: {{hv1: {AGENTS[kind]}}}\nswitches:\n{switches}\nports:\n{ports}\n"
            side = Side(stack.enter_context(Sandbox(parse(text))))
            stack.callback(side.close)
            side.begin()
            sides.append(side)
        yield sides[0], sides[1]


def differences(ours: Side, theirs: Side, cases: Sequence[Case]) -> dict[int, str]:
    """Cases whose outcomes differ, and how."""
    left = list(cases)
    sent = 0
    for upto in SPREAD if ours.groups else BATCHES:
        for case in left:
            for flow in range(sent, upto):
                frame = case.frame(FIRST_PORT + case.number * FLOWS + flow)
                for side in (ours, theirs):
                    side.send(case.by, frame)
        sent = upto
        left = _settle(ours, theirs, left)
    return {
        case.number: f"{case.told}\nours:\n{_told(ours, case)}\ntheirs:\n{_told(theirs, case)}"
        for case in left
    }


def _settle(ours: Side, theirs: Side, cases: list[Case]) -> list[Case]:
    """Waits until all are the same on both, or nothing more is to be expected."""
    deadline = time.monotonic() + PATIENCE
    for side in (ours, theirs):
        _await_marker(side)
    while True:
        for side in (ours, theirs):
            side.collect()
        left = [c for c in cases if ours.seen[c.number] != theirs.seen[c.number]]
        if not left or time.monotonic() >= deadline:
            return left
        ready = [*ours.wires.values(), *theirs.wires.values()]
        select.select(ready, [], [], deadline - time.monotonic())


def _await_marker(side: Side) -> None:
    """A frame between two guests of a switch comes after all that went before."""
    a, b = HOSTS[0], HOSTS[1]
    addresses = bytes.fromhex((b.mac + a.mac).replace(":", ""))
    marker = addresses + b"\x88\xb5" + struct.pack(">d38x", time.monotonic())
    for wait in traffic.tries(side.bed):
        side.send(a, marker)
        deadline = time.monotonic() + wait
        while marker not in side.arrived and time.monotonic() < deadline:
            side.collect()
        if marker in side.arrived:
            return side.arrived.clear()
    raise AssertionError("a frame between two guests is lost")


def _told(side: Side, case: Case) -> str:
    return "\n".join(f"  {who}: {what.hex()}" for who, what in sorted(side.seen[case.number]))


# --- frames ---------------------------------------------------------------------


def number_of(frame: bytes) -> int | None:
    """Source port or identifier of the packet that a frame is, answers or quotes."""
    kind = frame[12:14]
    if kind == b"\x08\x00":
        return _number(frame[23], frame[14 + (frame[14] & 15) * 4 :], 4)
    return _number(frame[20], frame[54:], 6) if kind == b"\x86\xdd" else None


def _number(proto: int, l4: bytes, version: int) -> int | None:
    if proto in (6, 17):
        ports = struct.unpack(">HH", l4[:4])
        return next((p for p in ports if p >= FIRST_PORT), None)
    if proto not in (1, 58):
        return None
    if l4[0] in (0, 8, 128, 129):
        return int(struct.unpack(">H", l4[4:6])[0])
    inner = l4[8:]
    if version == 4:
        return _number(inner[9], inner[(inner[0] & 15) * 4 :], 0)
    return _number(inner[6], inner[40:], 0)


def is_answer(frame: bytes) -> bool:
    """Of a router or host, to a packet of TCP."""
    ip6 = frame[12:14] == b"\x86\xdd"
    l4, proto = (54, frame[20]) if ip6 else (14 + (frame[14] & 15) * 4, frame[23])
    return proto in (1, 58) or struct.unpack(">H", frame[l4 + 2 : l4 + 4])[0] >= FIRST_PORT


def plain(frame: bytes) -> bytes:
    """A frame without what is nobody's business: numbers of the connection, sums of
    what they are in, identifications, how much more than it must an error quotes."""
    out = bytearray(frame)

    def blank(*places: int) -> None:
        for at in places:
            out[at : at + 2] = bytes(2)

    ip6 = frame[12:14] == b"\x86\xdd"
    l4, proto = (54, frame[20]) if ip6 else (14 + (frame[14] & 15) * 4, frame[23])
    if not ip6:
        blank(18, 24)  # identification, sum
    if proto == 6 and frame[l4 + 13] & RST:  # OVN's acknowledge whatever they answer
        blank(*range(l4 + 4, l4 + 12, 2))
        out[l4 + 13] = RST
    if proto not in (1, 58):
        blank(l4 + (16 if proto == 6 else 6))
        blank(
            *(at for at in (l4, l4 + 2) if int.from_bytes(frame[at : at + 2], "big") >= FIRST_PORT)
        )
    elif frame[l4] in (0, 8, 128, 129):
        blank(l4 + 2, l4 + 4)
    else:
        inner = l4 + 8
        ports = inner + (40 if ip6 else (frame[inner] & 15) * 4)
        blank(18 if ip6 else 16, l4 + 2, ports)
        return bytes(out[: ports + 4])
    return bytes(out)
