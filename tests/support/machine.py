# SPDX-License-Identifier: Apache-2.0
"""What the interpreter should do with compiled rules, in plain Python.

The compiler's tests run rules on a packet given as fields and look at what leaves
and why it ended.  It is written from the comments of insns.h, slow and direct, so
that neither the compiler nor the BPF program has a say in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, decode
from ovn_bpf_controller.compile.layout import chunks, cut, place
from ovn_bpf_controller.model import McGroup, Rule, SetMember

MASK32 = 0xFFFFFFFF


class Words(list[int]):
    """The packet context, with its fields by OVN's names."""

    def __init__(self, words: Iterable[int] = (), **fields: int) -> None:
        super().__init__(words or [0] * lib.OVN_WORDS)
        for name, value in fields.items():
            self[name] = value

    def get(self, name: str, offset: int = 0, width: int = 0) -> int:
        """The value of a field or of some of its bits."""
        value = 0
        for c in chunks(place(name, offset, width)):
            value |= (list.__getitem__(self, c.word) >> c.shift & ((1 << c.bits) - 1)) << c.pos
        return value

    def put(self, name: str, value: int, offset: int = 0, width: int = 0) -> None:
        """Sets a field or some of its bits."""
        for c in chunks(place(name, offset, width)):
            ones = ((1 << c.bits) - 1) << c.shift
            self[c.word] = self[c.word] & ~ones | cut(value, c)

    def __setitem__(self, at: object, value: object) -> None:
        if isinstance(at, str):
            assert isinstance(value, int)
            self.put(at, value)
        else:
            list.__setitem__(self, at, value)  # type: ignore[call-overload]

    def copy(self) -> Words:
        return Words(list(self))


@dataclass
class Event:
    """The end of a packet: at port `port` of `dp`, or dropped for `reason`."""

    dp: int
    port: int
    words: Words
    reason: int = 0
    na_flags: int = 0


