# SPDX-License-Identifier: Apache-2.0
"""Random routers beside a real ovn-controller: what guests get, frame by frame.

For what ovn-trace does not model (gateway_mtu, groups of next hops, forwarding groups)
and for what the answers look like: errors about packets that expire or do not fit,
resets, unreachable ports, echo replies.  Routers are drawn as for ovn-trace
(routers.py).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.differential.chassis import HOSTS, SWITCHES, Case, Side, differences, pair
from tests.differential.routers import Routers
from tests.differential.source import Source

SHARE, LONG, CASES = 5, 60, 40
MTUS = (600, 1280, 1330, 1390)
SETS = {
    "as4": "10.0.1.1,10.0.2.2,10.0.3.0/30",
    "as6": '"fd00:1::1","fd00:2::2"',
    "many": ",".join(f"172.16.{n}.9" for n in range(100)) + ",10.0.2.1",
}


FORWARDED = "0a:00:00:00:dd:01"  # address of a forwarding group
CLEAR = [
    *("--if-exists", "fwd-group-del", "fg", "--"),
    *("--if-exists", "lr-del", "lr1", "--", "--if-exists", "lr-del", "lr2"),
    *("--", "--if-exists", "ls-del", "join"),
    *(word for s in SWITCHES for word in ("--", "--if-exists", "lsp-del", f"sw{s}-lr")),
]


class Dice(Source):
    """Choices of a seed: a network here is no matter of shrinking."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._used = set()

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


class Network:
    """argv: of one ovn-nbctl, after CLEAR has taken the network before away."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.argv: list[str] = []
        self.groups = source.chance(50)
        most = 3 if self.groups else 1
        self.routers = Routers(source, SWITCHES, HOSTS, self.do, SWITCHES, most, True)
        for s in self.routers.home:
            self.do("lsp-add", f"sw{s}", f"sw{s}-lr")
            self.do("lsp-set-type", f"sw{s}-lr", "router")
            self.do("lsp-set-addresses", f"sw{s}-lr", "router")
            self.do("lsp-set-options", f"sw{s}-lr", f"router-port=lr-sw{s}")
        if self.groups and source.chance(50):
            guests = ("vm1-1", "vm1-2")
            self.do("fwd-group-add", "fg", "sw1", "10.0.1.77", FORWARDED, *guests)
        for s in self.routers.home:
            if source.chance(60):
                mtu = f"options:gateway_mtu={source.pick(MTUS)}"
                self.do("set", "Logical_Router_Port", f"lr-sw{s}", mtu)

    def do(self, *command: str) -> None:
        """One more command."""
        self.argv += ["--", *command] if self.argv else command

    def case(self, number: int) -> Case:
        """A packet, mostly for somebody behind the router."""
        source = self.source
        a = source.pick(HOSTS)
        b = source.pick([h for h in HOSTS if h.s != a.s] * 3 + HOSTS)
        version = source.pick([4, 4, 6])
        near = b.ip4 if version == 4 else b.ip6
        own = f"10.0.{b.s}.254" if version == 4 else f"fd00:{b.s}::fe"
        far = f"172.{source.number(16, 19)}.{source.number(0, 3)}.9"
        far = far if version == 4 else f"fd07:{source.number(0, 3)}::9"
        to = source.pick([near, near, near, far, far, far, own])
        mac = b.mac if b.s == a.s and to == near else self.routers.mac(a.s)
        mac = FORWARDED if a.s == 1 and self.groups and source.chance(20) else mac
        ttl = source.pick([64, 64, 64, 64, 2, 1])
        size = source.pick([100, 100, 1400, *(m + d for m in MTUS for d in (-1, 0, 1))])
        kind = "tcp" if self.groups else source.pick(["udp", "udp", "tcp", "icmp"])
        src = a.ip4 if version == 4 else a.ip6
        ip: Packet = (
            IP(src=src, dst=to, ttl=ttl, flags=source.pick(["DF", ""]), id=7)
            if version == 4
            else IPv6(src=src, dst=to, hlim=ttl)
        )
        dport = source.pick([53, 80, 443])
        head = Ether(src=a.mac, dst=mac) / ip

        def frame(sport: int) -> bytes:
            echo = ICMP(id=sport) if version == 4 else ICMPv6EchoRequest(id=sport)
            tcp = TCP(sport=sport, dport=dport, flags="A", seq=2000, ack=1000)
            packet = head / {"udp": UDP(sport=sport, dport=dport), "tcp": tcp}.get(kind, echo)
            return bytes(packet / Raw(b"x" * (size - (len(packet) - 14))))

        told = f"{a.name}: {kind} from {src} to {to} by {mac}, ttl {ttl}, {size} bytes"
        return Case(number, a, frame, told)


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Side, Side]]:
    with pair() as sides:
        for side in sides:
            for name, members in SETS.items():
                side.bed.nbctl("create", "Address_Set", f"name={name}", f"addresses={members}")
        yield sides


def compare(both: tuple[Side, Side], seed: int, seen: Counter[str]) -> None:
    """One network and its packets."""
    made = Network(Dice(seed))
    for side in both:
        side.bed.nbctl(*CLEAR)
        side.configure(made.argv, made.groups)
    cases = [made.case(number) for number in range(CASES)]
    found = differences(*both, cases)
    told = "\n\n".join(found.values())
    assert not found, f"seed {seed}: {len(found)} of {CASES}\n{told}\n{' '.join(made.argv)}"
    for case in cases:
        outcomes = both[0].seen[case.number]
        seen["delivered" if outcomes else "dropped"] += 1
        seen["answered"] += any(who == case.by.name for who, _ in outcomes)
        seen["spread"] += len(outcomes) > 1
        seen["forwarded"] += FORWARDED in case.told and bool(outcomes)


@pytest.mark.timeout(300)
def test_guests_get_what_a_real_chassis_gives_them(
    request: pytest.FixtureRequest, both: tuple[Side, Side]
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(SHARE):
        compare(both, seed, seen)
    print(dict(seen))
    assert seen["delivered"] > 50 < seen["dropped"]
    assert seen["answered"] > 10
    end = time.monotonic() + request.config.getoption("--seconds")
    while time.monotonic() < end:
        fresh = random.SystemRandom().randrange(1 << 32)
        compare(both, fresh, seen)
        print(f"--seconds: seed {fresh}: {dict(seen)}", flush=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_guests_get_what_a_real_chassis_gives_them_in_60_networks(
    both: tuple[Side, Side],
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(SHARE, SHARE + LONG):
        compare(both, seed, seen)
    print(dict(seen))
    assert seen["delivered"] > 500 < seen["dropped"]
    assert seen["answered"] > 100
    assert seen["spread"] > 5 < seen["forwarded"]
