# SPDX-License-Identifier: Apache-2.0
"""The tracker against a model of it: random packets, the same verdict on each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from tests.support import ctmodel
from tests.support.ctmodel import Key, Nat, Segment, Tracker, Verdict
from tests.support.tracked import TELL, Answer, Tracked, address, ct, tracked

HOSTS: Final = ("10.0.0.1", "10.0.0.2", "192.0.2.1")
PORTS: Final = (80, 5000)
ZONES: Final = (7, 8)
NATS: Final = (
    None,
    None,
    None,
    Nat("src", "192.0.2.1"),
    Nat("src", "192.0.2.1", (5000, 5001)),
    Nat("dst", "10.0.0.2", (80, 80)),
    Nat("dst", "10.0.0.2"),
    Nat("dst", "10.0.0.2", (5000, 5001)),
    Nat("null"),
)
FLAGS: Final = ("S", "SA", "A", "PA", "FA", "R", "RA", "F", "SF", "")
KINDS: Final = {
    "src": lib.OVN_CT_SRC,
    "dst": lib.OVN_CT_DST,
    "null": lib.OVN_CT_NULL_SNAT,
}


@pytest.fixture(name="bed", scope="module")
def _bed() -> Iterator[Tracked]:
    with tracked({"ovn_conns": 4096, "ovn_ct_idx": 8192, "ovn_ct_free": 4096}) as made:
        yield made


def packet_of(key: Key, segment: Segment) -> Packet:
    """The packet that the model calls this."""
    ip = IP(src=key.src, dst=key.dst)
    if key.proto == ctmodel.UDP:
        return ip / UDP(sport=key.sport, dport=key.dport)
    if key.proto == ctmodel.ICMP:
        return ip / ICMP(type=key.dport, id=key.sport)
    if key.proto == ctmodel.GRE:
        ip.proto = ctmodel.GRE
        return ip / Raw(b"data")
    return (
        ip
        / TCP(
            sport=key.sport,
            dport=key.dport,
            flags=segment.flags,
            seq=segment.seq,
            ack=segment.ack,
            window=segment.window,
        )
        / Raw(b"x" * segment.length)
    )


def key_of(packet: Packet, zone: int) -> Key:
    """And back."""
    proto = packet.proto
    if proto == ctmodel.ICMP:
        return Key(zone, proto, packet.src, packet[ICMP].id, packet.dst, packet[ICMP].type)
    if proto == ctmodel.GRE:
        return Key(zone, proto, packet.src, 0, packet.dst, 0)
    layer = packet[TCP] if proto == ctmodel.TCP else packet[UDP]
    return Key(zone, proto, packet.src, layer.sport, packet.dst, layer.dport)


keys = st.builds(
    lambda zone, proto, src, sport, dst, dport, request: (
        Key(zone, proto, src, sport, dst, 8 if request else 0)
        if proto == ctmodel.ICMP
        else Key(zone, proto, src, 0, dst, 0)
        if proto == ctmodel.GRE
        else Key(zone, proto, src, sport, dst, dport)
    ),
    zone=st.sampled_from(ZONES),
    proto=st.sampled_from((ctmodel.TCP, ctmodel.TCP, ctmodel.UDP, ctmodel.ICMP, ctmodel.GRE)),
    src=st.sampled_from(HOSTS),
    sport=st.sampled_from(PORTS),
    dst=st.sampled_from(HOSTS),
    dport=st.sampled_from(PORTS),
    request=st.booleans(),
)
segments = st.builds(
    Segment,
    flags=st.sampled_from([sum(1 << "FSRPAU".index(c) for c in flags) for flags in FLAGS]),
    seq=st.sampled_from((1000, 1001, 1101, 3_000_000, 4_294_967_200)),
    ack=st.sampled_from((0, 1000, 1001, 1101, 3_000_001, 4_294_967_201)),
    window=st.sampled_from((0, 100, 65535)),
    length=st.sampled_from((0, 0, 100, 1400)),
)


# (from the server, flags, bytes, distance from where it should be)
steps = st.tuples(
    st.booleans(),
    st.sampled_from([16, 16, 24, 24, 24, 17, 17, 4, 20, 2]),
    st.sampled_from((0, 1, 300)),
    st.sampled_from((0, 0, 0, 0, 0, 1, -1, 900, 70_000, -70_000)),
)


class Machine(RuleBasedStateMachine):
    """One packet a step, or a flush."""

    bed: Tracked

    @initialize()
    def begin(self) -> None:
        for zone in ZONES:
            self.bed.conntrack.flush_zone(zone)
        self.model = Tracker()
        self.last: list[Key] = []

    def send(self, key: Key, segment: Segment, how: tuple[bool, Nat | None, int | None]) -> Answer:
        """Through the program."""
        commit, nat, mark = how
        action = lib.OVN_CT_NAT | (lib.OVN_CT_COMMIT if commit else 0)
        insns = []
        if nat is not None and commit:
            action |= KINDS[nat.kind]
            insns = address(nat.address or "0.0.0.0", nat.ports)
        insns += [*ct(action, key.zone, mark if commit else None), *TELL]
        return self.bed.send(packet_of(key, segment), insns)

    def both(self, key: Key, segment: Segment, commit: bool, nat: Nat | None, mark: int) -> None:
        """The same packet to both, and what they say of it."""
        answer = self.send(key, segment, (commit, nat, mark))
        left = None if answer.packet is None else key_of(answer.packet, key.zone)
        verdict: Verdict = self.model.packet(
            key,
            segment,
            commit=commit,
            translate=True,
            nat=nat if commit else None,
            mark=mark,
            chosen=left,
        )
        assert left == verdict.key
        if left is not None:
            assert answer.state == verdict.state
            assert answer.mark == verdict.mark
        if verdict.conn is not None and left is not None:
            self.last.append(left)

    @rule(
        key=keys,
        segment=segments,
        commit=st.booleans(),
        nat=st.sampled_from(NATS),
        mark=st.integers(0, 3),
    )
    def packet(self, key: Key, segment: Segment, commit: bool, nat: Nat | None, mark: int) -> None:
        """Any packet."""
        self.both(key, segment, commit, nat, mark)

    @rule(segment=segments, which=st.integers(0, 19), commit=st.booleans())
    def answer(self, segment: Segment, which: int, commit: bool) -> None:
        """What answers an earlier packet as it left."""
        if self.last:
            key = self.last[-1 - which % len(self.last)]
            self.both(key.reverse(), segment, commit, None, 0)

    @rule(
        zone=st.sampled_from(ZONES),
        sport=st.sampled_from(PORTS),
        nat=st.sampled_from(NATS),
        seqs=st.tuples(st.sampled_from((5, 4_294_967_290)), st.sampled_from((77, 1 << 31))),
        script=st.lists(steps, max_size=12),
    )
    def talk(
        self,
        zone: int,
        sport: int,
        nat: Nat | None,
        seqs: tuple[int, int],
        script: list[tuple[bool, int, int, int]],
    ) -> None:
        """A stream of TCP that keeps the rules, nearly."""
        one = Key(zone, ctmodel.TCP, HOSTS[0], sport, HOSTS[1], 80)
        self.both(one, Segment(ctmodel.SYN, seqs[0], 0, 1000, 0), True, nat, 1)
        if one not in self.model.index:
            return
        conn, _ = self.model.index[one]
        ends = (one, conn.reply if conn.orig == one else conn.orig)
        at = [seqs[0] + 1, seqs[1]]
        for reply, flags, length, off in [(True, ctmodel.SYN | ctmodel.ACK, 0, 0), *script]:
            seq, ack = (at[reply] + off) % ctmodel.SEQ, at[not reply] % ctmodel.SEQ
            self.both(ends[reply], Segment(flags, seq, ack, 1000, length), False, None, 0)
            if not off:
                at[reply] += length + bool(flags & ctmodel.SYN) + bool(flags & ctmodel.FIN)

    @rule(zone=st.sampled_from(ZONES))
    def flush(self, zone: int) -> None:
        """A zone forgets."""
        self.bed.conntrack.flush_zone(zone)
        self.model.flush(zone)


def compare(bed: Tracked, examples: int) -> None:
    """Runs that many sequences of packets."""
    machine = type("Bound", (Machine,), {"bed": bed})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_packets_get_the_models_verdicts(bed: Tracked) -> None:
    compare(bed, 20)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_random_packets_get_the_models_verdicts(bed: Tracked) -> None:
    compare(bed, 600)
