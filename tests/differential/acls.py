# SPDX-License-Identifier: Apache-2.0
"""Random ACLs and QoS rules: every kind of relation, of set and of port list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from tests.differential.source import Source

EXCLUSIVE = (" && ", " || ")
SEVERITIES = ("info", "alert", "warning", "notice", "debug")


class Guest(Protocol):
    """What a match needs to know of a port."""

    @property
    def name(self) -> str:
        """Of the port."""

    @property
    def mac(self) -> str:
        """Its MAC."""

    @property
    def ip4(self) -> str:
        """Its address."""

    @property
    def ip6(self) -> str:
        """Its address."""


class Acls:
    """do: adds a command of ovn-nbctl.  more: options of an ACL.  rejects: whether one
    of them answers."""

    def __init__(
        self,
        source: Source,
        guests: Sequence[Guest],
        switches: Sequence[int],
        do: Callable[..., None],
        more: Callable[[Source], list[str]] = lambda _: [],
    ) -> None:
        self.source, self.guests, self.switches, self.do = source, guests, switches, do
        self.rejects, self.more = False, more
        self.may_reject = source.chance(60)
        for _ in range(source.number(0, 12)):
            self._acl(source.unused(1, 2000))
        for _ in range(source.number(0, 3)):
            self._qos(source.unused(1, 2000))

    def _direction(self) -> tuple[str, str]:
        return self.source.pick([("from-lport", "inport"), ("to-lport", "outport")])

    def _acl(self, priority: int) -> None:
        source = self.source
        direction, port = self._direction()
        action = source.pick(["drop", "allow", "allow-stateless", "reject"][: 3 + self.may_reject])
        self.rejects |= action == "reject"
        match = self._match(port)
        entity = source.pick([f"{kind}{source.pick(self.switches)}" for kind in ("sw", "sw", "pg")])
        options = ["--may-exist", *self.more(source)]
        if direction == "from-lport" and source.chance(20):
            options.append("--apply-after-lb")
        if source.chance(10):
            options += ["--log", f"--severity={source.pick(SEVERITIES)}"]
            options += source.pick([[f"--name=acl{priority}"], [], ["--meter=slow"]])
        self.do(*options, "acl-add", entity, direction, str(priority), match, action)

    def _qos(self, priority: int) -> None:
        source = self.source
        direction, port = self._direction()
        dscp, rate = f"dscp={source.number(0, 63)}", f"rate={source.number(1, 1000)}"
        then = source.pick([[dscp], [dscp], [rate], [dscp, rate, "burst=100"]])
        entity = f"sw{source.pick(self.switches)}"
        self.do("--may-exist", "qos-add", entity, direction, str(priority), self._term(port), *then)

    def _match(self, port: str) -> str:
        source = self.source
        terms = [self._term(port) for _ in range(source.number(1, 3))]
        if len(terms) == 3 and source.chance(30):
            terms = [f"({source.pick(EXCLUSIVE).join(terms[:2])})", terms[2]]
        return source.pick(EXCLUSIVE).join(terms)

    def _term(self, port: str) -> str:
        kinds = [self._ports, self._addresses, self._addresses, self._transport, self._other]
        return self.source.pick([*kinds, self._nested])(port)

    def _nested(self, port: str) -> str:
        """Blocks in blocks, each of which may be what must not hold.

        That is for terms alone whose fields have an order (OVN's lib/expr.c).  How deep
        they go is bounded by the masks that a stage has room for (OVN_MAX_TUPLES).
        """
        return self._block(self.source.number(1, 2))

    def _block(self, depth: int) -> str:
        source = self.source
        if not depth or source.chance(30):
            return self._ordered()
        parts = [self._block(depth - 1) for _ in range(2)]
        return f"{source.pick(['', '!'])}({source.pick(EXCLUSIVE).join(parts)})"

    def _ordered(self) -> str:
        source = self.source
        a, b = source.pick(self.guests), source.pick(self.guests)
        low = source.number(1, 400)
        return source.pick(
            [
                f"ip4.src == {a.ip4}",
                f"ip4.dst != {b.ip4}",
                f"ip6.dst == {b.ip6}",
                "ip4.src == $as4",
                "ip6.src != $as6",
                "eth.dst[40]",
                "!eth.mcast",
                f"udp.dst == {{53, {low}}}",
                f"tcp.src > {low}",
                "tcp.dst[0..6] == 80",
                "tcp.dst == 0x50/0xfff0",
                f"{low} < udp.dst < {low + 200}",
                "tcp.flags[0..1] == 2",
                "ip4.dst[0..7] == {1, 2}",
                "ip4.src[31]",
                "ip4.dst == 10.0.0.1/255.0.0.3",
                "ip6.dst[64..79] != 2",
                "ip6.src == fd00::1/ffff::f",
                "ip.frag != 0",
                "vlan.pcp > 2",
            ]
        )

    def _ports(self, port: str) -> str:
        source = self.source
        a, b = source.pick(self.guests), source.pick(self.guests)
        s = source.pick(self.switches)
        return source.pick(
            [
                f'{port} == "{a.name}"',
                f'{port} == {{"{a.name}", "{b.name}"}}',
                f"{port} == @pg{s}",
                f"{port} == {{@pg{s}, @pgs}}",
                f'(({port} == @pgs && ip4.src == {b.ip4}) || {port} == "{a.name}")',
            ]
        )

    def _addresses(self, port: str) -> str:
        source = self.source
        a, b = source.pick(self.guests), source.pick(self.guests)
        s = source.pick(self.switches)
        return source.pick(
            [
                "ip4.src == $as4",
                "ip4.dst != $as4",
                "(ip4.src == $as4 && ip4.dst == $as4)",
                "ip6.src == $as6",
                "!(ip6.dst == $as6)",
                "ip4.dst == $many",
                "ip4.src != $many",
                "(ip4.src == {$as4, $many} && tcp)",
                f"ip4.dst == {{$as4, {a.ip4}, 172.16.0.0/14}}",
                f"ip6.dst == {{$as6, {b.ip6}}}",
                "ip4.src == $nobody",
                "!(ip4.dst == $nobody)",
                f"ip4.dst == $pg{s}_ip4",
                f"ip6.src == $pg{s}_ip6",
                f"(ip4.src != $as4 && ip4.dst != {{{a.ip4}, {b.ip4}}})",
                f"eth.src == {a.mac}",
                "eth.src == $macs",
                f"eth.dst != {{{a.mac}, {b.mac}}}",
                f"ip4.dst == {b.ip4}/31",
                f"(ip4.src >= {a.ip4} && ip4.src <= 10.0.3.3)",
                f"ip4.dst > {b.ip4}",
                "ip4.src == 10.0.0.0/255.0.0.3",
                "ip4.dst[0..7] == 1",
                "ip4.src[16..31] != 0xa00",
                "ip6.dst == ff00::/8",
                "ip6.src == fe80::/10",
                f"ip6.dst[0..15] == {source.number(1, 4)}",
                f"!(ip4.src == {a.ip4} && udp.dst == 53)",
            ]
        )

    def _transport(self, port: str) -> str:
        source = self.source
        low = source.number(1, 400)
        return source.pick(
            [
                f"(tcp.dst >= {low} && tcp.dst <= {low + source.number(0, 300)})",
                f"udp.dst == {{53, {low}}}",
                f"udp.src > {low}",
                f"udp.dst < {low}",
                f"(udp.src <= {low})",
                "tcp.dst != {80, 443}",
                f"!(tcp.dst == {{80, 443}} || udp.dst == {{53, {low}}})",
                f"{low} <= tcp.src <= {low + 100}",
                f"(tcp.dst == {{53, 80, {low}}} && tcp.src != {low})",
                "tcp.flags == 0x2/0x17",
                "tcp.flags[1]",
                f"!tcp.flags[{3 if self.may_reject else 4}]",
                "(ip.proto == 47 || sctp)",
                "sctp.dst == 53",
                "(ip4 && (udp || tcp.src == 80))",
                "icmp4.type == 8",
                "icmp4.type == {0, 3}",
                "icmp6",
            ]
        )

    def _other(self, port: str) -> str:
        a = self.source.pick(self.guests)
        if not self.may_reject and self.source.chance(10):
            return self.source.pick(["ip.ttl == 64", "ip.ttl == {64, 255}"])
        return self.source.pick(
            [
                "arp",
                f"arp.tpa == {a.ip4}",
                "arp.spa == $as4",
                "nd",
                f"nd.target == {a.ip6}",
                "nd_ns",
                "(eth.bcast || ip4.mcast)",
                "eth.mcast",
                "ip6.mcast",
                "igmp",
                "ip.is_frag",
                "!ip.later_frag",
                "ip.first_frag",
                "1",
                "ip",
                "vlan.present",
                "vlan.vid == 5",
                "vlan.pcp == {1, 3}",
                "eth.type == 0x8847",
                "eth.type == {0x800, 0x86dd}",
                f'is_chassis_resident("{a.name}")',
            ]
        )
