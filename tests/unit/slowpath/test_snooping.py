# SPDX-License-Identifier: Apache-2.0
"""Who is a member of what: messages as scapy and the RFCs have them, and their table."""

from __future__ import annotations

import json
import socket
import struct
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLDone,
    ICMPv6MLQuery,
    ICMPv6MLReport,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet as Scapy
from scapy.packet import Raw
from scapy.utils import checksum

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath.duty import FOREVER, RejectedError
from ovn_bpf_controller.slowpath.frames import packet
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.membership import Kind, Message, _code, parse
from ovn_bpf_controller.slowpath.multicast import Multicast
from ovn_bpf_controller.slowpath.snooping import MROUTER_IDLE, Table

G4 = socket.inet_aton("239.1.2.3")
G6 = socket.inet_pton(socket.AF_INET6, "ff0e::1")


def igmp(kind: int, rest: bytes) -> bytes:
    """A frame with an IGMP message."""
    message = struct.pack("!BBH", kind, 0, 0) + rest
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    ip = IP(src="10.0.0.2", dst="224.0.0.22", proto=2, ttl=1)
    return bytes(Ether() / ip / Raw(message))


def record(kind: int, group: bytes, *sources: bytes, extra: bytes = b"") -> bytes:
    """RFC 3376, section 4.2.4; extra: auxiliary data, whole words."""
    head = struct.pack("!BBH", kind, len(extra) // 4, len(sources))
    return head + group + b"".join(sources) + extra


def igmp3(*records: bytes) -> bytes:
    return igmp(0x22, struct.pack("!HH", 0, len(records)) + b"".join(records))


def mld(message: Scapy, source: str = "fe80::2") -> bytes:
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    return bytes(Ether() / IPv6(src=source, dst="ff02::16", hlim=1) / alert / message)


def mld2(*records: tuple[int, str, list[str]]) -> Scapy:
    made = [ICMPv6MLDMultAddrRec(rtype=kind, dst=g, sources=s) for kind, g, s in records]
    return ICMPv6MLReport2(records=made)


SOURCE = socket.inet_aton("10.9.9.9")
OTHER = socket.inet_aton("239.9.9.9")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (igmp(0x11, bytes(4)), Message(Kind.QUERY, routers=True)),
        (igmp(0x12, G4), Message(Kind.REPORT, "IGMPv1", ((G4, True),))),
        (igmp(0x16, G4), Message(Kind.REPORT, "IGMPv2", ((G4, True),))),
        (igmp(0x17, G4), Message(Kind.REPORT, "IGMPv2", ((G4, False),))),
        (
            igmp3(record(4, G4), record(3, OTHER)),
            Message(Kind.REPORT, "IGMPv3", ((G4, True), (OTHER, False))),
        ),
        (
            igmp3(record(1, G4, SOURCE, extra=bytes(8)), record(2, OTHER)),
            Message(Kind.REPORT, "IGMPv3", ((G4, True), (OTHER, True))),
        ),
        (igmp3(record(9, G4), record(4, OTHER)), Message(Kind.REPORT, "IGMPv3", ((OTHER, True),))),
        (igmp3(record(4, SOURCE)), Message(Kind.REPORT, "IGMPv3")),
        (mld(ICMPv6MLQuery()), Message(Kind.QUERY, routers=True)),
        (mld(ICMPv6MLQuery(), "::"), Message(Kind.QUERY)),
        (mld(ICMPv6MLReport(mladdr="ff0e::1")), Message(Kind.REPORT, "MLDv1", ((G6, True),))),
        (mld(ICMPv6MLDone(mladdr="ff0e::1")), Message(Kind.REPORT, "MLDv1", ((G6, False),))),
        (
            mld(mld2((4, "ff0e::1", []), (3, "ff0e::1", []), (1, "ff0e::1", ["fd00::1"]))),
            Message(Kind.REPORT, "MLDv2", ((G6, True), (G6, False), (G6, True))),
        ),
    ],
)
def test_messages_say_who_wants_what(frame: bytes, said: Message) -> None:
    assert parse(packet(frame)) == said


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (igmp(0x13, G4), "IGMP message of another type"),
        (igmp(0x16, G4)[:-1] + b"\x00", "wrong IGMP checksum"),
        (mld(ICMPv6MLReport(mladdr="ff0e::1", cksum=1)), "wrong MLD checksum"),
        (igmp(0x16, G4)[:-1], "no whole IP packet"),
        (igmp(0x16, b""), "truncated IGMP"),
    ],
)
def test_what_is_malformed_is_rejected(frame: bytes, why: str) -> None:
    with pytest.raises(RejectedError, match=why):
        parse(packet(frame))


