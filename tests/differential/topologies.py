# SPDX-License-Identifier: Apache-2.0
"""Random logical networks in the Northbound, and packets that suit them.

EXCLUDED says what is not made, and why: everything that ovn-trace does not model or
does otherwise than ovn-controller.
"""

from __future__ import annotations

import ipaddress
import random
import re

Packet = dict[str, str]

EXCLUDED = {
    "ECMP routes": "ovn-trace picks a member at random, whatever the packet",
    "gateway_mtu": "ovn-trace ignores check_pkt_larger",
    "fwd_group": "ovn-trace ignores it",
    "NAT, load balancers, stateful ACLs": "connection state is the work of a later issue",
    "ND to router addresses": "ovn-trace aborts at nd_na_router",
    "addresses with a prefix length, in port security": "ovn-trace takes them for that host only",
    "ARP and ND that lie about their sender": "ovn-trace does not look at all of their contents",
    "several negated sets or ranges in one &&": "rules under too many masks are refused",
    "DHCP": "ovn-trace takes every packet for a DISCOVER or REQUEST",
}
# What only the agent can make; the data plane drops until a later issue.
AGENT_MADE = re.compile(r"^\s*(arp|nd_ns|icmp4|icmp6|tcp_reset|sctp_abort) \{", re.MULTILINE)


class Vif:
    """Port `name`, number n of switch s."""

    def __init__(self, s: int, n: int) -> None:
        self.s, self.n = s, n
        self.name = f"vm{s}-{n}"
        self.mac = f"0a:00:00:00:0{s}:{n:02x}"
        self.ip4 = f"10.0.{s}.{n}"
        self.ip6 = f"fd00:{s}::{n}"
        self.full = f"{self.mac} {self.ip4} {self.ip6}"
        self.security = ""


