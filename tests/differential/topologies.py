# SPDX-License-Identifier: Apache-2.0
"""Random logical networks in the Northbound: switches, their ports, sets and ACLs.

Routers are in routers.py, the packets in packets.py.  EXCLUDED says what is not made,
and why: everything that ovn-trace does not model or does otherwise than ovn-controller.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.differential.routers import Routers
from tests.differential.source import Source

EXCLUDED = {
    "gateway_mtu": "ovn-trace ignores check_pkt_larger",
    "fwd_group": "ovn-trace ignores it",
    "NAT, load balancers, stateful ACLs": "connection state has tests of its own",
    "ND to router addresses": "ovn-trace aborts at nd_na_router",
    "addresses with a prefix length, in port security": "ovn-trace takes them for that host only",
    "ARP and ND that lie about their sender": "ovn-trace does not look at all of their contents",
    "DHCP": "ovn-trace takes every packet for a DISCOVER or REQUEST",
    "Static_MAC_Binding": "ovn-trace does not read the table",
    "ip.dscp and ip.ecn in packets": "ovn-trace takes them for 0",
    "ip.dscp in ACLs": "ovn-trace keeps it in ICMP errors and resets, ovn-controller does not",
    "different ports, where ACLs or routers reject": "ovn-trace does not swap them in resets",
    "SCTP over IPv6": "ovn-trace takes the abort that answers it for TCP",
    "what is not IP, where ACLs reject": "ovn-trace makes an ICMPv6 error of it",
    "fragments that are answered": "ovn-trace's answers are fragments, too",
    "other than IP, ARP from ports secured by address": "ovn-trace lets it pass",
}


@dataclass(frozen=True)
class Host:
    """Somebody behind port `name` of switch s."""

    s: int
    name: str
    mac: str
    ip4: str
    ip6: str

    @property
    def full(self) -> str:
        """MAC and addresses, as a port has them."""
        return f"{self.mac} {self.ip4} {self.ip6}"


def host(s: int, name: str, n: int) -> Host:
    """The n-th host of switch s."""
    return Host(s, name, f"0a:00:00:00:0{s}:{n:02x}", f"10.0.{s}.{n}", f"fd00:{s}::{n:x}")


class Topology:
    """commands: of ovn-nbctl; learnt: rows of MAC_Binding, FDB for ovn-sbctl."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.commands: list[list[str]] = []
        self.switches = list(range(1, 1 + source.number(1, 3)))
        self.vifs = [
            host(s, f"vm{s}-{n}", n) for s in self.switches for n in range(1, source.number(3, 5))
        ]
        #: Who else sends: containers, localports, whoever is behind a localnet port.
        self.others: list[Host] = []
        self.unknown: list[Host] = []  # ports with the address "unknown"
        self.rejects = False
        self.secured: set[str] = set()  # names of ports whose addresses are checked
        self._sets()
        for s in self.switches:
            self._switch(s)
        for s in self.switches:
            members = source.some(self.vifs, 3)
            self.do("pg-add", f"pg{s}", *(v.name for v in members))
        self.routers = Routers(source, self.switches, self.vifs, self.do)
        self.attach()
        for _ in range(source.number(0, 12)):
            self._acl(source.unused(1, 2000))
        for _ in range(source.number(0, 3)):
            self._qos(source.unused(1, 2000))
        self.learnt = self._learnt()

    def do(self, *command: str) -> None:
        """One more command of ovn-nbctl."""
        self.commands.append(list(command))

    def argv(self) -> list[str]:
        """All commands as one transaction."""
        out: list[str] = []
        for command in self.commands:
            out += ["--", *command] if out else command
        return out

    # --- switches ----------------------------------------------------------------

    def _sets(self) -> None:
        some = self.source.some(self.vifs, 3)
        four = [v.ip4 for v in some] + ["10.0.1.0/30"]
        six = [v.ip6 for v in some] + ["fd00:2::/126"]
        for name, members in (("as4", four), ("as6", six)):
            quoted = ",".join(f'"{m}"' for m in members)
            self.do("create", "Address_Set", f"name={name}", f"addresses={quoted}")

    def _switch(self, s: int) -> None:
        source = self.source
        self.do("ls-add", f"sw{s}")
        if source.chance(20):
            self.do(
                *("set", "Logical_Switch", f"sw{s}", "other_config:mcast_snoop=true"),
                f"other_config:mcast_flood_unregistered={source.pick(['true', 'false'])}",
            )
        for vif in (v for v in self.vifs if v.s == s):
            self._vif(vif)
        first = next(v for v in self.vifs if v.s == s)
        if source.chance(30):
            box = host(s, f"box{s}", 0xC1)
            self.do("lsp-add", f"sw{s}", box.name, first.name, str(10 + s))
            self.do("lsp-set-addresses", box.name, box.full)
            self.others.append(box)
        if source.chance(30):
            meta = host(s, f"meta{s}", 0xC2)
            self.do("lsp-add", f"sw{s}", meta.name)
            self.do("lsp-set-type", meta.name, "localport")
            self.do("lsp-set-addresses", meta.name, meta.full)
            self.others.append(meta)
        if source.chance(20):
            out = host(s, f"net{s}", 0xC3)
            self.do("lsp-add", f"sw{s}", out.name)
            self.do("lsp-set-type", out.name, "localnet")
            self.do("lsp-set-addresses", out.name, "unknown")
            self.do("lsp-set-options", out.name, "network_name=phys")
            self.others.append(out)
            self.unknown.append(out)

    def _vif(self, vif: Host) -> None:
        source = self.source
        self.do("lsp-add", f"sw{vif.s}", vif.name)
        addresses = source.pick([[vif.full]] * 3 + [["unknown"], [vif.full, "unknown"]])
        self.do("lsp-set-addresses", vif.name, *addresses)
        if "unknown" in addresses:
            self.unknown.append(vif)
        security = source.pick(["", "", vif.full, vif.mac, f"{vif.mac} {vif.ip4}"])
        if security:
            self.do("lsp-set-port-security", vif.name, security)
        if " " in security:
            self.secured.add(vif.name)
        if source.chance(5):
            self.do("lsp-set-enabled", vif.name, "disabled")

    def attach(self) -> None:
        """A port of type router on each switch that has a router."""
        for s in self.routers.home:
            name = f"sw{s}-lr"
            self.do("lsp-add", f"sw{s}", name)
            self.do("lsp-set-type", name, "router")
            self.do("lsp-set-addresses", name, "router")
            options = [f"router-port=lr-sw{s}"]
            if self.source.chance(15):
                options.append(f"arp_proxy=10.0.{s}.200")
            self.do("lsp-set-options", name, *options)

    # --- ACLs ----------------------------------------------------------------------

    def _acl(self, priority: int) -> None:
        source = self.source
        direction, port = source.pick([("from-lport", "inport"), ("to-lport", "outport")])
        action = source.pick(["drop", "allow", "allow-stateless", "reject"])
        self.rejects |= action == "reject"
        match = self._match(port)
        entity = source.pick([f"{kind}{source.pick(self.switches)}" for kind in ("sw", "sw", "pg")])
        options = ["--may-exist"]
        if direction == "from-lport" and source.chance(20):
            options.append("--apply-after-lb")
        if source.chance(10):
            options += ["--log", "--severity=info", f"--name=acl{priority}"]
        self.do(*options, "acl-add", entity, direction, str(priority), match, action)

    def _qos(self, priority: int) -> None:
        source = self.source
        direction, port = source.pick([("from-lport", "inport"), ("to-lport", "outport")])
        target, dscp = source.pick(self.switches), f"dscp={source.number(0, 63)}"
        entity = f"sw{target}"
        self.do("--may-exist", "qos-add", entity, direction, str(priority), self._term(port), dscp)

    def _match(self, port: str) -> str:
        source = self.source
        terms = [self._term(port) for _ in range(source.number(1, 3))]
        return source.pick([" && ", " || "]).join(terms)

    def _term(self, port: str) -> str:
        source = self.source
        a, b = source.pick(self.vifs), source.pick(self.vifs)
        low = source.number(1, 400)
        return source.pick(
            [
                f'{port} == "{a.name}"',
                f'{port} == {{"{a.name}", "{b.name}"}}',
                f"{port} == @pg{source.pick(self.switches)}",
                "ip4.src == $as4",
                "ip4.dst != $as4",
                "(ip4.src == $as4 && ip4.dst == $as4)",
                "ip6.src == $as6",
                "!(ip6.dst == $as6)",
                f"(tcp.dst >= {low} && tcp.dst <= {low + source.number(0, 300)})",
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
                "ip.is_frag",
                "!ip.later_frag",
                "tcp.flags == 0x2/0x17",
                "nd",
                "1",
                "ip6.dst == ff00::/8",
                "(ip.proto == 47 || sctp)",
                "sctp.dst == 53",
                f"{low} <= tcp.src <= {low + 100}",
                "vlan.present",
                "eth.type == 0x8847",
                "ip4.src == 10.0.0.0/255.0.0.3",
            ]
        )

    # --- what was learnt ------------------------------------------------------------

    def _learnt(self) -> list[tuple[str, ...]]:
        """MAC_Binding: (port, address, MAC); FDB: (switch, MAC, port)."""
        source = self.source
        found: list[tuple[str, ...]] = []
        for s in self.routers.home:
            for _ in range(source.number(0, 2)):
                n = source.number(100, 103)
                ip = source.pick([f"10.0.{s}.{n}", f"fd00:{s}::{n:x}"])
                found.append((f"lr-sw{s}", ip, f"0a:00:00:00:aa:{n:02x}"))
        for behind in self.unknown:
            if source.chance(40):
                found.append((f"sw{behind.s}", f"0a:00:00:00:0{behind.s}:fd", behind.name))
        return list({learnt[:2]: learnt for learnt in found}.values())
