# SPDX-License-Identifier: Apache-2.0
"""Compiled routers beside ovn-trace: the same outputs, the same headers.

Random routers and static routes between switches, a real ovn-northd, and the rules
run by tests.support.machine, which crosses patch ports here.  What an agent or the
program answers with a packet of its own is left to tests/bpf and tests/netns.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller._native import lib
from tests.differential.test_compiler_trace import (
    Packet,
    as_words,
    expected,
    headers,
    microflow,
    number,
)
from tests.support import southbound
from tests.support.machine import Machine, Words
from tests.support.ovntrace import OvnTrace
from tests.support.ovsdb import OvnCentral

SEEDS = range(8)
PACKETS = 150
SWITCHES = 4
HOSTS = 3


class Routed(Machine):
    """A Machine whose egress output crosses patch ports (census, section 7)."""

    def __init__(self, sb: southbound.Southbound, patches: dict[tuple[int, int], str]) -> None:
        super().__init__(sb.compiler.flush().added, sb.groups)
        self.patches = {where: sb.keys[peer] for where, peer in patches.items()}

    def _output(self, words: Words, egress: bool) -> None:
        peer = self.patches.get((words[lib.OW_DP], words.get("outport")))
        if not egress or peer is None:
            return super()._output(words, egress)
        crossed = words.copy()
        for word in range(lib.OW_REG0, lib.OW_PKT_MARK):
            crossed[word] = 0
        crossed[lib.OW_DP], crossed["inport"] = peer
        return self.stage(crossed, 0)


class Network:
    """Routers in a row, each with switches of its own, and packets that suit them."""

    def __init__(self, rng: random.Random, central: OvnCentral) -> None:
        self.rng = rng
        self.nb = central.nbctl
        self.routers = rng.randint(1, 3)

    def build(self) -> None:
        nb, rng = self.nb, self.rng
        for r in range(self.routers):
            nb("lr-add", f"r{r}")
        for s in range(SWITCHES):
            nb("ls-add", f"s{s}")
            self.leg(f"s{s}", f"r{rng.randrange(self.routers)}", s, 1)
            for h in range(2, 2 + HOSTS):
                nb("lsp-add", f"s{s}", f"s{s}h{h}")
                nb("lsp-set-addresses", f"s{s}h{h}",
                   f"{mac(s, h)} 10.0.{s}.{h} fd00:{s}::{h}")  # fmt: skip
        nb("ls-add", "join")
        for r in range(self.routers):
            self.leg("join", f"r{r}", 99, r + 1)
            for s in range(SWITCHES):
                hop = rng.randint(1, self.routers)
                if hop != r + 1 and rng.random() < 0.8:
                    plen = rng.choice([24, 24, 28, 16])
                    nb(
                        "--may-exist",
                        "lr-route-add",
                        f"r{r}",
                        f"10.0.{s}.0/{plen}",
                        f"10.0.99.{hop}",
                    )
                    nb("--may-exist", "lr-route-add", f"r{r}", f"fd00:{s}::/64", f"fd00:99::{hop}")
            if rng.random() < 0.5:
                action = rng.choice(["drop", "allow"])
                match = f"ip4.dst == 10.0.{rng.randrange(SWITCHES)}.{rng.randint(2, 4)}"
                nb("lr-policy-add", f"r{r}", "10", match, action)
        nb("--wait=sb", "sync")

    def leg(self, switch: str, router: str, net: int, host: int) -> None:
        port = f"{router}-{switch}"
        self.nb("lrp-add", router, port, mac(net, host), f"10.0.{net}.{host}/24",
                f"fd00:{net}::{host}/64")  # fmt: skip
        self.nb("lsp-add", switch, f"{switch}-{router}")
        self.nb("lsp-set-type", f"{switch}-{router}", "router")
        self.nb("lsp-set-addresses", f"{switch}-{router}", "router")
        self.nb("lsp-set-options", f"{switch}-{router}", f"router-port={port}")

    def packet(self) -> tuple[str, str, Packet]:
        """Switch, port and what the port sends, mostly to its router."""
        rng = self.rng
        s, h = rng.randrange(SWITCHES), rng.randint(2, 1 + HOSTS)
        t, u = rng.randrange(SWITCHES), rng.randint(1, 2 + HOSTS)
        packet: Packet = {"eth.src": number(mac(s, h)), "eth.dst": number(mac(s, 1))}
        if rng.random() < 0.15:
            packet |= {"eth.dst": (1 << 48) - 1, "eth.type": 0x0806, "arp.op": 1,
                       "arp.sha": number(mac(s, h)), "arp.spa": number(f"10.0.{s}.{h}"),
                       "arp.tpa": number(f"10.0.{s}.{rng.randint(1, 6)}")}  # fmt: skip
            return f"s{s}", f"s{s}h{h}", packet
        ttl = rng.randint(5, 9)  # routes may lead in circles
        if rng.random() < 0.5:
            packet |= {"eth.type": 0x0800, "ip4.src": number(f"10.0.{s}.{h}"),
                       "ip4.dst": number(f"10.0.{t}.{u}"), "ip.ttl": ttl}  # fmt: skip
            if u == 1 or rng.random() < 0.3:
                packet |= {"ip.proto": 1, "icmp4.type": 8}
            else:
                packet |= {"ip.proto": 17, "udp.src": 1000, "udp.dst": 53}
        else:
            packet |= {"eth.type": 0x86DD, "ip6.src": number(f"fd00:{s}::{h}"),
                       "ip6.dst": number(f"fd00:{t}::{u}"), "ip.ttl": ttl}  # fmt: skip
            if u == 1 or rng.random() < 0.3:
                packet |= {"ip.proto": 58, "icmp6.type": 128}
            else:
                packet |= {"ip.proto": 17, "udp.src": 1000, "udp.dst": 53}
        return f"s{s}", f"s{s}h{h}", packet


def mac(net: int, host: int) -> str:
    return f"0a:00:00:00:{net:02x}:{host:02x}"


@pytest.fixture(autouse=True)
def deep() -> Iterator[None]:
    """The Machine recurses from table to table, and a way has many of them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture(params=SEEDS)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Network, OvnCentral]]:
    with OvnCentral(tmp_path) as central:
        made = Network(random.Random(request.param), central)
        made.build()
        yield made, central