class Topology:
    """commands: of ovn-nbctl."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.commands: list[list[str]] = []
        self.switches = list(range(1, rng.randint(2, 4)))
        self.vifs = [Vif(s, n) for s in self.switches for n in range(1, rng.randint(3, 5))]
        self.routers = rng.choice([[], [1], [1], [1, 2]])
        self.home = {s: rng.choice(self.routers) for s in self.switches} if self.routers else {}
        self._sets()
        for s in self.switches:
            self._switch(s)
        for s in self.switches:
            members = rng.sample(self.vifs, min(3, len(self.vifs)))
            self._do("pg-add", f"pg{s}", *(v.name for v in members))
        for r in self.routers:
            self._router(r)
        if len(self.routers) == 2:
            self._between()
        for priority in rng.sample(range(1, 2000), rng.randint(2, 12)):
            self._acl(priority)

    def _do(self, *command: str) -> None:
        self.commands.append(list(command))

    def argv(self) -> list[str]:
        """All commands as one transaction."""
        out: list[str] = []
        for command in self.commands:
            out += ["--", *command] if out else command
        return out

    # --- switches ----------------------------------------------------------------

    def _sets(self) -> None:
        some = self.rng.sample(self.vifs, min(3, len(self.vifs)))
        four = [v.ip4 for v in some] + ["10.0.1.0/30"]
        six = [v.ip6 for v in some] + ["fd00:2::/126"]
        for name, members in (("as4", four), ("as6", six)):
            quoted = ",".join(f'"{m}"' for m in members)
            self._do("create", "Address_Set", f"name={name}", f"addresses={quoted}")

    def _switch(self, s: int) -> None:
        rng = self.rng
        self._do("ls-add", f"sw{s}")
        for vif in (v for v in self.vifs if v.s == s):
            self._do("lsp-add", f"sw{s}", vif.name)
            kinds = [[vif.full], [vif.full], [vif.full], ["unknown"], [vif.full, "unknown"]]
            self._do("lsp-set-addresses", vif.name, *rng.choice(kinds))
            vif.security = rng.choice(["", "", vif.mac, f"{vif.mac} {vif.ip4}", vif.full])
            if vif.security:
                self._do("lsp-set-port-security", vif.name, vif.security)
        first = next(v for v in self.vifs if v.s == s)
        if rng.random() < 0.3:
            self._do("lsp-add", f"sw{s}", f"box{s}", first.name, str(10 + s))
            self._do("lsp-set-addresses", f"box{s}", f"0a:00:00:00:0{s}:c1 10.0.{s}.193")
        if rng.random() < 0.3:
            self._do("lsp-add", f"sw{s}", f"meta{s}")
            self._do("lsp-set-type", f"meta{s}", "localport")
            self._do("lsp-set-addresses", f"meta{s}", f"0a:00:00:00:0{s}:c2 10.0.{s}.194")
        if s in self.home:
            self._do("lsp-add", f"sw{s}", f"sw{s}-lr")
            self._do("lsp-set-type", f"sw{s}-lr", "router")
            self._do("lsp-set-addresses", f"sw{s}-lr", "router")
            self._do("lsp-set-options", f"sw{s}-lr", f"router-port=lr-sw{s}")

    def _acl(self, priority: int) -> None:
        direction, port = self.rng.choice([("from-lport", "inport"), ("to-lport", "outport")])
        target = self.rng.choice(self.switches)
        terms = [self._term(port) for _ in range(self.rng.randint(1, 3))]
        operator = self.rng.choice([" && ", " || "])
        if operator == " && ":
            wide = [t for t in terms if re.search(r"[<>!]", t)]
            terms = [t for t in terms if t not in wide] + wide[:1]
        match = operator.join(terms)
        action = self.rng.choice(["allow", "drop", "allow-stateless", "allow"])
        entity = self.rng.choice([f"sw{target}", f"sw{target}", f"pg{target}"])
        self._do("acl-add", entity, direction, str(priority), match, action)

    def _term(self, port: str) -> str:
        rng = self.rng
        a, b = rng.choice(self.vifs), rng.choice(self.vifs)
        low = rng.randint(1, 400)
        return rng.choice(
            [
                f'{port} == "{a.name}"',
                f'{port} == {{"{a.name}", "{b.name}"}}',
                f"{port} == @pg{rng.choice(self.switches)}",
                "ip4.src == $as4",
                "ip4.dst != $as4",
                "(ip4.src == $as4 && ip4.dst == $as4)",
                "ip6.src == $as6",
                "!(ip6.dst == $as6)",
                f"(tcp.dst >= {low} && tcp.dst <= {low + rng.randint(0, 300)})",
                f"udp.dst == {{53, {low}}}",
                f"udp.src > {low}",
                f"udp.dst < {low}",
                f"(udp.src <= {low})",
                "tcp.dst != {80, 443}",
                "icmp4.type == 8",
                "icmp6",
                "arp",
                "ip.ttl == 64",
                f"eth.src == {a.mac}",
                f"ip4.dst == {b.ip4}/31",
                "(ip4 && (udp || tcp.src == 80))",
                f"!(ip4.src == {a.ip4} && udp.dst == 53)",
                "(eth.bcast || ip4.mcast)",
            ]
        )

    # --- routers -----------------------------------------------------------------

    def _router(self, r: int) -> None:
        rng = self.rng
        self._do("lr-add", f"lr{r}")
        for s in (s for s, home in self.home.items() if home == r):
            self._do(
                *("lrp-add", f"lr{r}", f"lr-sw{s}", self.router_mac(s)),
                *(f"10.0.{s}.254/24", f"fd00:{s}::fe/64"),
            )
        for priority in rng.sample(range(1, 999), rng.randint(0, 3)):
            a, b = rng.choice(self.vifs), rng.choice(self.vifs)
            match = rng.choice([f"ip4.src == {a.ip4}", f"ip4.dst == {b.ip4} && udp", "ip6 && tcp"])
            action = rng.choice([["drop"], ["allow"]])
            if self.home.get(a.s) == r and "ip6" not in match:
                action = rng.choice([*[action], ["reroute", a.ip4]])
            self._do("lr-policy-add", f"lr{r}", str(priority), match, *action)
        for _ in range(rng.randint(0, 3)):
            hop = rng.choice(self.vifs)
            if self.home.get(hop.s) == r:
                net = f"172.{rng.randint(16, 31)}.{rng.randint(0, 255)}.0"
                length = rng.choice([16, 24, 32])
                prefix = ipaddress.ip_network(f"{net}/{length}", strict=False)
                self._do("--may-exist", "lr-route-add", f"lr{r}", str(prefix), hop.ip4)

    def _between(self) -> None:
        for r, other in ((1, 2), (2, 1)):
            mac = f"0a:00:00:00:fe:0{r}"
            self._do(
                *("lrp-add", f"lr{r}", f"lr{r}-lr{other}", mac),
                *(f"192.168.0.{r}/24", f"fd00:ff::{r}/64", f"peer=lr{other}-lr{r}"),
            )
            for s, home in self.home.items():
                if home == other:
                    hops = (
                        (f"10.0.{s}.0/24", f"192.168.0.{other}"),
                        (
                            f"fd00:{s}::/64",
                            f"fd00:ff::{other}",
                        ),
                    )
                    for prefix, hop in hops:
                        self._do("lr-route-add", f"lr{r}", prefix, hop)

    def router_mac(self, s: int) -> str:
        return f"0a:00:00:00:ff:0{s}"

    # --- packets -----------------------------------------------------------------

    def packet(self) -> tuple[str, str]:
        """A datapath and a microflow."""
        rng = self.rng
        a, b = rng.choice(self.vifs), rng.choice(self.vifs)
        packet = {"eth.src": a.mac if rng.random() < 0.9 else b.mac}
        packet["eth.dst"] = b.mac
        if b.s != a.s and a.s in self.home and rng.random() < 0.9:
            packet["eth.dst"] = self.router_mac(a.s)
        elif rng.random() < 0.2:
            other = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05", "33:33:00:00:00:05"]
            packet["eth.dst"] = rng.choice([*other, self.router_mac(a.s), "0a:00:00:00:77:77"])
        kind = rng.choice([self._ip4, self._ip4, self._ip4, self._ip6, self._ip6, self._arp])
        packet |= kind(a, b)
        terms = [f'inport == "{a.name}"', *(f"{k} == {v}" for k, v in packet.items())]
        return f"sw{a.s}", " && ".join(terms)

    def _ip4(self, a: Vif, b: Vif) -> Packet:
        far = f"172.{self.rng.randint(16, 31)}.{self.rng.randint(0, 255)}.9"
        near = [b.ip4] * 6 + [f"10.0.{b.s}.254", far, "224.0.0.5"]
        source = a.ip4 if self.rng.random() < 0.9 else b.ip4
        packet = {"eth.type": "0x800", "ip4.src": source, "ip4.dst": self.rng.choice(near)}
        return packet | self._transport([6, 17, 1, 132, 47])

    def _ip6(self, a: Vif, b: Vif) -> Packet:
        source = a.ip6 if self.rng.random() < 0.9 else b.ip6
        near = self.rng.choice([b.ip6] * 6 + [f"fd00:{b.s}::fe", "ff0e::5"])
        packet = {"eth.type": "0x86dd", "ip6.src": source, "ip6.dst": near}
        return packet | self._transport([6, 17, 132, 47])

    def _transport(self, protos: list[int]) -> Packet:
        rng = self.rng
        proto = rng.choice(protos)
        packet = {"ip.proto": str(proto), "ip.ttl": str(rng.choice([64, 255, 3]))}
        ports = [53, 80, 443, rng.randint(1, 800)]
        name = {6: "tcp", 17: "udp", 132: "sctp"}.get(proto)
        if name:
            packet |= {f"{name}.src": str(rng.choice(ports)), f"{name}.dst": str(rng.choice(ports))}
        if proto == 1:
            packet |= {"icmp4.type": rng.choice(["0", "8"]), "icmp4.code": "0"}
        return packet

    def _arp(self, a: Vif, b: Vif) -> Packet:
        target = self.rng.choice([b.ip4, b.ip4, f"10.0.{a.s}.254"])
        return {
            "eth.type": "0x806",
            "eth.src": a.mac,
            "eth.dst": "ff:ff:ff:ff:ff:ff",
            "arp.op": self.rng.choice(["1", "1", "2"]),
            "arp.sha": a.mac,
            "arp.spa": a.ip4,
            "arp.tpa": target,
        }
