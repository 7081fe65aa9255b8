# SPDX-License-Identifier: Apache-2.0
"""Shared structs as bytes: layouts taken from cffi, packing done by `struct`.

The tables write hundreds of thousands of elements; a precompiled struct.Struct
is several times faster than cffi field by field, and deriving its format from
the header keeps one definition.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any, Final

from ovn_bpf_controller._native import ffi

_CODES: Final[dict[str, str]] = {
    "unsigned char": "B",
    "signed char": "b",
    "unsigned short": "H",
    "short": "h",
    "unsigned int": "I",
    "int": "i",
    "unsigned long long": "Q",
    "long long": "q",
    "uint32_t": "I",
    "uint16_t": "H",
    "uint8_t": "B",
    "uint64_t": "Q",
}


def _flat(ctype: Any, base: int) -> Iterator[tuple[int, str, int]]:
    """(offset, format, size) of every scalar; an array of bytes is one."""
    if ctype.kind == "struct":
        for _, field in ctype.fields:
            yield from _flat(field.type, base + field.offset)
    elif ctype.kind == "array" and ctype.item.kind == "primitive" and ffi.sizeof(ctype.item) == 1:
        yield base, f"{ctype.length}s", ctype.length
    elif ctype.kind == "array":
        size = ffi.sizeof(ctype.item)
        for i in range(ctype.length):
            yield from _flat(ctype.item, base + i * size)
    else:
        yield base, _CODES[ctype.cname], ffi.sizeof(ctype)


@functools.cache  # a dozen positions are asked of the largest
def _scalars(cname: str) -> tuple[tuple[int, str, int], ...]:
    return tuple(_flat(ffi.typeof(cname), 0))


def record(cname: str) -> struct.Struct:
    """A Struct for C type `cname`: nested structs and arrays flattened in order,
    byte arrays as bytes, padding skipped.  Raises KeyError on an unknown scalar."""
    at = 0
    text = "="
    for offset, code, size in _scalars(cname):
        text += "x" * (offset - at) + code
        at = offset + size
    return struct.Struct(text + "x" * (ffi.sizeof(cname) - at))


def position(cname: str, *path: str | int) -> int:
    """Which value of record(cname) a member, or its first scalar, is."""
    offset = ffi.offsetof(cname, *path)
    return [at for at, _, _ in _scalars(cname)].index(offset)


def word(cname: str, *path: str | int) -> int:
    """Offset of a member of `cname` in 32-bit words."""
    return ffi.offsetof(cname, *path) // 4
