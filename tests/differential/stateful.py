# SPDX-License-Identifier: Apache-2.0
"""Random networks with NAT, load balancers and stateful ACLs, and packets for them.

EXCLUDED says what is not made, and why: what ovn-trace does not model, or otherwise
than ovn-controller and OVS do.
"""

from __future__ import annotations

from typing import Final

from tests.differential.source import Source

EXCLUDED: Final = {
    "a backend that asks its own VIP": "ovn-trace looks at no mark; tests/bpf/test_ct_verbs.py",
    "packets to translated addresses of a gateway router": "ovn-trace ends at ct_snat",
    "connections on switches of a router": "ovn-trace keeps ct_state through patch ports",
    "balancers that force or skip SNAT": "ovn-trace forgets flags before the egress pipeline",
    "inv beside other states": "ovn-trace adds them up; 26.03 has flows of one priority for both",
    "reset and unreachable for connections": "tests/differential/test_trace.py has answers",
}

GATEWAY: Final = "172.16.0.254"
FLOATING: Final = {"172.16.0.10": "10.0.0.1", "172.16.0.11": "10.0.1.2"}
VIPS: Final = ("30.0.0.1", "30.0.0.2", "172.16.0.20")
STATES: Final = (
    "new",
    "est",
    "est,rpl",
    "rel",
    "rel,rpl",
    "inv",
    "new,rpl",
    "est,dnat",
    "est,snat",
)
PORTS: Final = (53, 80, 8080, 1000)


class Host:
    """n-th host of switch s; the switch "out" is beyond the router."""

    def __init__(self, s: str, n: int) -> None:
        self.s, self.n, self.name = s, n, f"{s}-{n}"
        index = {"in0": 0, "in1": 1, "out": 9}[s]
        self.mac = f"0a:00:00:00:{index:02x}:{n:02x}"
        self.ip4 = f"172.16.0.{100 + n}" if s == "out" else f"10.0.{index}.{n}"
        self.ip6 = f"fd72::{100 + n:x}" if s == "out" else f"fd10:{index}::{n}"


ROUTER: Final = {"in0": "0e:00:00:00:00:00", "in1": "0e:00:00:00:00:01", "out": "0e:00:00:00:00:09"}


