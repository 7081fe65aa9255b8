# SPDX-License-Identifier: Apache-2.0
"""struct ovn_insn in Python: the encoder for compiled actions, a reader for dumps.

compile.actions and compile.port_security write with it, `ovn-bpf-ctl flows`
reads with it.  The layout is the header's: cffi lays the bytes out, not we.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.layout import field_at
from ovn_bpf_controller.plaindata import NamedTuple

INSN_BYTES: Final[int] = ffi.sizeof("struct ovn_insn")

_OPS: Final[dict[int, str]] = ffi.typeof("enum ovn_op").elements
_REASONS: Final[dict[int, str]] = ffi.typeof("enum ovn_drop").elements
_KINDS: Final[dict[int, str]] = ffi.typeof("enum ovn_learnt_kind").elements
_CT_DOES: Final = sorted(ffi.typeof("enum ovn_ct_action").elements.items())


class Insn(NamedTuple):
    """One instruction; enum ovn_op in insns.h says what the fields mean."""

    op: int
    dst: int = 0
    src: int = 0
    aux: int = 0
    a: int = 0
    b: int = 0
    c: int = 0


def encode(insns: Sequence[Insn]) -> bytes:
    """The bytes of `insns`, as map ovn_insns holds them."""
    return bytes(ffi.buffer(ffi.new("struct ovn_insn[]", list(insns))))


def decode(data: bytes) -> list[Insn]:
    """What encode() made `data` of.  Raises ValueError on a broken length."""
    if len(data) % INSN_BYTES:
        raise ValueError(f"{len(data)} bytes are no whole number of instructions")
    insns = ffi.from_buffer("struct ovn_insn[]", data)
    return [Insn(i.op, i.dst, i.src, i.aux, i.a, i.b, i.c) for i in insns]


def disassemble(data: bytes) -> list[str]:
    """One line of text an instruction; the bodies of clones are indented."""
    lines = []
    ends: list[int] = []
    for n, insn in enumerate(decode(data)):
        lines.append("  " * len(ends) + describe(insn))
        if insn.op == lib.OP_CLONE:
            ends.append(n + insn.a)
        while ends and ends[-1] == n:
            ends.pop()
    return lines


def describe(insn: Insn) -> str:
    """One instruction as text, in the terms of OVN where it has some."""
    name = _OPS.get(insn.op)
    if name is None:
        return f"op{insn.op}?"
    special = _TEXT.get(insn.op)
    return special(insn) if special else name.removeprefix("OP_").lower()


def _set(i: Insn) -> str:
    runs = []
    mask = i.a
    while mask:
        shift = (mask & -mask).bit_length() - 1
        bits = (~(mask >> shift) & (mask >> shift) + 1).bit_length() - 1
        runs.append(f"{field_at(i.dst, shift, bits)} = {i.b >> shift & (1 << bits) - 1:#x}")
        mask &= ~(((1 << bits) - 1) << shift)
    return "; ".join(runs)


def _move(i: Insn) -> str:
    return f"{field_at(i.dst, i.a, i.c)} = {field_at(i.src, i.b, i.c)}"


def _next(i: Insn) -> str:
    return f"next({'egress' if i.src else 'ingress'}, {i.aux})"


def _drop(i: Insn) -> str:
    return f"drop ({_REASONS.get(i.a, str(i.a)).removeprefix('DROP_').lower()})"


def _call(i: Insn) -> str:
    result = f"{field_at(i.dst, i.a, 1)} = " if i.b else ""
    return f"{result}call({i.aux}, {i.b:#x})"


def _lookup_fdb(i: Insn) -> str:
    return f"{field_at(i.dst, i.a, 1)} = lookup_fdb({_word(i.b)}, {_mac(i.src)})"


def _ct(i: Insn) -> str:
    names = [name.removeprefix("OVN_CT_").lower() for bit, name in _CT_DOES if i.a & bit]
    return f"ct({', '.join([f'zone={_word(i.src)}', *names])})"


def _ct_lb(i: Insn) -> str:
    return f"one of {i.a} backends by hash({i.b:#x})"


def _data(i: Insn) -> str:
    if i.c:
        return f"data({i.a:#x}, {i.b:#x}, {i.c:#x})"
    return f"data({i.a:#x}, port {i.b})"


def _learn(i: Insn) -> str:
    return f"learn({_learnt(i.a)})"


def _ask(i: Insn) -> str:
    return f"{field_at(i.dst, i.a, 1)} = learnt({_learnt(i.b)})"


def _learnt(kind: int) -> str:
    return _KINDS.get(kind, str(kind)).removeprefix("OVN_LEARNT_").lower()


def _word(word: int) -> str:
    return field_at(word, 0, 32)


def _mac(word: int) -> str:
    return field_at(word, 0, 16).partition("[")[0]


_TEXT: Final[dict[int, Callable[[Insn], str]]] = {
    lib.OP_SET: _set,
    lib.OP_MOVE: _move,
    lib.OP_NEXT: _next,
    lib.OP_DROP: _drop,
    lib.OP_CLONE: lambda i: f"clone ({i.a} instructions)",
    lib.OP_CALL: _call,
    lib.OP_ND_NA: lambda i: f"nd_na (flags {i.a:#x})",
    lib.OP_DEC_TTL: lambda i: "ip.ttl--",
    lib.OP_REPLY: lambda i: f"reply ({i.a:#x})",
    lib.OP_LARGER: lambda i: f"{field_at(i.dst, i.a, 1)} = check_pkt_larger({i.b})",
    lib.OP_HASH: lambda i: f"{_word(i.dst)} = hash({i.a:#x}) of {i.b}",
    lib.OP_PICK: lambda i: f"pick {i.c:#x} if {_word(i.src)} < {i.b}",
    lib.OP_FLOOD: lambda i: "flood_remote",
    lib.OP_QUOTED_SRC: lambda i: f"quoted source = {i.b:#x}",
    lib.OP_QUEUE: lambda i: f"set_queue (priority {i.a:#x})",
    lib.OP_GET_FDB: lambda i: f"outport = get_fdb({_mac(i.src)})",
    lib.OP_LOOKUP_FDB: _lookup_fdb,
    lib.OP_PUT_FDB: lambda i: f"put_fdb({_word(i.b)}, {_mac(i.src)})",
    lib.OP_CT: _ct,
    lib.OP_CT_LB: _ct_lb,
    lib.OP_DATA: _data,
    lib.OP_LEARN: _learn,
    lib.OP_LEARNT: _ask,
    lib.OP_METER: lambda i: (
        f"meter {i.a << 32 | i.b:#x}" + (f", else pass {i.c}" if not i.src else "")
    ),
    lib.OP_LOG: lambda i: f"log({i.b:#x})",
    lib.OP_SAMPLE: lambda i: f"sample(probability={i.a}, collector_set={i.b})",
    lib.OP_PUSH: lambda i: f"push {i.c} words of {_word(i.src)}",
    lib.OP_POP: lambda i: f"pop {i.c} words to {_word(i.dst)}",
}


def program(insns: Iterable[Insn]) -> bytes:
    """encode() of a list that still lacks its OP_END."""
    return encode([*insns, Insn(lib.OP_END)])