def patches(central: OvnCentral, sb: southbound.Southbound) -> dict[tuple[int, int], str]:
    """(datapath, port) -> name of the peer."""
    bindings = southbound.rows(central.sb, "Port_Binding").values()
    return {
        sb.keys[row["logical_port"]]: row["options"]["peer"]
        for row in bindings
        if row["type"] == "patch"
    }


def test_packets_are_routed_as_ovn_trace_says(
    network: tuple[Network, OvnCentral], tmp_path: Path
) -> None:
    net, central = network
    sb = southbound.read(central.sb)
    machine = Routed(sb, patches(central, sb))
    delivered = compared = 0
    with OvnTrace(tmp_path, central) as trace:
        for _ in range(PACKETS):
            switch, inport, packet = net.packet()
            text = microflow(inport, packet)
            said = trace.minimal(switch, text)
            if any(word in said for word in ("icmp4 {", "icmp6 {", "arp {", "nd_ns {", "put_")):
                continue
            compared += 1
            dp, key = sb.keys[inport]
            machine.learnt.clear()
            machine.macs.clear()
            events = machine.send(packet, dp, key)
            wanted = expected(said, as_words(packet))
            got = [(sb.ports[e.dp, e.port], headers(e.words)) for e in events if not e.reason]
            assert got == wanted, f"{text}\n{said}\ndrops: {machine.drops()}"
            delivered += bool(wanted)
    assert compared > PACKETS / 2 and delivered > PACKETS / 4, "the packets show too little"