class Stateful:
    """commands: of ovn-nbctl.  afterwards: those that look for a row of theirs, which
    only another transaction finds.  routed: a router tracks, else each switch for itself.

    gateway: the router is on one chassis alone.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.commands: list[list[str]] = []
        self.afterwards: list[list[str]] = []
        self.hosts = [Host(s, n) for s in ROUTER for n in (1, 2)]
        self.floating: set[str] = set()  # addresses of the router's that are translated
        self.limited = False  # whether one of them is so for some alone
        self.routed, self.gateway = source.chance(60), source.chance(50)
        for s in ROUTER:
            self._switch(s)
        self.do("pg-add", "pg", "in0-1", "in1-1")
        if self.routed:
            self._router()
            for _ in range(source.number(0, 3)):
                self._nat()
            self._ways()
        else:
            for _ in range(source.number(1, 6)):
                self._acl(source.unused(1, 2000))
        self.backends: dict[str, list[str]] = {}
        for n in range(source.number(1, 3)):
            self._balancer(n)

    def do(self, *command: str) -> None:
        """One more command of ovn-nbctl."""
        self.commands.append(list(command))

    def transactions(self) -> list[list[str]]:
        """All commands, as arguments of one ovn-nbctl after the other."""
        several = (self.commands, self.afterwards)
        return [
            [word for command in one for word in ("--", *command)][1:] for one in several if one
        ]

    def _switch(self, s: str) -> None:
        self.do("ls-add", s)
        for host in self.hosts:
            if host.s == s:
                self.do("lsp-add", s, host.name)
                self.do("lsp-set-addresses", host.name, f"{host.mac} {host.ip4} {host.ip6}")
        if not self.routed:
            return
        self.do("lsp-add", s, f"{s}-lr")
        self.do("lsp-set-type", f"{s}-lr", "router")
        self.do("lsp-set-addresses", f"{s}-lr", "router")
        self.do("lsp-set-options", f"{s}-lr", f"router-port=lr-{s}")

    def _router(self) -> None:
        self.do("lr-add", "lr")
        for s, index in (("in0", 0), ("in1", 1)):
            networks = (f"10.0.{index}.254/24", f"fd10:{index}::fe/64")
            self.do("lrp-add", "lr", f"lr-{s}", ROUTER[s], *networks)
        self.do("lrp-add", "lr", "lr-out", ROUTER["out"], f"{GATEWAY}/24", "fd72::fe/64")
        if self.gateway:
            self.do("set", "Logical_Router", "lr", "options:chassis=hv1")
        else:
            self.do("lrp-set-gateway-chassis", "lr-out", "hv1")

    def _ways(self) -> None:
        """Routes and policies for what is not on the router's switches."""
        source = self.source
        out = [host for host in self.hosts if host.s == "out"]
        if source.chance(50):
            self.do("lr-route-add", "lr", "0.0.0.0/0", source.pick(out).ip4, "lr-out")
            self.do("lr-route-add", "lr", "::/0", source.pick(out).ip6, "lr-out")
        for priority in range(10, 10 + source.number(0, 2)):
            inside = source.pick([host for host in self.hosts if host.s != "out"])
            match = source.pick(
                [
                    f"ip4.src == {inside.ip4}",
                    f"ip6.dst == {inside.ip6}",
                    f'inport == "lr-{inside.s}" && udp.dst == 53',
                ]
            )
            verdict = [source.pick(["allow", "drop"])]
            if match.startswith("ip4") and source.chance(50):
                verdict = ["reroute", source.pick(out).ip4]
            self.do("lr-policy-add", "lr", str(priority), match, *verdict)

    def _acl(self, priority: int) -> None:
        source = self.source
        direction, port = source.pick([("from-lport", "inport"), ("to-lport", "outport")])
        match = source.pick(
            [
                "ip4",
                "ip",
                f'{port} == "in0-1"',
                f"{port} == @pg && ip4",
                "tcp.dst == 80",
                "udp.dst == {53, 80}",
                "ip4.src == 10.0.0.0/24",
                "ip4.dst == 10.0.1.2 && udp",
                "ip6",
                "icmp4",
            ]
        )
        verdict = source.pick(["allow-related"] * 3 + ["allow", "drop", "allow-stateless"])
        options = ["--may-exist"]
        if direction == "from-lport" and source.chance(20):
            options.append("--apply-after-lb")
        if verdict == "allow-related" and source.chance(20):
            options.append("--label=1234")
        entity = source.pick(["in0", "in1", "pg", "out"])
        self.do(*options, "acl-add", entity, direction, str(priority), match, verdict)

    def _nat(self) -> None:
        source = self.source
        kind = source.pick(["snat", "dnat_and_snat", "dnat", "snat6", "floating"])
        outer, inner = source.pick(list(FLOATING.items()))
        if kind == "snat":
            self.do("--may-exist", "lr-nat-add", "lr", "snat", GATEWAY, "10.0.0.0/24")
            self._outside("snat", "10.0.0.0/24")
        elif kind == "snat6":
            self.do("--may-exist", "lr-nat-add", "lr", "snat", "fd72::fe", "fd10:1::/64")
        elif outer not in self.floating:  # twice would be two flows of one priority
            self.floating.add(outer)
            self._float(kind, outer, inner)

    def _float(self, kind: str, outer: str, inner: str) -> None:
        source = self.source
        if kind == "floating":
            port = next(h for h in self.hosts if h.ip4 == inner)
            extra = () if self.gateway else (port.name, f"0a:00:00:00:ff:{port.n:02x}")
            self.do("lr-nat-add", "lr", "dnat_and_snat", outer, inner, *extra)
            return
        options = []
        if kind == "dnat_and_snat" and source.chance(30):
            options.append("--stateless")
        elif source.chance(30):
            options.append("--portrange")
        ports = ("1024-2047",) if "--portrange" in options else ()
        self.do(*options, "lr-nat-add", "lr", kind, outer, inner, *ports)
        self._outside(kind, inner if kind == "snat" else outer)

    def _outside(self, kind: str, address: str) -> None:
        """Only for some of those beyond, or not for them."""
        if not self.limited and self.source.chance(30):
            self.limited = True
            only = ["--is-exempted"] if self.source.chance(50) else []
            named = '"172.16.0.101","8.8.0.0/16"'
            self.do("create", "Address_Set", "name=outside", f"addresses={named}")
            self.afterwards.append([*only, "lr-nat-update-ext-ip", "lr", kind, address, "outside"])

    def _balancer(self, n: int) -> None:
        source = self.source
        version = source.pick([4, 4, 6])
        vip = VIPS[n] if version == 4 else f"fd30::{n}"
        found = source.some([h for h in self.hosts if h.s != "out"], 3)
        hosts = [h.ip4 if version == 4 else h.ip6 for h in found]
        written, key = list(hosts), vip
        ported = source.chance(75)
        if ported:
            host = (lambda ip: ip) if version == 4 else (lambda ip: f"[{ip}]")
            written, key = [f"{host(ip)}:8080" for ip in hosts], f"{host(vip)}:80"
        self.backends[vip] = hosts
        protocol = [source.pick(["tcp", "udp"])] if ported else []
        self.do("lb-add", f"lb{n}", key, ",".join(written), *protocol)
        for option, percent in (
            ("affinity_timeout=60", 20),
            ("hairpin_snat_ip=9.9.9.9", 10),
            (f"neighbor_responder={source.pick(['all', 'none', 'reachable'])}", 30),
            ("reject=true", 10),
        ):
            if source.chance(percent):
                self.do("set", "Load_Balancer", f"lb{n}", f"options:{option}")
        if source.chance(20):
            self.do("set", "Load_Balancer", f"lb{n}", "selection_fields=ip_src,ip_dst")
        if self.routed:
            self.do("lr-lb-add", "lr", f"lb{n}")
            return
        for s in source.some(["in0", "in1", "out"], 3):
            self.do("ls-lb-add", s, f"lb{n}")


