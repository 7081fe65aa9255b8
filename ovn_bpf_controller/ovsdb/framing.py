# SPDX-License-Identifier: Apache-2.0
"""JSON values out of a stream of bytes, and back into bytes.

The session feeds it whatever the socket gave.  A framer in C (csrc/native)
finds where a value ends, then json parses it in one go: 20 times faster than
python-ovs' character-wise parser.  From the first very large message on orjson does, if
it is installed: it takes three quarters of json's time, but 8 ms to import.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.errors import DatabaseError

#: Bytes of one message; a Southbound of 160,000 flows takes 80 MB.
MAX_MESSAGE: Final = 1 << 30
#: Bytes of one from which on a faster parser is worth its import.
LARGE: Final = 8 << 20

_orjson: Any = None  # False once it was found missing: Debian 12 has no package of it


def _fast(size: int) -> Any:
    """orjson, if it is there and worth it; else something false."""
    global _orjson
    if _orjson is None and size >= LARGE:
        try:
            _orjson = importlib.import_module("orjson")
        except ImportError:
            _orjson = False
    return _orjson


def loads(text: bytearray | memoryview) -> Any:
    """Parse one value; DatabaseError if it is not JSON in UTF-8."""
    try:
        fast = _fast(len(text))
        return fast.loads(text) if fast else json.loads(str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise DatabaseError(f"not JSON: {error}") from error


def dumps(value: Any) -> bytes:
    """A value as compact UTF-8 JSON."""
    if _orjson:
        text: bytes = _orjson.dumps(value)
        return text
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Framer:
    """Collects bytes and gives the values that are complete.

    limit: longest message in bytes.  After a DatabaseError the stream is of no
    more use: nobody can tell where the next value starts.
    """

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        self._state = ffi.new("struct ovn_framer *")
        self._used = ffi.new("size_t *")

    def __len__(self) -> int:
        """Bytes held that belong to an incomplete value."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add what arrived; DatabaseError if the message has become too long."""
        self._buffer += data
        if len(self._buffer) > self._limit:
            raise DatabaseError(f"message of more than {self._limit} bytes")

    def next(self) -> Any:
        """The next complete value, parsed, or None; DatabaseError on garbage.

        JSON's null never comes: only objects and arrays are values here.
        """
        result = self._scan()
        if result == lib.OVN_FRAMER_MORE:
            return None
        if result == lib.OVN_FRAMER_GARBAGE:
            start = bytes(self._buffer[self._scanned : self._scanned + 20])
            raise DatabaseError(f"not JSON-RPC: {start!r}")
        if result == lib.OVN_FRAMER_DEEP:
            raise DatabaseError(f"JSON nested deeper than {lib.OVN_FRAMER_MAX_DEPTH}")
        with memoryview(self._buffer) as view, view[: self._scanned] as text:
            value = loads(text)
        del self._buffer[: self._scanned]
        self._scanned = 0
        return value

    def _scan(self) -> int:
        length = len(self._buffer) - self._scanned
        with ffi.from_buffer(self._buffer) as view:
            result = lib.ovn_framer_scan(self._state, view + self._scanned, length, self._used)
        self._scanned += self._used[0]
        return int(result)
