# SPDX-License-Identifier: Apache-2.0
"""Compiled rules beside ovn-trace: the same outputs, the same headers.

Random switches (port security, ACLs with sets and groups, unknown addresses), a real
ovn-northd, and the rules run by tests.support.machine.  Where ovn-trace is known to
depart from ovn-controller (inside port security) no packets are made.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller._native import lib
from tests.support import southbound
from tests.support.machine import Machine, Words, become_na
from tests.support.ovntrace import OvnTrace
from tests.support.ovsdb import OvnCentral

SEEDS = range(8)
PACKETS = 150

Output = tuple[str, list[int]]  # name of a port, header words
Packet = dict[str, int]


# --- ovn-trace -----------------------------------------------------------------


def number(text: str) -> int:
    if re.fullmatch(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", text):
        return int(text.replace(":", ""), 16)
    if "." in text or ":" in text:
        return int(ipaddress.ip_address(text))
    return int(text, 0)


def headers(words: Words) -> list[int]:
    return list(words)[lib.OW_HEADERS : lib.OW_END]


def as_words(packet: Packet) -> Words:
    words = Words()
    for name, value in packet.items():
        words[name] = value
    return words


def expected(trace: str, words: Words) -> list[Output]:
    """Outputs as ovn-trace --minimal prints them, with the headers at that point."""
    found: list[Output] = []
    kept: list[Words] = []
    for line in trace.splitlines():
        line = line.strip()
        output = re.fullmatch(r'output\("([^"]+)"\);', line)
        load = re.fullmatch(r"([a-z0-9_.]+) = (.+);", line)
        if output:
            found.append((output[1], headers(words)))
        elif load:
            words[load[1]] = number(load[2])
        elif line == "};":
            words = kept.pop()
        elif re.fullmatch(r"(nd_na|clone) \{", line):
            kept.append(words.copy())
            if line.startswith("nd_na"):
                become_na(words)
        elif line == "ip.ttl--;":
            words["ip.ttl"] = words.get("ip.ttl") - 1
        else:
            assert not line or line.startswith("#"), f"what is {line!r}?"
    return found


# --- random switches --------------------------------------------------------------


class Switch:
    """A logical switch in the Northbound, and packets that suit it."""

    def __init__(self, rng: random.Random, central: OvnCentral) -> None:
        self.rng = rng
        self.nb = central.nbctl
        self.ports = [f"lp{n}" for n in range(1, rng.randint(4, 7))]
        self.secure: dict[str, str] = {}

    def mac(self, n: int) -> str:
        return f"0a:00:00:00:00:{n:02x}"

    def build(self) -> None:
        rng = self.rng
        self.nb("ls-add", "sw0")
        for n, port in enumerate(self.ports, 1):
            full = f"{self.mac(n)} 10.0.0.{n} fd00::{n}"
            self.nb("lsp-add", "sw0", port)
            kinds = [[full], [full], [self.mac(n)], ["unknown"], [full, "unknown"]]
            self.nb("lsp-set-addresses", port, *rng.choice(kinds))
            security = rng.choice(["", self.mac(n), f"{self.mac(n)} 10.0.0.{n}", full])
            self.secure[port] = security
            if security:
                self.nb("lsp-set-port-security", port, security)
            if rng.random() < 0.1:
                self.nb("lsp-set-enabled", port, "disabled")
        members = {
            "as0": '"10.0.0.1","10.0.0.3"',
            "as1": '"10.0.0.0/30","10.0.0.6"',
            "as2": '"fd00::/127","fd00::5"',
        }
        for name, addresses in members.items():
            self.nb("create", "Address_Set", f"name={name}", f"addresses={addresses}")
        self.nb("pg-add", "pg0", *rng.sample(self.ports, 2))
        self.nb("pg-add", "pg1", *rng.sample(self.ports, 3))
        for priority in rng.sample(range(1, 2000), rng.randint(3, 12)):
            self.acl(priority)
        self.nb("--wait=sb", "sync")

    def acl(self, priority: int) -> None:
        direction, port = self.rng.choice([("from-lport", "inport"), ("to-lport", "outport")])
        terms = [self.term(port) for _ in range(self.rng.randint(1, 3))]
        match = self.rng.choice([" && ", " || "]).join(terms)
        action = self.rng.choice(["allow", "drop", "allow-stateless", "allow"])
        self.nb("acl-add", "sw0", direction, str(priority), match, action)

    def term(self, port: str) -> str:
        rng = self.rng
        names = rng.sample(self.ports, 2)
        low = rng.randint(1, 400)
        return rng.choice(
            [
                f'{port} == "{names[0]}"',
                f'{port} == {{"{names[0]}", "{names[1]}"}}',
                f"{port} == @pg{rng.randint(0, 1)}",
                f"ip4.src == $as{rng.randint(0, 1)}",
                f"ip4.dst != $as{rng.randint(0, 1)}",
                "ip6.src == $as2",
                "!(ip6.dst == $as2)",
                f"(tcp.dst >= {low} && tcp.dst <= {low + rng.randint(0, 300)})",
                f"udp.dst == {{53, {low}}}",
                f"udp.src > {low}",
                "tcp.dst != {80, 443}",
                "icmp4.type == 8",
                "icmp6",
                "arp",
                "ip.ttl == 64",
                f"eth.src == {self.mac(rng.randint(1, 5))}",
                "(ip4 && (udp || tcp.src == 80))",
                "!(ip4.src == 10.0.0.0/31 && udp.dst == 53)",
                "(eth.bcast || ip4.mcast)",
            ]
        )

    # --- packets ---------------------------------------------------------------

    def packet(self) -> tuple[str, Packet]:
        """A port and what it sends."""
        rng = self.rng
        n, m = rng.randint(1, len(self.ports)), rng.randint(1, len(self.ports) + 1)
        liar = rng.random() < 0.15
        src = number(self.mac(n + 1 if liar else n))
        dst = number(rng.choice([self.mac(m)] * 6 + ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05"]))
        packet = {"eth.src": src, "eth.dst": dst}
        kind = rng.choice([self.ip4, self.ip4, self.ip6, self.arp, self.nd, self.other])
        packet |= kind(n, m)
        return self.ports[n - 1], packet

    def ip4(self, n: int, m: int) -> Packet:
        source = n if self.rng.random() < 0.9 else n + 1
        packet = {"eth.type": 0x0800, "ip4.src": 0x0A000000 + source, "ip4.dst": 0x0A000000 + m}
        return packet | self.transport([6, 17, 1, 132, 47])

    def ip6(self, n: int, m: int) -> Packet:
        source = n if self.rng.random() < 0.9 else n + 1
        packet = {"eth.type": 0x86DD, "ip6.src": 0xFD << 120 | source, "ip6.dst": 0xFD << 120 | m}
        return packet | self.transport([6, 17, 47])

    def transport(self, protos: list[int]) -> Packet:
        rng = self.rng
        proto = rng.choice(protos)
        packet = {"ip.proto": proto, "ip.ttl": 64}
        ports = [53, 80, 443, rng.randint(1, 800)]
        name = {6: "tcp", 17: "udp", 132: "sctp"}.get(proto)
        if name:
            packet |= {f"{name}.src": rng.choice(ports), f"{name}.dst": rng.choice(ports)}
        if proto == 1:
            packet["icmp4.type"] = rng.choice([0, 8])
        return packet

    def arp(self, n: int, m: int) -> Packet:
        if self.secure[self.ports[n - 1]].count(" ") == 1:
            n = int(self.secure[self.ports[n - 1]].rpartition(".")[2])
        return {
            "eth.type": 0x0806,
            "arp.op": self.rng.choice([1, 1, 2]),
            "arp.sha": number(self.mac(n)),
            "arp.spa": 0x0A000000 + n,
            "arp.tpa": 0x0A000000 + m,
        }

    def nd(self, n: int, m: int) -> Packet:
        """A solicitation; what it says inside is true."""
        return {
            "eth.type": 0x86DD,
            "ip.proto": 58,
            "ip.ttl": 255,
            "icmp6.type": 135,
            "ip6.src": 0xFD << 120 | n,
            "ip6.dst": number("ff02::1:ff00:0") | m,
            "nd.target": 0xFD << 120 | m,
            "nd.sll": number(self.mac(n)),
        }

    def other(self, n: int, m: int) -> Packet:
        """Neither IP nor ARP; ovn-trace lets it pass an element with IP addresses."""
        return {"eth.type": 0x88CC if " " not in self.secure[self.ports[n - 1]] else 0x0800}


def microflow(inport: str, packet: Packet) -> str:
    terms = [f'inport == "{inport}"']
    for name, value in packet.items():
        text = str(value)
        if name in ("eth.src", "eth.dst", "arp.sha", "nd.sll"):
            text = ":".join(re.findall("..", f"{value:012x}"))
        elif name in ("ip6.src", "ip6.dst", "nd.target"):
            text = str(ipaddress.IPv6Address(value))
        elif name in ("ip4.src", "ip4.dst", "arp.spa", "arp.tpa"):
            text = str(ipaddress.IPv4Address(value))
        terms.append(f"{name} == {text}")
    return " && ".join(terms)


@pytest.fixture(params=SEEDS)
def switch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Switch, OvnCentral]]:
    with OvnCentral(tmp_path) as central:
        made = Switch(random.Random(request.param), central)
        made.build()
        yield made, central


def test_packets_leave_as_ovn_trace_says(switch: tuple[Switch, OvnCentral], tmp_path: Path) -> None:
    sw0, central = switch
    sb = southbound.read(central.sb)
    rules = sb.compiler.flush().added
    invalid = [u for u in sb.compiler.unsupported() if u.problem.value.startswith("invalid")]
    assert not invalid
    machine = Machine(rules, sb.groups, sb.compiler.members())
    delivered = 0
    with OvnTrace(tmp_path, central) as trace:
        for _ in range(PACKETS):
            inport, packet = sw0.packet()
            text = microflow(inport, packet)
            said = trace.minimal("sw0", text)
            dp, key = sb.keys[inport]
            machine.learnt.clear()
            events = machine.send(packet, dp, key)
            wanted = expected(said, as_words(packet))
            got = [(sb.ports[e.dp, e.port], headers(e.words)) for e in events if not e.reason]
            assert got == wanted, f"{text}\n{said}\ndrops: {machine.drops()}"
            delivered += bool(wanted)
    assert 0 < delivered < PACKETS, "the packets show too little"
