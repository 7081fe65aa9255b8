# SPDX-License-Identifier: Apache-2.0
"""Random routers between the switches of a topology: ports, routes, ECMP, policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.differential.source import Source

TABLES = ("blue", "red")


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
    """home: the router of each switch that has one.  do: adds a command of ovn-nbctl.

    gateways: switches at which its port may be on one chassis.  most: next hops of a
    route or policy.  real: only what ovn-controller knows, too, which has no way to a
    router on one chassis but through a switch.
    """

    def __init__(
        self,
        source: Source,
        switches: Sequence[int],
        vifs: Sequence[Hop],
        do: Callable[..., None],
        gateways: Sequence[int],
        most: int = 3,
        real: bool = False,
    ) -> None:
        self.source, self.vifs, self.do, self.gateways = source, vifs, do, gateways
        self.most, self.real = most, real
        self.known: set[tuple[object, ...]] = set()  # routes
        self.centralised = False  # whether one of them is on one chassis alone
        self.routers = source.pick([[], [1], [1], [1, 2]])
        self.home: dict[int, int] = {}
        self.relays = False  # whether one of them may forward multicast
        self.off: set[int] = set()  # switches whose router's port is disabled
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
        for percent, option in (
            (15, "chassis=hv1"),
            (15, "mcast_relay=true"),
            (15, "always_learn_from_arp_request=false"),
            (15, "dynamic_neigh_routers=true"),
        ):
            if source.chance(percent):
                self.do("set", "Logical_Router", f"lr{r}", f"options:{option}")
                self.relays |= option.startswith("mcast")
                self.centralised |= option.startswith("chassis")
        if source.chance(3):
            self.do("set", "Logical_Router", f"lr{r}", "enabled=false")
            self.off |= {s for s, home in self.home.items() if home == r}
        for s in (s for s, home in self.home.items() if home == r):
            self._port(r, s)
        for _ in range(source.number(0, 3)):
            self._policy(r, source.unused(1, 999))
        for _ in range(source.number(0, 5)):
            self._route(r)

    def _port(self, r: int, s: int) -> None:
        source, name = self.source, f"lr-sw{s}"
        four, six = f"10.0.{s}.254/24", f"fd00:{s}::fe/64"
        more = [four, six, f"fd01:{s}::fe/64"]
        networks = source.pick([[four, six]] * 6 + [[four], [six], more])
        self.do("lrp-add", f"lr{r}", name, self.mac(s), *networks)
        if source.chance(3):
            self._set(name, "enabled=false")
            self.off.add(s)
        # What a gateway is for a router that is none, ovn-trace and OVN see differently.
        gateway = s not in self.off and s in self.gateways and source.chance(10)
        if gateway:
            self.do("lrp-set-gateway-chassis", name, "hv1", "10")
            if source.chance(20):
                self._set(name, "options:redirect-type=bridged")
        for percent, setting in (
            (15, f"options:route_table={source.pick(TABLES)}"),
            (0 if gateway else 10, "options:mcast_flood=true"),
            (5, "options:reside-on-redirect-chassis=true"),
        ):
            if source.chance(percent):
                self._set(name, setting)
                self.relays |= "mcast" in setting

    def _set(self, port: str, setting: str) -> None:
        self.do("set", "Logical_Router_Port", port, setting)

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
                "ip4.dst == 172.16.0.0/14 && !(tcp.dst == {80, 443})",
                f"ip4.src == $many || ip4.dst == {b.ip4}",
                f"ip6.src == $as6 && ip6.dst != {b.ip6}",
            ]
        )
        hops = self._near(r)
        action = [source.pick(["drop", "allow"])]
        if action[0] == "allow" and source.chance(30):
            action.append(f"pkt_mark={source.number(1, 255)}")
        elif hops and match != "ip6 && tcp" and source.chance(50):
            some = source.some(hops, self.most)
            action = ["reroute", ",".join(h.ip4 if "ip4" in match else h.ip6 for h in some)]
        self.do("--may-exist", "lr-policy-add", f"lr{r}", str(priority), match, *action)

    def _route(self, r: int) -> None:
        source = self.source
        hops = self._near(r)
        if not hops:
            return
        net = f"172.{source.number(16, 19)}.{source.number(0, 3)}.0"
        length = source.pick([24, 16, 32, 30, 0])
        prefix = str(ipaddress.ip_network(f"{net}/{length}", strict=False))
        six = f"fd07:{source.number(0, 3)}::/{source.pick([64, 48, 128, 0])}"
        six = str(ipaddress.ip_network(six, strict=False))
        policy = source.pick(["dst-ip", "dst-ip", "dst-ip", "src-ip"])
        if policy == "src-ip":
            prefix, six = f"10.0.{hops[0].s}.0/{max(length, 16)}", f"fd00:{hops[0].s}::/64"
            prefix = str(ipaddress.ip_network(prefix, strict=False))
        options = ["--may-exist", f"--policy={policy}"]
        if source.chance(20):
            options.append(f"--route-table={source.pick(TABLES)}")
        if source.chance(15):
            gone = source.pick([prefix, six])
            if self.most == 1 and (r, *options[1:], gone) in self.known:
                return  # of one priority with the other
            self.known.add((r, *options[1:], gone))
            self.do(*options, "lr-route-add", f"lr{r}", gone, "discard")
            return
        some = source.some(hops, self.most)
        if len(some) > 1 and source.chance(70):
            options[0] = "--ecmp"
        for hop in some:
            family = source.pick([(prefix, hop.ip4), (six, hop.ip6)])
            way = (f"lr-sw{hop.s}",) if source.chance(15) else ()
            if self.most == 1 and (r, *options[1:], family[0]) in self.known:
                return  # a second one would be a group
            self.known.add((r, *options[1:], family[0]))
            self.do(*options, "lr-route-add", f"lr{r}", *family, *way)
            if options[0] != "--ecmp":
                return

    def _between(self) -> None:
        """Two routers side by side, or on a switch that they share."""
        joined = self.source.chance(40) or (self.real and self.centralised)
        if joined:
            self.do("ls-add", "join")
        for r, other in ((1, 2), (2, 1)):
            mac, name = f"0a:00:00:00:fe:0{r}", f"lr{r}-lr{other}"
            networks = (f"192.168.0.{r}/24", f"fd00:ff::{r}/64")
            self.do("lrp-add", f"lr{r}", name, mac, *networks)
            if joined:
                self.do("lsp-add", "join", f"join-lr{r}")
                self.do("lsp-set-type", f"join-lr{r}", "router")
                self.do("lsp-set-addresses", f"join-lr{r}", "router")
                self.do("lsp-set-options", f"join-lr{r}", f"router-port={name}")
            else:
                self._set(name, f"peer=lr{other}-lr{r}")
            for s, home in self.home.items():
                if home == other:
                    four = (f"10.0.{s}.0/24", f"192.168.0.{other}")
                    for way in (four, (f"fd00:{s}::/64", f"fd00:ff::{other}")):
                        self.do("--may-exist", "lr-route-add", f"lr{r}", *way)
