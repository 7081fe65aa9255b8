# SPDX-License-Identifier: Apache-2.0
"""A stage with 1,000 ACLs over large address sets and port lists, for `make bench`.

    python -m tests.bench.acls [--rounds N]

What it costs in map entries, a packet's look-up by PROG_TEST_RUN, and how long one
change takes from the compiler's hearing of it to the flip.  What counts is that all
of that grows with the sum of the parts, not with their product.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from ovn_bpf_controller._native import ffi
from ovn_bpf_controller.datapath.loader import SIZES
from ovn_bpf_controller.sandbox.status import table
from tests.bench import alone
from tests.support.dataplane import Bed, bed, mac

ACLS = 1000
SETS = 20
MEMBERS = 10_000
POOL = 100_000  # addresses that the sets share
PORTS = 50
REPEAT = 200_000
REDIRECT = 7  # TC_ACT_REDIRECT
MOST_NS = 3000  # that a look-up may take
GROUP = "pg"
ENTER, STAGE = 0, 1  # tables


@dataclass
class Change:
    """One kind of change: milliseconds of each turn, and map entries written."""

    times: list[float]
    entries: int

    def told(self) -> dict[str, float]:
        """For the report."""
        return {
            "ms median": statistics.median(self.times),
            "ms most": max(self.times),
            "entries": self.entries,
        }


def address(number: int) -> str:
    """An address of the pool: 10.<a>.<b>.<c>."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def acl(number: int) -> tuple[str, str, int]:
    """Match, actions and priority of an ACL."""
    first = 1024 + number * PORTS
    ports = ", ".join(str(1 + (first + n * 7) % 65535) for n in range(PORTS))
    match = f"outport == @{GROUP} && ip4.src == $s{number % SETS} && tcp.dst == {{{ports}}}"
    return match, "next;", 1000 + number