@dataclass
class Machine:
    """Rules and groups, and what came of the packet last sent.

    learnt: what put_fdb wants in fdb; it is not there yet for the same packet.
    """

    rules: Iterable[Rule]
    groups: Sequence[McGroup] = ()
    members: Iterable[SetMember] = ()
    fdb: dict[tuple[int, int], int] = field(default_factory=dict)
    learnt: dict[tuple[int, int], int] = field(default_factory=dict)
    macs: dict[tuple[int, int, int], int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    visited: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stages: dict[tuple[int, int], list[Rule]] = {}
        for rule in self.rules:
            self._stages.setdefault((rule.dp, rule.table), []).append(rule)
        self._members = {(g.dp, g.key): g.local for g in self.groups}
        self._sets: dict[tuple[int, int, tuple[int, ...]], tuple[int, ...]]
        self._sets = {(m.kind, m.plen, m.value): m.sets for m in self.members}
        self._plens = {(kind, plen) for kind, plen, _ in self._sets}

    def send(self, fields: Mapping[str, int], dp: int, inport: int) -> list[Event]:
        """Runs a packet from the start of the ingress pipeline."""
        words = Words()
        for name, value in fields.items():
            words[name] = value
        words[lib.OW_DP] = dp
        words["inport"] = inport
        self.events, self.visited = [], []
        self._stack: list[int] = []
        self._na = 0
        self.stage(words, 0)
        return self.events

    def outputs(self) -> list[int]:
        """Ports that the last packet left by, in order."""
        return [e.port for e in self.events if not e.reason]

    def drops(self) -> list[int]:
        """Reasons for which copies of the last packet were dropped, in order."""
        return [e.reason for e in self.events if e.reason]

    def lookup(self, words: Words, table: int) -> Rule | None:
        """The rule of a stage that the words match best."""
        best: Rule | None = None
        for rule in self._stages.get((words[lib.OW_DP], table), ()):
            pairs = zip(rule.mask, rule.values, strict=True)
            if all(self._holds(words, w, m, v) for (w, m), v in pairs):
                if best is None or rule.prio > best.prio:
                    best = rule
        return best

    def _holds(self, words: Words, word: int, mask: int, value: int) -> bool:
        if word < lib.OW_SETS:
            return words[word] & mask == value
        assert mask == MASK32
        return value in self.sets_of(words, word)

    def sets_of(self, words: Words, word: int) -> set[int]:
        """The sets that the field behind a set word is a member of."""
        source = word in (lib.OW_SET_SRC, lib.OW_SET_IN, lib.OW_SET_TP_SRC, lib.OW_SET_ETH_SRC)
        if word in (lib.OW_SET_IN, lib.OW_SET_OUT):
            port = words.get("inport" if source else "outport")
            return set(self._sets.get((lib.OVN_SET_PORT, 0, (words[lib.OW_DP], port, 0, 0)), ()))
        found: set[int] = set()
        end = "src" if source else "dst"
        which = {0x0800: (lib.OVN_SET_IP4, 32, f"ip4.{end}")}
        which[0x0806] = (lib.OVN_SET_IP4, 32, "arp.spa" if source else "arp.tpa")
        which[0x86DD] = (lib.OVN_SET_IP6, 128, f"ip6.{end}")
        looked = which.get(words.get("eth.type"))
        if word in (lib.OW_SET_TP_SRC, lib.OW_SET_TP_DST):
            looked = (lib.OVN_SET_L4, 16, f"tcp.{end}")
        elif word in (lib.OW_SET_ETH_SRC, lib.OW_SET_ETH_DST):
            looked = (lib.OVN_SET_MAC, 48, f"eth.{end}")
        if looked is None:
            return found
        asked, width, field = looked
        for kind, plen in self._plens:
            if kind == asked:
                value = words.get(field) >> (width - plen) << (width - plen)
                padded = (value << (128 - width)).to_bytes(16, "big")
                key = tuple(int.from_bytes(padded[at : at + 4], "big") for at in range(0, 16, 4))
                found.update(self._sets.get((kind, plen, key), ()))
        return found

    def stage(self, words: Words, table: int) -> None:
        """Looks a stage up and runs what it says."""
        self.visited.append((words[lib.OW_DP], table))
        rule = self.lookup(words, table)
        if rule is None:
            self._drop(words, lib.DROP_NO_FLOW)
        else:
            self.run(decode(rule.insns), words, table >= lib.OVN_EGRESS_BASE)

    def run(self, insns: Sequence[Insn], words: Words, egress: bool) -> None:
        """Runs a list up to its OP_END or a drop."""
        pc = 0
        while insns[pc].op != lib.OP_END:
            i = insns[pc]
            pc += 1
            if i.op == lib.OP_CLONE:
                na = self._na
                self.run(insns[pc : pc + i.a], words.copy(), egress)
                self._na = na
                pc += i.a
            elif i.op == lib.OP_NEXT:
                self.stage(words, i.aux + (lib.OVN_EGRESS_BASE if i.src else 0))
            elif i.op == lib.OP_OUTPUT:
                self._output(words, egress)
            elif i.op == lib.OP_DROP:
                return self._drop(words, i.a)
            elif not self._one(i, words):
                return None
        return None

    def _one(self, i: Insn, w: Words) -> bool:
        """An instruction that only changes words; False when the list ends."""
        if i.op == lib.OP_SET:
            w[i.dst] = w[i.dst] & ~i.a | i.b
        elif i.op == lib.OP_MOVE:
            _move(w, i)
        elif i.op == lib.OP_CALL:
            self.stage(w, i.aux)
            if i.b:
                _bit(w, i.dst, i.a, bool(w[lib.OW_RESULT] & i.b))
        elif i.op == lib.OP_ND_NA:
            become_na(w)
            self._na = i.a
        elif i.op == lib.OP_DEC_TTL:
            if w.get("ip.ttl") <= 1:
                self._drop(w, lib.DROP_TTL)
                return False
            w["ip.ttl"] = w.get("ip.ttl") - 1
        elif i.op == lib.OP_CT_CLEAR:
            for word in range(lib.OW_CT_STATE, lib.OW_CT_PROTO + 1):
                w[word] = 0
        elif i.op == lib.OP_PUSH:
            self._stack += [w[i.src + n] for n in range(i.c)]
        elif i.op == lib.OP_POP:
            for n in reversed(range(i.c)):
                w[i.dst + n] = self._stack.pop()
        elif i.op in (lib.OP_MAC_GET, lib.OP_MAC_IS, lib.OP_MAC_PUT):
            self._neighbour(i, w)
        else:
            self._fdb(i, w)
        return True

    def _neighbour(self, i: Insn, w: Words) -> None:
        key = (w[lib.OW_DP], w.get("arg.port"), w.get("arg.ip"))
        if i.op == lib.OP_MAC_PUT:
            self.macs[key] = w.get("arg.mac")
        elif key in self.macs:
            if i.op == lib.OP_MAC_GET:
                w["arg.mac"] = self.macs[key]
            if w.get("arg.mac") == self.macs[key]:
                w[lib.OW_RESULT] |= lib.OVN_RES_FOUND

    def _fdb(self, i: Insn, w: Words) -> None:
        key = (w[lib.OW_DP], w[i.src] << 32 | w[i.src + 1])
        if i.op == lib.OP_GET_FDB:
            w["outport"] = self.fdb.get(key, 0)
        elif i.op == lib.OP_LOOKUP_FDB:
            _bit(w, i.dst, i.a, self.fdb.get(key) == w[i.b])
        else:
            assert i.op == lib.OP_PUT_FDB, i
            self.learnt[key] = w[i.b]

    def _output(self, words: Words, egress: bool) -> None:
        if egress:
            self.events.append(
                Event(words[lib.OW_DP], words.get("outport"), words.copy(), na_flags=self._na)
            )
            return
        key = (words[lib.OW_DP], words.get("outport"))
        ports = self._members.get(key, ()) if key[1] >= lib.OVN_MIN_MCGROUP else (key[1],)
        for port in ports:
            out = words.copy()
            out["outport"] = port
            if port == out.get("inport") and not out.get("flags", 0, 1):
                if len(ports) == 1:
                    self._drop(out, lib.DROP_LOOPBACK)
                continue
            for n in range(10):
                out[f"reg{n}"] = 0
            self.stage(out, lib.OVN_EGRESS_BASE)

    def _drop(self, words: Words, reason: int) -> None:
        self.events.append(Event(words[lib.OW_DP], 0, words.copy(), reason))


def _move(w: Words, i: Insn) -> None:
    assert i.b + i.c <= 32 and i.a + i.c <= 32, f"{i} leaves its words"
    ones = (1 << i.c) - 1
    w[i.dst] = w[i.dst] & ~(ones << i.a) & MASK32 | (w[i.src] >> i.b & ones) << i.a


def _bit(w: Words, word: int, bit: int, value: bool) -> None:
    w[word] = w[word] & ~(1 << bit) | value << bit


def become_na(w: Words) -> None:
    """The NS becomes the NA that answers it, as OVS's compose_nd_na() makes it."""
    mac, ip = w.get("eth.src"), w.get("ip6.src")
    w["eth.src"] = w.get("eth.dst")
    w["eth.dst"] = mac
    w["ip6.src"] = w.get("nd.target")
    w["ip6.dst"] = ip
    w["icmp6.type"] = 136
    w["ip.ttl"] = 255
    w["nd.sll"] = 0
    w["nd.tll"] = w.get("eth.src")
