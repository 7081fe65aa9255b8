# SPDX-License-Identifier: Apache-2.0
"""Random logical networks in the Northbound: switches, their ports, sets and groups.

Routers are in routers.py, ACLs in acls.py, the packets in packets.py.  EXCLUDED says what is
not made, and why: everything that ovn-trace does not model or does otherwise than
ovn-controller.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.differential import newer
from tests.differential.acls import Acls
from tests.differential.routers import Routers
from tests.differential.source import Source
from tests.support.release import HOST, Release

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
    "link-local addresses of ports secured by IPv4": "ovn-trace lets them pass",
    "multicast with a TTL of 1, where routers relay": "ovn-trace counts down to 0 and goes on",
    "two networks of IPv4 on a router's port": "flows of one priority answer with either address",
    "ip.ttl in ACLs, where ACLs reject": "ovn-trace's resets keep it",
    "the ACK flag in ACLs, where ACLs reject": "ovn-trace's resets lack it",
    "sources that are groups, or no address, where one answers": "ovn-trace answers those, too",
    "gateway ports at switches without localnet, in 26.03": "ovn-trace keeps cr- ports in groups",
    "mirrors where what is flooded is refused by some": "ovn-trace keeps members' registers",
    "gateway ports that multicast is flooded to": "ovn-trace keeps cr- ports in groups",
    "ipv6_ra_configs": "ovn-trace aborts at a router solicitation",
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
    """commands: of ovn-nbctl; learnt: rows of MAC_Binding, FDB for ovn-sbctl.

    release: whose northd is to read it.
    """

    def __init__(self, source: Source, release: Release = HOST) -> None:
        self.source = source
        self.commands: list[list[str]] = []
        self.switches = list(range(1, 1 + source.number(1, 3)))
        self.vifs = [
            host(s, f"vm{s}-{n}", n) for s in self.switches for n in range(1, source.number(3, 5))
        ]
        #: Who else sends: containers, localports, whoever is behind a localnet port.
        self.others: list[Host] = []
        self.unknown: list[Host] = []  # ports with the address "unknown"
        self.virtual: list[Host] = []
        self.checked: set[int] = set()  # switches that flood to ports that refuse
        self.settings: list[str] = []  # of NB_Global
        self.secured: set[str] = set()  # names of ports whose addresses are checked
        self.secured4: set[str] = set()  # and of those that have none of IPv6
        self._sets()
        self._global()
        for s in self.switches:
            self._switch(s)
        for s in self.switches:
            members = source.some(self.vifs, 3)
            self.do("pg-add", f"pg{s}", *(v.name for v in members))
        self.do("pg-add", "pgs", *(v.name for v in source.some([*self.vifs, *self.others], 6)))
        provider = {other.s for other in self.others if other in self.unknown}
        gateways = self.switches if release is HOST else sorted(provider)
        self.routers = Routers(source, self.switches, self.vifs, self.do, gateways)
        self.attach()
        more = newer.tier if release is not HOST else lambda _: []
        self.rejects = Acls(source, self.vifs, self.switches, self.do, more).rejects
        if release is not HOST:
            self._newer()
        self.learnt = self._learnt()

    def do(self, *command: str) -> None:
        """One more command of ovn-nbctl."""
        self.commands.append(list(command))

    def _newer(self) -> None:
        """What only a newer release has."""
        source = self.source
        for vif in self.vifs:
            for command in newer.options(source, vif.name):
                self.do(*command)
        if mirrored := [vif.name for vif in self.vifs if vif.s not in self.checked]:
            newer.mirrors(source, mirrored, self.do)
        newer.joined(source, self.switches, self.do)
        newer.samples(source, self.switches, self.do)
        for r in self.routers.routers:
            near = [vif for vif in self.vifs if self.routers.home.get(vif.s) == r]
            newer.chains(source, f"lr{r}", near, self.do)

    def argv(self) -> list[str]:
        """All commands as one transaction."""
        out: list[str] = []
        for command in self.commands:
            out += ["--", *command] if out else command
        return out

    # --- switches ----------------------------------------------------------------

    def _sets(self) -> None:
        """Hosts, prefixes that cover one another, hundreds of addresses, none at all."""
        some = self.source.some(self.vifs, 3)
        found = {
            "as4": [v.ip4 for v in some] + ["10.0.1.0/30"],
            "as6": [v.ip6 for v in some] + ["fd00:2::/126"],
            "many": [f"172.16.{n}.{n * 7 % 256}" for n in range(self.source.number(1, 200))]
            + ["10.0.2.0/24", "10.0.2.2", "172.18.0.0/16", *(v.ip4 for v in some[:2])],
        }
        for name, members in found.items():
            quoted = ",".join(f'"{m}"' for m in dict.fromkeys(members))
            self.do("create", "Address_Set", f"name={name}", f"addresses={quoted}")
        self.do("create", "Address_Set", "name=nobody")
        macs = ",".join(f'"{v.mac}"' for v in self.source.some(self.vifs, 3))
        self.do("create", "Address_Set", "name=macs", f"addresses={macs}")

    def _global(self) -> None:
        """What is the same for the whole network."""
        self.do("meter-add", "slow", "drop", "10", "pktps", "1")
        for percent, option in ((10, "default_acl_drop=true"), (10, "use_ct_inv_match=false")):
            if self.source.chance(percent):
                self.settings += [f"options:{option}"]

    def _switch(self, s: int) -> None:
        source = self.source
        self.do("ls-add", f"sw{s}")
        if source.chance(10):  # the most that a Geneve header holds, and others
            key = source.pick([(1 << 24) - 1, 1 << 16, 1 << 15]) - s
            self.do("set", "Logical_Switch", f"sw{s}", f"other_config:requested-tnl-key={key}")
        snoops = source.chance(20)
        settings = []
        if snoops:
            flood = source.pick(["true", "false"])
            settings = ["mcast_snoop=true", f"mcast_flood_unregistered={flood}"]
        if source.chance(10):
            settings.append("broadcast-arps-to-all-routers=false")
        if source.chance(10):
            settings.append("vlan-passthru=true")
        if settings:
            self.do("set", "Logical_Switch", f"sw{s}", *(f"other_config:{o}" for o in settings))
        for vif in (v for v in self.vifs if v.s == s):
            self._vif(vif)
            if snoops and source.chance(20):
                flooded = source.pick(["mcast_flood", "mcast_flood_reports"])
                self.do("lsp-set-options", vif.name, f"{flooded}=true")
        self._special(s)

    def _special(self, s: int) -> None:
        """Ports that are no plain interfaces of guests."""
        source = self.source
        first = next(v for v in self.vifs if v.s == s)
        if source.chance(30):
            self._other(host(s, f"box{s}", 0xC1), "", first.name, str(10 + s))
        if source.chance(30):
            self._other(host(s, f"meta{s}", 0xC2), "localport")
        if source.chance(20):
            out = host(s, f"net{s}", 0xC3)
            self._other(out, "localnet")
            self.do("lsp-set-addresses", out.name, "unknown")
            self.do("lsp-set-options", out.name, "network_name=phys")
            self.unknown.append(out)
        if source.chance(15):
            self.do("copp-add", f"copp{s}", source.pick(["reject", "arp-resolve", "igmp"]), "slow")
            self.do("ls-copp-add", f"copp{s}", f"sw{s}")
        if source.chance(15):
            records = f'records="{first.name}.example"="{first.ip4} {first.ip6}"'
            self.do(f"--id=@dns{s}", "create", "DNS", records)
            self.do("add", "Logical_Switch", f"sw{s}", "dns_records", f"@dns{s}")
        for percent, n, kind in ((10, 0xC4, "external"), (10, 0xC5, "remote")):
            if source.chance(percent):
                self._other(host(s, f"{kind[:3]}{s}", n), kind)
        for percent, n, kind in ((5, 0xC6, "l2gateway"), (5, 0xC7, "vtep")):
            if source.chance(percent):
                beyond = host(s, f"{kind[:3]}{s}", n)
                self._other(beyond, kind)
                self.do("lsp-set-addresses", beyond.name, "unknown")
                self.unknown.append(beyond)
        if source.chance(20):
            self._virtual(host(s, f"vip{s}", 0xC8), [v for v in self.vifs if v.s == s])

    def _virtual(self, made: Host, vifs: list[Host]) -> None:
        """An address that moves from guest to guest."""
        parents = self.source.some(vifs, 2)
        self.do("lsp-add", f"sw{made.s}", made.name)
        self.do("lsp-set-type", made.name, "virtual")
        self.do("lsp-set-addresses", made.name, f"{made.mac} {made.ip4}")
        named = ",".join(parent.name for parent in parents)
        self.do(
            "lsp-set-options", made.name, f"virtual-ip={made.ip4}", f'virtual-parents="{named}"'
        )
        self.virtual.append(made)

    def _other(self, made: Host, kind: str, *nested: str) -> None:
        self.do("lsp-add", f"sw{made.s}", made.name, *nested)
        self.do("lsp-set-type", made.name, kind)
        self.do("lsp-set-addresses", made.name, made.full)
        self.others.append(made)

    def _vif(self, vif: Host) -> None:
        source = self.source
        self.do("lsp-add", f"sw{vif.s}", vif.name)
        second = host(vif.s, vif.name, 0x80 + int(vif.name.split("-")[1]))
        addresses = source.pick(
            [[vif.full]] * 4 + [["unknown"], [vif.full, "unknown"], [vif.full, second.full]]
        )
        self.do("lsp-set-addresses", vif.name, *addresses)
        if "unknown" in addresses:
            self.unknown.append(vif)
        security = source.pick([[], [], [vif.full], [vif.mac], [f"{vif.mac} {vif.ip4}"]])
        if security and second.full in addresses:
            security = [*security, second.full]
        if security:
            self.do("lsp-set-port-security", vif.name, *security)
        if security and "unknown" in addresses:
            self.checked.add(vif.s)
        if any(" " in element for element in security):
            self.secured.add(vif.name)
        if security and vif.full not in security and vif.mac not in security:
            self.secured4.add(vif.name)
        if source.chance(5):
            self.do("lsp-set-enabled", vif.name, "disabled")
        if source.chance(10):
            key = source.pick([32767, 20000, 255]) - int(vif.name.split("-")[1])
            self.do("set", "Logical_Switch_Port", vif.name, f"options:requested-tnl-key={key}")

    def attach(self) -> None:
        """A port of type router on each switch that has a router."""
        source = self.source
        for s in self.routers.home:
            name = f"sw{s}-lr"
            self.do("lsp-add", f"sw{s}", name)
            self.do("lsp-set-type", name, "router")
            said = f"{self.routers.mac(s)} 10.0.{s}.254 fd00:{s}::fe"
            self.do("lsp-set-addresses", name, said if source.chance(20) else "router")
            options = [f"router-port=lr-sw{s}"]
            if source.chance(15):
                proxied = [f"10.0.{s}.200", f"0a:00:00:00:cc:0{s} 10.0.{s}.200/29"]
                options.append(f"arp_proxy={source.pick(proxied)}")
            self.do("lsp-set-options", name, *options)

    # --- what was learnt ------------------------------------------------------------

    def _learnt(self) -> list[tuple[str, ...]]:
        """MAC_Binding: (port, address, MAC); FDB: (switch, MAC, port)."""
        source = self.source
        found: list[tuple[str, ...]] = []
        for s in sorted(self.routers.home.keys() - self.routers.off):
            for _ in range(source.number(0, 2)):
                n = source.number(100, 103)
                ip = source.pick([f"10.0.{s}.{n}", f"fd00:{s}::{n:x}"])
                found.append((f"lr-sw{s}", ip, f"0a:00:00:00:aa:{n:02x}"))
        for behind in self.unknown:
            if source.chance(40):
                found.append((f"sw{behind.s}", f"0a:00:00:00:0{behind.s}:fd", behind.name))
        return list({learnt[:2]: learnt for learnt in found}.values())
