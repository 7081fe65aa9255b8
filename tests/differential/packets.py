# SPDX-License-Identifier: Apache-2.0
"""Random packets that suit a topology, as ovn-trace's microflows."""

from __future__ import annotations

from tests.differential.source import Source
from tests.differential.topologies import Host, Topology

Packet = dict[str, str]


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
        b = source.pick(topology.vifs * 4 + topology.others)
        found = {"eth.src": b.mac if source.chance(10) else a.mac, "eth.dst": self._to(a, b)}
        kinds = [self._ip4] * 4 + [self._ip6] * 3 + [self._nd, self._igmp]
        if not topology.rejects:
            kinds.append(self._arp)
            if a.name not in topology.secured:
                kinds.append(self._ether)
        found |= source.pick(kinds)(a, b)
        if source.chance(5):
            found["vlan.tci"] = source.pick(["0x1005", "0x3064"])
        flags = [f"{name}" for name, value in found.items() if not value]
        terms = [f"{name} == {value}" for name, value in found.items() if value]
        return f"sw{a.s}", " && ".join([f'inport == "{a.name}"', *terms, *flags])

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
        to = b.ip4 if not source.chance(40) else source.pick([far, *others])
        return {
            "eth.type": "0x800",
            "ip4.src": b.ip4 if source.chance(10) else a.ip4,
            "ip4.dst": to,
        } | self._transport(to, [6, 17, 1, 132, 47])

    def _ip6(self, a: Host, b: Host) -> Packet:
        source = self.source
        far = f"fd07:{source.number(0, 3)}::{source.pick([0, 9])}"
        others = [f"fd00:{b.s}::fe", far, far, "ff0e::5", "ff02::1"]
        others += [f"fd00:{b.s}::{source.number(100, 103):x}", "fd00:ff::1"]
        to = b.ip6 if not source.chance(40) else source.pick(others)
        return {
            "eth.type": "0x86dd",
            "ip6.src": b.ip6 if source.chance(10) else a.ip6,
            "ip6.dst": to,
        } | self._transport(to, [6, 17, 58, 47])

    def _transport(self, to: str, protos: list[int]) -> Packet:
        source = self.source
        proto = source.pick(protos)
        ttl = source.pick([64, 64, 255, 2, 1, 0])
        found = {"ip.proto": str(proto), "ip.ttl": str(ttl)}
        answered = self.topology.rejects or to.endswith((".254", "::fe", ".0.1", "ff::1"))
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
        if proto == 1:
            found |= {"icmp4.type": source.pick(["8", "0", "13"]), "icmp4.code": "0"}
        if proto == 58:
            found |= {"icmp6.type": source.pick(["128", "129"]), "icmp6.code": "0"}
        return found

    def _arp(self, a: Host, b: Host) -> Packet:
        source = self.source
        targets = [b.ip4, b.ip4, f"10.0.{a.s}.254", a.ip4, f"10.0.{a.s}.200"]
        op = source.pick(["1", "1", "2"])
        found = {
            "eth.type": "0x806",
            "eth.src": a.mac,
            "eth.dst": "ff:ff:ff:ff:ff:ff",
            "arp.op": op,
            "arp.sha": a.mac,
            "arp.spa": a.ip4,
            "arp.tpa": source.pick(targets),
        }
        if op == "2":
            found |= {"arp.tha": b.mac, "eth.dst": self._to(a, b)}
        return found

    def _igmp(self, a: Host, b: Host) -> Packet:
        return {
            "eth.type": "0x800",
            "eth.dst": "01:00:5e:00:00:05",
            "ip4.src": a.ip4,
            "ip4.dst": "224.0.0.5",
            "ip.proto": "2",
            "ip.ttl": "1",
        }

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