def _request(a: Host, asked: str) -> str:
    """Who has that address?"""
    return (
        f"eth.src == {a.mac} && eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1"
        f" && arp.sha == {a.mac} && arp.spa == {a.ip4} && arp.tpa == {asked}"
    )


def packet(made: Stateful, source: Source) -> tuple[str, str, list[str], str]:
    """A datapath, a microflow, values of --ct, and of --lb-dst or ""."""
    a = source.pick(made.hosts)
    b = source.pick([h for h in made.hosts if h is not a and (made.routed or h.s == a.s)])
    vips = [vip for vip in made.backends if a.ip4 not in made.backends[vip]]
    vips = [vip for vip in vips if a.ip6 not in made.backends[vip]]
    target, backend = b.ip4 if source.chance(70) else b.ip6, ""
    if vips and source.chance(50):
        target = source.pick(vips)
        backend = source.pick(made.backends[target])
    elif made.routed and a.s == "out" and not made.gateway and source.chance(40):
        target = source.pick([*FLOATING, GATEWAY])
    version = 6 if ":" in target else 4
    local = target == b.ip4 or target == b.ip6
    if source.chance(8):
        asked = source.pick([b.ip4, GATEWAY, *FLOATING, *VIPS])
        return a.s, f'inport == "{a.name}" && {_request(a, asked)}', [], ""
    if made.routed and a.s != "out" and target == b.ip4 and source.chance(15):
        target, local = "8.8.8.8", False
        b = next(host for host in made.hosts if host.s != a.s)
    to = b.mac if a.s == b.s and (local or not made.routed) else ROUTER[a.s]
    name, proto = source.pick([("tcp", 6), ("udp", 17)])
    src, dst = source.pick(PORTS), source.pick(PORTS)
    found = {
        "eth.src": a.mac,
        "eth.dst": to,
        f"ip{version}.src": a.ip4 if version == 4 else a.ip6,
        f"ip{version}.dst": target,
        "ip.ttl": "64",
        "ip.proto": str(proto),
        f"{name}.src": str(src),
        f"{name}.dst": str(dst),
    }
    if version == 4 and source.chance(10):
        found = dict(list(found.items())[:5]) | {
            "ip.proto": "1",
            "icmp4.type": "8",
            "icmp4.code": "0",
        }
    terms = " && ".join(f"{field} == {value}" for field, value in found.items())
    states = [source.pick(STATES) for _ in range(source.number(1, 8))]
    if any(state != "inv" for state in states):
        states = [state for state in states if state != "inv"]
    return a.s, f'inport == "{a.name}" && {terms}', states, backend
