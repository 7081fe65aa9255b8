# SPDX-License-Identifier: Apache-2.0
"""The connection tracker in plain Python: what OVS's rules say of a packet.

Written from ovs-actions(7) and OVS's lib/conntrack*.c, not from the program; slow
and without concurrency, so that it can be read.  tests/bpf/test_ct_model.py lets
both judge the same packets.  Time does not pass here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TCP, UDP, ICMP, GRE = 6, 17, 1, 47
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SEQ = 1 << 32
MAX_ACK_WINDOW = 0xFFFF + 1500
CLOSED, SYN_SENT, ESTABLISHED, CLOSING, FIN_WAIT_2, TIME_WAIT = 0, 2, 4, 7, 9, 10


class Key(NamedTuple):
    """A tuple; of ICMP sport is the identifier and dport the type."""

    zone: int
    proto: int
    src: str
    sport: int
    dst: str
    dport: int

    def reverse(self) -> Key:
        """What answers it."""
        if self.proto == ICMP:
            return self._replace(src=self.dst, dst=self.src, dport=8 - self.dport)
        return self._replace(src=self.dst, dst=self.src, sport=self.dport, dport=self.sport)


@dataclass(frozen=True)
class Segment:
    """Of TCP, beyond the tuple."""

    flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 0
    length: int = 0


@dataclass
class Side:
    """One side of a TCP connection; no window scaling in the model's packets."""

    lo: int = 0
    hi: int = 1
    window: int = 1
    state: int = CLOSED
    liberal: bool = False


@dataclass
class Conn:
    """A connection: its tuples as packets enter, and what it has seen."""

    orig: Key
    reply: Key
    snat: bool = False
    dnat: bool = False
    mark: int = 0
    spoken: int = 0  # 0: one packet, 1: several one way, 2: both ways
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))


@dataclass(frozen=True)
class Nat:
    """What a commit translates: "src", "dst" or "null"."""

    kind: str
    address: str = ""
    ports: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Verdict:
    """key: the packet as it leaves; None when it is dropped.  conn: it belongs to."""

    state: frozenset[str]
    mark: int
    key: Key | None
    conn: Conn | None = None


def geq(a: int, b: int) -> bool:
    """Sequence numbers."""
    return (a - b) % SEQ < SEQ // 2


def signed(n: int) -> int:
    n %= SEQ
    return n - SEQ if n >= SEQ // 2 else n


def flags_wrong(f: int) -> bool:
    """No stack sends these."""
    if f & SYN:
        wrong = f & (RST | FIN)
    else:
        wrong = not f & (ACK | RST)
    return bool(wrong) or (not f & ACK and bool(f & (FIN | PSH)))


class Tracker:
    """All connections."""

    def __init__(self) -> None:
        self.index: dict[Key, tuple[Conn, bool]] = {}

    def flush(self, zone: int) -> None:
        """Forgets a zone."""
        self.index = {key: found for key, found in self.index.items() if key.zone != zone}

    def remove(self, conn: Conn) -> None:
        """Forgets a connection."""
        for key in (conn.orig, conn.reply):
            self.index.pop(key, None)

    def packet(
        self,
        key: Key,
        segment: Segment,
        *,
        commit: bool = False,
        translate: bool = False,
        nat: Nat | None = None,
        mark: int | None = None,
        chosen: Key | None = None,
    ) -> Verdict:
        """One ct().  chosen: what the real one left as, of several ports it might take.

        Raises AssertionError when that was none of them.
        """
        found = self.index.get(key)
        state = "inv"
        conn, reply = found or (None, False)
        if conn is not None:
            state = self._update(conn, segment, reply)
            if state == "reopen":
                self.remove(conn)
                conn, reply = None, False
        if conn is None:
            state = "new" if may_begin(key, segment) else "inv"
        if state == "inv":
            return Verdict(frozenset({"inv", "trk"}), 0, key)
        if conn is None and commit:
            conn = self._create(key, segment, nat, chosen)
            if conn is None:
                return Verdict(frozenset(), 0, None)
        return self._answer(key, conn, reply, state, translate, mark if commit else None)

    def _answer(
        self,
        key: Key,
        conn: Conn | None,
        reply: bool,
        state: str,
        translate: bool,
        mark: int | None,
    ) -> Verdict:
        names = {state, "trk"}
        if conn is None:
            return Verdict(frozenset(names), 0, key)
        if reply and state == "est":
            names.add("rpl")
        if mark is not None:
            conn.mark = mark
        leaves = key
        if translate and (conn.snat or conn.dnat):
            names.add("snat" if conn.snat != reply else "dnat")
            leaves = (conn.orig if reply else conn.reply).reverse()
        return Verdict(frozenset(names), conn.mark, leaves, conn)

    def _create(
        self, key: Key, segment: Segment, nat: Nat | None, chosen: Key | None
    ) -> Conn | None:
        conn = Conn(key, key.reverse())
        if nat is not None:
            conn.snat, conn.dnat = nat.kind != "dst", nat.kind == "dst"
            allowed = [k for k in candidates(key, nat) if k not in self.index]
            if not allowed:
                return None
            first = next(iter(candidates(key, nat)))
            if chosen is None:
                chosen = allowed[0].reverse()
            conn.reply = chosen.reverse()
            # Of a range any port may be taken; the packet's own is kept when it can be.
            if nat.ports == (0, 0) and first in allowed:
                assert conn.reply == first, (conn.reply, first)
            assert conn.reply in allowed, (conn.reply, nat)
        elif conn.reply in self.index:
            return None
        if key.proto == TCP:
            begin(conn, segment)
        self.index[conn.reply] = (conn, True)
        self.index[conn.orig] = (conn, False)
        return conn

    def _update(self, conn: Conn, segment: Segment, reply: bool) -> str:
        if conn.orig.proto == TCP:
            return update(conn, segment, reply)
        if reply:
            conn.spoken = 2
        elif not conn.spoken and conn.orig.proto != ICMP:
            conn.spoken = 1
        return "est" if conn.spoken == 2 else "new"


