# SPDX-License-Identifier: Apache-2.0
"""Random packets that suit a topology, as ovn-trace's microflows."""

from __future__ import annotations

from ipaddress import IPv6Address

from tests.differential.source import Source
from tests.differential.topologies import Host, Topology

Packet = dict[str, str]


def link_local(mac: str) -> str:
    """The address that a router makes of its MAC (RFC 4291, appendix A)."""
    byte = [int(part, 16) for part in mac.split(":")]
    eui = bytes([byte[0] ^ 2, *byte[1:3], 0xFF, 0xFE, *byte[3:]])
    return str(IPv6Address(bytes.fromhex("fe80000000000000") + eui))


def packet(topology: Topology, source: Source) -> tuple[str, str]:
    """A datapath and a microflow."""
    return _Maker(topology, source).packet()


class _Maker:
    def __init__(self, topology: Topology, source: Source) -> None:
        self.topology, self.source = topology, source

    def packet(self) -> tuple[str, str]:
        """A datapath and a microflow."""
        source, topology = self.source, self.topology
        a = source.pick(topology.vifs * 2 + topology.others)
        b = source.pick(topology.vifs * 4 + topology.others + topology.virtual)
        found = {"eth.src": b.mac if source.chance(10) else a.mac, "eth.dst": self._to(a, b)}
        kinds = [self._ip4] * 5 + [self._ip6] * 4 + [self._nd, self._igmp, self._control]
        if not topology.rejects:
            kinds.append(self._arp)
            if a.name not in topology.secured:
                kinds.append(self._ether)
        found |= source.pick(kinds)(a, b)
        where, inport = f"sw{a.s}", a.name
        if a.s in topology.routers.home.keys() - topology.routers.off and source.chance(5):
            # As if it had crossed the switch.
            where, inport = f"lr{topology.routers.home[a.s]}", f"lr-sw{a.s}"
        elif source.chance(5):
            found["vlan.tci"] = source.pick(["0x1005", "0x3064"])
        flags = [f"{name}" for name, value in found.items() if not value]
        terms = [f"{name} == {value}" for name, value in found.items() if value]
        return where, " && ".join([f'inport == "{inport}"', *terms, *flags])

    def _to(self, a: Host, b: Host) -> str:
        """The link-layer destination."""
        source, routers = self.source, self.topology.routers
        if b.s != a.s and a.s in routers.home and not source.chance(10):
            return routers.mac(a.s)
        if not source.chance(25):
            return b.mac
        return source.pick(
            [
                routers.mac(a.s),
                "ff:ff:ff:ff:ff:ff",
                "01:00:5e:00:00:05",
                "33:33:00:00:00:05",
                "0a:00:00:00:77:77",
                f"0a:00:00:00:0{a.s}:fd",
            ]
        )

    def _ip4(self, a: Host, b: Host) -> Packet:
        source = self.source
        far = f"172.{source.number(16, 19)}.{source.number(0, 3)}.{source.pick([0, 9])}"
        others = [f"10.0.{b.s}.254", far, "224.0.0.5", "239.1.2.3", "255.255.255.255"]
        others += [f"10.0.{b.s}.{source.number(100, 103)}", f"10.0.{b.s}.255", "192.168.0.1"]
        others += [f"10.1.{b.s}.254", f"10.1.{b.s}.7", "127.0.0.1", "0.0.0.0", "8.8.8.8"]
        to = b.ip4 if not source.chance(40) else source.pick([far, *others])
        found = {
            "eth.type": "0x800",
            "ip4.src": b.ip4 if source.chance(10) else a.ip4,
            "ip4.dst": to,
        } | self._transport(to, [6, 17, 1, 132, 47])
        strange = [f"10.0.{a.s}.254", "224.0.0.5", "0.0.0.0", "255.255.255.255", far]
        return self._from(source.pick(strange), found, "ip4")

    def _from(self, by: str, found: Packet, family: str) -> Packet:
        """Now and then from a source that nobody answers."""
        quiet = not self.topology.rejects and not self._answers(found[f"{family}.dst"])
        if quiet and int(found["ip.ttl"]) > 2 and self.source.chance(5):
            found[f"{family}.src"] = by
        return found

    def _ip6(self, a: Host, b: Host) -> Packet:
        source = self.source
        far = f"fd07:{source.number(0, 3)}::{source.pick([0, 9])}"
        others = [f"fd00:{b.s}::fe", far, far, "ff0e::5", "ff02::1"]
        others += [f"fd00:{b.s}::{source.number(100, 103):x}", "fd00:ff::1"]
        others += [link_local(a.mac), link_local(self.topology.routers.mac(a.s)), "2001:db8::1"]
        others += [f"fd01:{b.s}::fe", f"fd01:{b.s}::7", "ff02::2"]
        to = b.ip6 if not source.chance(40) else source.pick(others)
        found = {
            "eth.type": "0x86dd",
            "ip6.src": b.ip6 if source.chance(10) else a.ip6,
            "ip6.dst": to,
        } | self._transport(to, [6, 17, 58, 47])
        strange = [f"fd00:{a.s}::fe", "ff02::5", "::", far]
        strange += [] if a.name in self.topology.secured4 else [link_local(a.mac)]
        return self._from(source.pick(strange), found, "ip6")

    def _answers(self, to: str) -> bool:
        """Whether that may be an address of a router."""
        return to.endswith((".254", "::fe", ".0.1", "ff::1")) or to.startswith("fe80:")

    def _transport(self, to: str, protos: list[int]) -> Packet:
        source = self.source
        proto = source.pick(protos)
        ttl = source.pick([64, 64, 255, 2, 1, 0])
        if self.topology.routers.relays and to.startswith(("239.", "ff0e:")):
            ttl = 64
        found = {"ip.proto": str(proto), "ip.ttl": str(ttl)}
        answered = self.topology.rejects or self._answers(to)
        if source.chance(10) and not answered and ttl > 2:
            found["ip.frag"] = source.pick(["1", "3"])
            if found["ip.frag"] == "3":
                return found
        ports = [53, 80, 443, source.number(4, 800)]  # 1 and 3 are ICMP types to ovn-trace
        name = {6: "tcp", 17: "udp", 132: "sctp"}.get(proto)
        if name:
            src, dst = source.pick(ports), source.pick(ports)
            found |= {
                f"{name}.src": str(dst if answered else src),
                f"{name}.dst": str(dst),
            }
        if proto == 6:
            found["tcp.flags"] = source.pick(["0x2", "0x10", "0x12", "0x11"])
        # Nobody answers an error with an error, but ovn-trace.
        quoting = ["3"] if ttl > 2 and not answered else []
        if proto == 1:
            kinds = ["8", "8", "0", "13", *quoting]
            found |= {"icmp4.type": source.pick(kinds), "icmp4.code": "0"}
        if proto == 58:
            kinds = ["128", "128", "129", *("1" for _ in quoting)]
            found |= {"icmp6.type": source.pick(kinds), "icmp6.code": "0"}
        return found

    def _arp(self, a: Host, b: Host) -> Packet:
        source = self.source
        targets = [b.ip4, b.ip4, f"10.0.{a.s}.254", a.ip4, f"10.0.{a.s}.200"]
        virtual = [v.ip4 for v in self.topology.virtual if v.s == a.s]
        op = source.pick(["1", "1", "2"])
        found = {
            "eth.type": "0x806",
            "eth.src": a.mac,
            "eth.dst": "ff:ff:ff:ff:ff:ff",
            "arp.op": op,
            "arp.sha": a.mac,
            "arp.spa": source.pick(virtual) if virtual and source.chance(20) else a.ip4,
            "arp.tpa": source.pick([*targets, *virtual]),
        }
        if op == "2":
            found |= {"arp.tha": b.mac, "eth.dst": self._to(a, b)}
        return found

    def _igmp(self, a: Host, b: Host) -> Packet:
        group, mac = self.source.pick(
            [("224.0.0.5", "01:00:5e:00:00:05"), ("239.1.2.3", "01:00:5e:01:02:03")]
        )
        return {
            "eth.type": "0x800",
            "eth.dst": mac,
            "ip4.src": a.ip4,
            "ip4.dst": group,
            "ip.proto": "2",
            "ip.ttl": "64" if self.topology.routers.relays else "1",
        }

    def _control(self, a: Host, b: Host) -> Packet:
        """MLD, router solicitations, neighbour advertisements."""
        ttl = "64" if self.topology.routers.relays else "1"
        report = {"eth.dst": "33:33:00:00:00:16", "ip6.dst": "ff02::16", "ip.ttl": ttl}
        lost = {"icmp6.type": "131"}
        if a.name not in self.topology.secured4:
            lost["ip6.src"] = link_local(a.mac)
        ask = {"eth.dst": "33:33:00:00:00:02", "ip6.dst": "ff02::2", "icmp6.type": "133"}
        tell = {
            "eth.dst": "33:33:00:00:00:01",
            "ip6.dst": "ff02::1",
            "icmp6.type": "136",
            "nd.target": a.ip6,
            "nd.tll": a.mac,
        }
        reply = tell | {"eth.dst": self._to(a, b), "ip6.dst": b.ip6}
        common = {
            "eth.type": "0x86dd",
            "eth.src": a.mac,
            "ip6.src": a.ip6,
            "ip.proto": "58",
            "ip.ttl": "255",
            "icmp6.code": "0",
        }
        kinds = [report | {"icmp6.type": "143"}, report | lost, ask, tell, reply]
        return common | self.source.pick(kinds)

    def _nd(self, a: Host, b: Host) -> Packet:
        """A solicitation for somebody who is no router."""
        target = self.source.pick([b.ip6, a.ip6, f"fd00:{a.s}::77"])
        return {
            "eth.type": "0x86dd",
            "eth.src": a.mac,
            "eth.dst": "33:33:ff:00:00:05",
            "ip6.src": a.ip6,
            "ip6.dst": "ff02::1:ff00:5",
            "ip.proto": "58",
            "ip.ttl": "255",
            "icmp6.type": "135",
            "icmp6.code": "0",
            "nd.target": target,
            "nd.sll": a.mac,
        }

    def _ether(self, a: Host, b: Host) -> Packet:
        return {"eth.type": self.source.pick(["0x8847", "0x88cc", "0x8863"])}