class Stage:
    """The bed with the ACLs."""

    def __init__(self, made: Bed) -> None:
        self.bed = made
        rng = random.Random(1)
        made.plug(1, 2, 3)
        self.sets = made.world.address_sets
        for number in range(SETS):
            self.sets[f"s{number}"] = [address(n) for n in rng.sample(range(POOL), MEMBERS)]
        made.world.port_groups[1, GROUP] = ["vm1", "vm2"]
        made.flow(0, ENTER, 20, "udp.dst == 9", "drop;")
        made.flow(0, ENTER, 10, "udp", 'outport = "vm2"; output;')
        made.flow(0, ENTER, 5, "tcp", 'outport = "vm2"; next;')
        for number in range(ACLS):
            match, actions, priority = acl(number)
            made.flow(0, STAGE, priority, match, actions)
        made.flow(0, STAGE, 0, "1", "drop;")
        made.flow(0, STAGE + 1, 0, "ip", "output;")
        made.flow(1, 0, 0, "ip", "output;")
        start = time.perf_counter()
        made.flows_live()
        self.seconds = time.perf_counter() - start

    # --- a packet ----------------------------------------------------------------

    def look_up(self, rounds: int) -> dict[str, float]:
        """ns of the stage: TCP packets go through it, UDP packets around it.

        What matches goes on and out, the rest is dropped: each beside its like.
        """
        memberships = self.memberships()
        most = max(memberships, key=lambda a: (memberships[a], a))
        number = next(n for n in range(ACLS) if most in self.sets[f"s{n % SETS}"])
        port = 1 + (1024 + number * PORTS) % 65535
        headers = Ether(src=mac(1), dst=mac(2)) / IP(src=most, dst="10.255.0.1")
        frames = {
            "around": headers / UDP(dport=port),
            "dropped before": headers / UDP(dport=9),
            "hit": headers / TCP(dport=port),
            "miss": headers / TCP(dport=2),
            "no member": Ether(src=mac(1), dst=mac(2)) / IP(src="11.0.0.1") / TCP(dport=port),
        }
        times: dict[str, list[int]] = {name: [] for name in frames}
        for _ in range(rounds):
            for name, frame in frames.items():
                ifindex = self.bed.devices["v1"]
                run = self.bed.run("ovn_vif", bytes(frame), ifindex, REPEAT)
                sent = run.verdict == REDIRECT
                assert sent == (name in ("around", "hit")), f"{name}: {self.bed.drops()}"
                times[name].append(run.duration)
        found = {name: statistics.median(each) for name, each in times.items()}
        around, dropped = found.pop("around"), found.pop("dropped before")
        told: dict[str, float] = {
            f"ns, {name}": ns - (around if name == "hit" else dropped) for name, ns in found.items()
        }
        return told | {"sets of the address": memberships[most]}

    def memberships(self) -> dict[str, int]:
        """How many sets each address is in."""
        found: dict[str, int] = {}
        for members in self.sets.values():
            for member in members:
                found[member] = found.get(member, 0) + 1
        return found

    # --- changes -------------------------------------------------------------------

    def change(self, turns: int, *steps: Callable[[], None]) -> Change:
        """Times steps that undo each other, each from its telling to the flip."""
        times, entries = [], 0
        for _ in range(turns):
            for step in steps:
                self.bed.tables.settle()
                start = time.perf_counter()
                step()
                changes = self.bed.compiler.flush()
                self.bed.apply(
                    rules_added=list(changes.added),
                    rules_removed=list(changes.removed),
                    sets_added=list(changes.sets_added),
                    sets_removed=list(changes.sets_removed),
                )
                times.append((time.perf_counter() - start) * 1000)
                rules = len(changes.added) + len(changes.removed)
                members = len(changes.sets_added) + len(changes.sets_removed)
                entries = max(entries, rules + members)
        return Change(times, entries)

    def member(self, text: str, present: bool) -> Callable[[], None]:
        """One member of the set s0."""

        def step() -> None:
            # The Southbound brings a new list.
            rest = [each for each in self.sets["s0"] if each != text]
            self.sets["s0"] = [*rest, text] if present else rest
            self.bed.compiler.address_set_changed("s0")

        return step

    def port(self, present: bool) -> Callable[[], None]:
        """vm3 in the group that all ACLs name."""

        def step() -> None:
            self.bed.world.port_groups[1, GROUP] = ["vm1", "vm2", *(["vm3"] if present else [])]
            self.bed.compiler.port_group_changed(GROUP, 1)

        return step

    def one_acl(self, present: bool) -> Callable[[], None]:
        """The ACL number ACLS, after all that are there."""
        match, actions, priority = acl(ACLS)

        def step() -> None:
            if present:
                self.bed.flow(0, STAGE, priority, match, actions)
            else:
                self.bed.compiler.remove_flow(self.bed.last_flow)

        return step

    # --- size ----------------------------------------------------------------------

    def size(self) -> dict[str, float]:
        """Entries, and bytes of their slots and hash elements (keys and values)."""
        rules = sum(1 for rule in self.bed.compiler.rules() if rule.table == STAGE)
        members = sum(1 for _ in self.bed.compiler.members())
        of_rule = ffi.sizeof("struct ovn_rule_s") + ffi.sizeof("struct ovn_key_s") + 4
        of_member = ffi.sizeof("struct ovn_set_list") + ffi.sizeof("struct ovn_set_key") + 4
        return {
            "rules": rules,
            "members": members,
            "masks": len({r.mask for r in self.bed.compiler.rules() if r.table == STAGE}),
            "MiB": (rules * of_rule + members * of_member) / (1 << 20),
            "product": ACLS * PORTS * MEMBERS,
            "seconds to compile and write": self.seconds,
        }


def measure(rounds: int) -> dict[str, Any]:
    """Everything, as for the JSON report."""
    with bed(SIZES) as made:
        stage = Stage(made)
        turns = 4 * rounds
        changes = {
            "one address": (stage.member("10.200.0.1", True), stage.member("10.200.0.1", False)),
            "one CIDR over 5,000 members": (
                stage.member("10.0.0.0/16", True),
                stage.member("10.0.0.0/16", False),
            ),
            "one ACL": (stage.one_acl(True), stage.one_acl(False)),
            "a port in all ACLs' group": (stage.port(True), stage.port(False)),
        }
        return {
            "size": stage.size(),
            "look-up": stage.look_up(rounds),
            "changes": {name: stage.change(turns, *each).told() for name, each in changes.items()},
        }


def report(found: dict[str, Any]) -> str:
    """The figures as tables."""
    text = f"{ACLS} ACLs over {SETS} sets of {MEMBERS} addresses, {PORTS} ports each"
    size = [(text.upper(), "")]
    for part in ("size", "look-up"):
        size += [(name, f"{value:,.0f}") for name, value in found[part].items()]
    slowest = max(value for name, value in found["look-up"].items() if name.startswith("ns"))
    size.append((f"at most {MOST_NS:,} ns", "yes" if slowest <= MOST_NS else "NO"))
    rows = [("CHANGE", "ENTRIES", "MS MEDIAN", "MS MOST")]
    for name, each in found["changes"].items():
        row = (f"{each['entries']}", f"{each['ms median']:.2f}", f"{each['ms most']:.2f}")
        rows.append((name, *row))
    return "\n".join([*table(size), "", *table(rows)])


if __name__ == "__main__":
    alone.main(__doc__, measure, report)
