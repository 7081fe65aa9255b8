# SPDX-License-Identifier: Apache-2.0
"""Stack that our object's programs need by the rules of 6.1.

It adds the frames of all functions active at once, callbacks included, each
rounded up to 32 bytes, and refuses more than 512; later kernels are laxer, so a
host would not notice.  Read from the ELF file: an upper bound, which so
far was what the verifier said (576 of 576) or one unit above (576 of 544).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LIMIT = 512
FRAMES = 8  # MAX_CALL_FRAMES

_SHT_SYMTAB, _SHT_REL = 2, 9
_SHF_EXECINSTR = 4
_STT_FUNC = 2
_R_BPF_64_64, _R_BPF_64_32 = 1, 10

_R10 = 10
_MOV64, _ADD64_IMM, _CALL, _LD_IMM64 = 0xBF, 0x07, 0x85, 0x18
_PSEUDO_CALL = 1
_LDX, _ST, _STX = 1, 2, 3  # classes


class _Insn(NamedTuple):
    code: int
    dst: int
    src: int
    off: int
    imm: int


@dataclass
class Function:
    """stack: bytes below r10 that it uses.  calls: names of what it calls, or gives
    to the kernel to call."""

    name: str
    section: int
    start: int
    size: int
    stack: int = 0
    calls: set[str] = field(default_factory=set)


def functions(path: Path) -> dict[str, Function]:
    """Every function of a BPF object, by name."""
    elf = _Elf(path.read_bytes())
    found = {f.name: f for f in elf.functions()}
    for function in found.values():
        insns = elf.insns(function)
        function.stack = _stack(insns)
        function.calls = set(elf.calls(function, insns))
    return found


def deepest(found: dict[str, Function], entry: str) -> tuple[int, list[str]]:
    """Bytes and names of the path from `entry` that needs most."""
    own = max(-(-found[entry].stack // 32), 1) * 32
    below = [deepest(found, name) for name in found[entry].calls]
    size, path = max(below, default=(0, []))
    return own + size, [entry, *path]


def longest(found: dict[str, Function], entry: str) -> int:
    """Frames of the path from `entry` that has most."""
    return 1 + max((longest(found, name) for name in found[entry].calls), default=0)


def _stack(insns: list[_Insn]) -> int:
    lowest, pointers = 0, set[int]()
    for insn in insns:
        kind = insn.code & 7
        if insn.code == _MOV64 and insn.src == _R10:
            pointers.add(insn.dst)
            continue
        if insn.code == _ADD64_IMM and insn.dst in pointers:
            lowest = min(lowest, insn.imm)
        elif (kind == _LDX and insn.src == _R10) or (kind in (_ST, _STX) and insn.dst == _R10):
            lowest = min(lowest, insn.off)
        pointers.discard(insn.dst)
    return -lowest


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


class _Symbol(NamedTuple):
    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


class _Elf:
    def __init__(self, data: bytes) -> None:
        self._data = data
        at, size, count = *struct.unpack_from("<Q", data, 40), *struct.unpack_from("<HH", data, 58)
        self._sections = [
            _Section(*struct.unpack_from("<IIQQQQIIQQ", data, at + i * size)) for i in range(count)
        ]
        table = next(s for s in self._sections if s.kind == _SHT_SYMTAB)
        self._strings = self._sections[table.link].offset
        self._symbols = [
            _Symbol(*struct.unpack_from("<IBBHQQ", data, table.offset + i))
            for i in range(0, table.size, 24)
        ]

    def functions(self) -> Iterator[Function]:
        for symbol in self._symbols:
            if symbol.info & 15 == _STT_FUNC:
                end = self._data.index(b"\0", self._strings + symbol.name)
                name = self._data[self._strings + symbol.name : end].decode()
                yield Function(name, symbol.section, symbol.value, symbol.size)

    def insns(self, function: Function) -> list[_Insn]:
        base = self._sections[function.section].offset + function.start
        return [
            _Insn(code, registers & 15, registers >> 4, off, imm)
            for code, registers, off, imm in struct.iter_unpack(
                "<BBhi", self._data[base : base + function.size]
            )
        ]

    def calls(self, function: Function, insns: list[_Insn]) -> Iterator[str]:
        """Calls within the section need no relocation; references to functions for
        the kernel to call always have one."""
        relocated = self._relocations(function.section)
        for i, insn in enumerate(insns):
            at = function.start + i * 8
            if insn.code == _CALL and insn.src == _PSEUDO_CALL:
                section, base = relocated.get(at, (function.section, at))
                yield self._named(section, base + (insn.imm + 1) * 8)
            elif insn.code == _LD_IMM64 and at in relocated:
                section, base = relocated[at]
                if self._sections[section].flags & _SHF_EXECINSTR:
                    yield self._named(section, base + insn.imm)

    def _relocations(self, section: int) -> dict[int, tuple[int, int]]:
        """Offset in a section -> section and offset of the symbol there."""
        found = {}
        for table in self._sections:
            if table.kind != _SHT_REL or table.info != section:
                continue
            for offset in range(0, table.size, 16):
                at, info = struct.unpack_from("<QQ", self._data, table.offset + offset)
                symbol = self._symbols[info >> 32]
                if info & 0xFFFFFFFF in (_R_BPF_64_64, _R_BPF_64_32) and symbol.section < 0xFF00:
                    found[at] = symbol.section, symbol.value
        return found

    def _named(self, section: int, offset: int) -> str:
        return next(f.name for f in self.functions() if f.section == section and f.start == offset)