def may_begin(key: Key, segment: Segment) -> bool:
    """Whether a packet of no connection is one that may begin one."""
    if key.proto == TCP:
        opening = segment.flags & (SYN | ACK)
        return not flags_wrong(segment.flags) and opening != SYN | ACK
    return key.proto != ICMP or key.dport == 8


def candidates(key: Key, nat: Nat) -> Iterator[Key]:
    """Reply tuples that a translated connection may have, the packet's own ports first."""
    reply = key.reverse()
    if nat.kind == "src":
        reply = reply._replace(dst=nat.address)
    elif nat.kind == "dst":
        reply = reply._replace(src=nat.address)
    if key.proto == GRE:
        yield reply
        return
    icmp = key.proto == ICMP
    least, most = nat.ports
    if most and not icmp and nat.kind == "src":
        for port in range(least, most + 1):
            yield reply._replace(dport=port)
        return
    if most and not icmp and nat.kind == "dst":
        for port in range(least, most + 1):
            yield reply._replace(sport=port)
        reply = reply._replace(sport=least)
    low, high = (1, 511) if key.sport < 512 else (600, 1023) if key.sport < 1024 else (1024, 65535)
    for port in (key.sport, *range(low, high + 1)):
        yield reply._replace(sport=port) if icmp else reply._replace(dport=port)


def begin(conn: Conn, s: Segment) -> None:
    """The first segment."""
    one, other = conn.sides
    syn, fin = bool(s.flags & SYN), bool(s.flags & FIN)
    one.lo, one.hi = s.seq, (s.seq + s.length + 1 + syn + fin) % SEQ
    one.window, one.state = max(s.window, 1), SYN_SENT
    one.liberal = other.liberal = not syn


def update(conn: Conn, s: Segment, reply: bool) -> str:
    """A later one."""
    src, dst = conn.sides[reply], conn.sides[not reply]
    f = s.flags
    if flags_wrong(f):
        return "inv"
    if f & (SYN | ACK) == SYN:
        if src.state >= FIN_WAIT_2 and dst.state >= FIN_WAIT_2:
            return "reopen"
        if src.state <= SYN_SENT:
            src.state = SYN_SENT
            return "new"
    shift = 14 if src.liberal and dst.liberal and not f & SYN else 0
    seq, ack, win = s.seq, s.ack, s.window
    end = (seq + s.length + bool(f & SYN) + bool(f & FIN)) % SEQ
    check = True
    if src.state < SYN_SENT:
        src.lo, src.state = seq, SYN_SENT
        room = (end + max(1, dst.window << shift)) % SEQ
        if src.hi == 1 or geq(room, src.hi):
            src.hi, check = room, False
        src.window = max(src.window, win)
    if not f & ACK or (ack == 0 and f & RST):
        ack = dst.lo
    if seq == end:
        seq = end = src.lo
    skew = signed(dst.lo - ack) if check else 0
    if (
        geq(src.hi, end)
        and geq(seq, src.lo - (dst.window << shift))
        and -MAX_ACK_WINDOW <= skew <= MAX_ACK_WINDOW << shift
        and (not f & RST or s.seq in {(src.lo + i) % SEQ for i in (-1, 0, 1)})
    ):
        slide(src, dst, end, ack, win, shift)
        if f & FIN and src.state < CLOSING:
            src.state = CLOSING
        if f & ACK and dst.state == SYN_SENT:
            dst.state = ESTABLISHED
        elif f & ACK and dst.state == CLOSING:
            dst.state = FIN_WAIT_2
        if f & RST:
            src.state = dst.state = TIME_WAIT
        return "est"
    if (
        (dst.state < SYN_SENT or dst.state >= FIN_WAIT_2 or src.state >= FIN_WAIT_2)
        and geq(src.hi + MAX_ACK_WINDOW, end)
        and geq(seq, src.lo - MAX_ACK_WINDOW)
    ):
        slide(src, dst, end, ack, win, shift)
        if f & FIN and src.state < CLOSING:
            src.state = CLOSING
        if f & RST:
            src.state = dst.state = TIME_WAIT
        return "est"
    return "inv"


def slide(src: Side, dst: Side, end: int, ack: int, win: int, shift: int) -> None:
    """What a segment that fits tells of the windows."""
    src.window = max(src.window, win)
    if not geq(src.lo, end):
        src.lo = end
    if geq(ack + (win << shift), dst.hi):
        dst.hi = (ack + max(win << shift, 1)) % SEQ