def test_times_that_need_it_are_floats() -> None:
    for value in (1, 127, 128, 1000, 31744):
        code = _code(value)
        read = code if code < 128 else ((code & 15) | 16) << ((code >> 4 & 7) + 3)
        assert read <= value < read + max(read // 16, 1)
    assert _code(1 << 20) == 0xFF


class Members(RuleBasedStateMachine):
    """The table against the plainest model of it: who was heard of when."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.table = Table(10, 20)
        self.seen: dict[tuple[bytes, int], float] = {}
        self.order: list[bytes] = []
        self.routers: dict[int, float] = {}

    @rule(group=st.integers(0, 12), port=st.integers(1, 4))
    def join(self, group: int, port: int) -> None:
        address = bytes((239, 0, 0, group))
        self.table.join(address, port, "IGMPv2", self.now)
        if port in self.routers:
            return
        if address in self.order:
            self.order.remove(address)
        elif len(self.order) == 10:
            gone = self.order.pop(0)
            self.seen = {key: until for key, until in self.seen.items() if key[0] != gone}
        self.order.append(address)
        self.seen[address, port] = self.now + 20

    @rule(group=st.integers(0, 12), port=st.integers(1, 4))
    def leave(self, group: int, port: int) -> None:
        address = bytes((239, 0, 0, group))
        self.table.leave(address, port)
        self.seen.pop((address, port), None)

    @rule(port=st.integers(1, 4))
    def router(self, port: int) -> None:
        self.table.router(port, self.now)
        self.routers[port] = self.now + MROUTER_IDLE

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        """Nothing is kept longer than `due` says."""
        self.now += seconds
        if self.now >= self.table.due:
            self.table.expire(self.now)
        self.seen = {key: until for key, until in self.seen.items() if until > self.now}
        self.routers = {port: until for port, until in self.routers.items() if until > self.now}

    @rule(ports=st.sets(st.integers(1, 4)))
    def keep(self, ports: set[int]) -> None:
        self.table.keep(ports)
        self.seen = {key: until for key, until in self.seen.items() if key[1] in ports}
        self.routers = {port: until for port, until in self.routers.items() if port in ports}

    @rule()
    def flush(self) -> None:
        self.table.flush()
        self.seen.clear()
        self.routers.clear()

    @invariant()
    def the_same(self) -> None:
        self.order = [a for a in self.order if any(key[0] == a for key in self.seen)]
        found = {(a, port): u for a, g in self.table.groups.items() for port, u in g.ports.items()}
        assert found == self.seen
        assert list(self.table.groups) == self.order
        assert self.table.routers == self.routers
        earliest = min([*self.seen.values(), *self.routers.values()], default=FOREVER)
        assert self.table.due <= earliest


TestMembers = Members.TestCase
TestMembers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_news_is_what_changes_rows() -> None:
    table = Table(2048, 300)
    table.join(G4, 1, "IGMPv2", 0.0)
    assert table.news
    table.news = False
    table.join(G4, 1, "IGMPv2", 10.0)
    table.leave(G4, 2)
    assert not table.news
    table.join(G4, 1, "IGMPv3", 20.0)
    assert table.news


def test_what_a_port_said_before_it_went_counts_no_more() -> None:
    """A report may wait in the ring while the agent says that its port has gone."""
    duty = Multicast()
    row = {"size": 100, "idle": 60, "seq": 1, "querier": None}
    known = Knowledge(hears=duty.hears())

    def tell(**change: object) -> None:
        told = {"1": {**row, "ports": [1, 2], **change}}
        known.learn(json.dumps({"lesson": 1, "multicast": told}).encode())
        duty.learnt(known)

    def reports(port: int, at: float) -> None:
        words = [0] * lib.OVN_WORDS
        words[lib.OW_DP], words[lib.OW_INPORT] = 1, port
        list(duty.receive(Punt(igmp(0x16, G4), tuple(words), at=int(at * 1e9)), {}, known))

    def ports() -> list[int]:
        groups = duty.reports()["multicast"]["1"]["groups"]
        return list(groups["239.1.2.3"][1]) if groups else []

    tell()
    reports(1, time.monotonic())
    reports(2, time.monotonic())
    assert ports() == [1, 2]
    late = time.monotonic()
    tell(ports=[2])
    with pytest.raises(RejectedError, match="gone"):
        reports(1, late)
    assert ports() == [2]
    reports(1, time.monotonic())
    assert ports() == [1, 2]
    late = time.monotonic()
    tell(seq=2)
    with pytest.raises(RejectedError, match="gone"):
        reports(2, late)
    assert ports() == []


def test_a_shorter_idle_time_counts_at_once() -> None:
    table = Table(2048, 300)
    table.join(G4, 1, "IGMPv2", 0.0)
    table.configure(2048, 20)
    table.expire(21.0)
    assert not table.groups
