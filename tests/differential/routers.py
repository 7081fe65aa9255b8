# SPDX-License-Identifier: Apache-2.0
"""Random routers between the switches of a topology: routes, ECMP, policies, gateways."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.differential.source import Source


class Hop(Protocol):
    """What a route needs to know of a host."""

    @property
    def s(self) -> int:
        """Number of its switch."""

    @property
    def ip4(self) -> str:
        """Its address."""

    @property
    def ip6(self) -> str:
        """Its address."""


class Routers:
    """home: the router of each switch that has one.  do: adds a command of ovn-nbctl."""

    def __init__(
        self,
        source: Source,
        switches: Sequence[int],
        vifs: Sequence[Hop],
        do: Callable[..., None],
    ) -> None:
        self.source, self.vifs, self.do = source, vifs, do
        self.routers = source.pick([[], [1], [1], [1, 2]])
        self.home: dict[int, int] = {}
        if self.routers:
            self.home = {s: source.pick(self.routers) for s in switches}
        for r in self.routers:
            self._router(r)
        if len(self.routers) == 2:
            self._between()

    def mac(self, s: int) -> str:
        """Of the router's port at switch s."""
        return f"0a:00:00:00:ff:0{s}"

    def _router(self, r: int) -> None:
        source = self.source
        self.do("lr-add", f"lr{r}")
        if source.chance(15):
            self.do("set", "Logical_Router", f"lr{r}", "options:chassis=hv1")
        if source.chance(15):
            self.do("set", "Logical_Router", f"lr{r}", "options:mcast_relay=true")
        if source.chance(15):
            never = "options:always_learn_from_arp_request=false"
            self.do("set", "Logical_Router", f"lr{r}", never)
        for s in (s for s, home in self.home.items() if home == r):
            self.do(
                *("lrp-add", f"lr{r}", f"lr-sw{s}", self.mac(s)),
                *(f"10.0.{s}.254/24", f"fd00:{s}::fe/64"),
            )
            if source.chance(10):
                self.do("lrp-set-gateway-chassis", f"lr-sw{s}", "hv1", "10")
        for _ in range(source.number(0, 3)):
            self._policy(r, source.unused(1, 999))
        for _ in range(source.number(0, 4)):
            self._route(r)

    def _near(self, r: int) -> list[Hop]:
        """Hosts on the router's switches."""
        return [v for v in self.vifs if self.home.get(v.s) == r]

    def _policy(self, r: int, priority: int) -> None:
        source = self.source
        a, b = source.pick(self.vifs), source.pick(self.vifs)
        match = source.pick(
            [
                f"ip4.src == {a.ip4}",
                f"ip4.dst == {b.ip4} && udp",
                "ip6 && tcp",
                f'inport == "lr-sw{a.s}" && ip4.dst != $as4',
                f"ip6.dst == {b.ip6}",
            ]
        )
        hops = self._near(r)
        action = [source.pick(["drop", "allow"])]
        if hops and ("ip4" in match or "ip6.dst" in match) and source.chance(50):
            some = source.some(hops, 2)
            action = ["reroute", ",".join(h.ip4 if "ip4" in match else h.ip6 for h in some)]
        self.do("--may-exist", "lr-policy-add", f"lr{r}", str(priority), match, *action)

    def _route(self, r: int) -> None:
        source = self.source
        hops = self._near(r)
        if not hops:
            return
        net = f"172.{source.number(16, 19)}.{source.number(0, 3)}.0"
        length = source.pick([24, 16, 32])
        prefix = str(ipaddress.ip_network(f"{net}/{length}", strict=False))
        six = f"fd07:{source.number(0, 3)}::/{source.pick([64, 48, 128])}"
        policy = source.pick(["dst-ip", "dst-ip", "dst-ip", "src-ip"])
        if policy == "src-ip":
            prefix, six = f"10.0.{hops[0].s}.0/{length}", f"fd00:{hops[0].s}::/64"
        options = ["--may-exist", f"--policy={policy}"]
        if source.chance(15):
            self.do(*options, "lr-route-add", f"lr{r}", prefix, "discard")
            return
        some = source.some(hops, 3)
        if len(some) > 1 and source.chance(70):
            options[0] = "--ecmp"
        for hop in some:
            family = source.pick([(prefix, hop.ip4), (six, hop.ip6)])
            self.do(*options, "lr-route-add", f"lr{r}", *family)
            if options[0] != "--ecmp":
                return

    def _between(self) -> None:
        for r, other in ((1, 2), (2, 1)):
            mac = f"0a:00:00:00:fe:0{r}"
            self.do(
                *("lrp-add", f"lr{r}", f"lr{r}-lr{other}", mac),
                *(f"192.168.0.{r}/24", f"fd00:ff::{r}/64", f"peer=lr{other}-lr{r}"),
            )
            for s, home in self.home.items():
                if home == other:
                    four = (f"10.0.{s}.0/24", f"192.168.0.{other}")
                    for way in (four, (f"fd00:{s}::/64", f"fd00:ff::{other}")):
                        self.do("--may-exist", "lr-route-add", f"lr{r}", *way)
