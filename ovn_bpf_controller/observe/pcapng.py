# SPDX-License-Identifier: Apache-2.0
"""A pcapng file (draft-ietf-opsawg-pcapng): packets with comments, by named interfaces.

ovn-bpf-ctl capture writes one; Wireshark, tcpdump and scapy read it.  Pure but for the
stream that it writes to.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, Final

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_ETHERNET: Final = 1  # LINKTYPE_ETHERNET
_NANOSECONDS: Final = 9  # if_tsresol: 10^-9 s
_COMMENT, _NAME, _RESOLUTION, _APPLICATION = 1, 2, 9, 4


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + value.ljust(-len(value) % 4 + len(value), b"\0")


def _block(kind: int, body: bytes) -> bytes:
    length = struct.pack("=I", len(body) + 12)
    return struct.pack("=I", kind) + length + body + length


class Writer:
    """Blocks in the machine's byte order, flushed one by one."""

    def __init__(self, out: BinaryIO, application: str) -> None:
        self._out = out
        self._interfaces: dict[str, int] = {}
        options = _option(_APPLICATION, application.encode()) + _option(0, b"")
        self._write(_SECTION, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1) + options)

    def packet(self, interface: str, at: int, frame: bytes, length: int, comment: str) -> None:
        """at: nanoseconds of the Unix epoch.  length: of the frame before it was cut."""
        number = self._interfaces.get(interface)
        if number is None:
            number = self._interfaces[interface] = len(self._interfaces)
            options = _option(_NAME, interface.encode())
            options += _option(_RESOLUTION, bytes((_NANOSECONDS,))) + _option(0, b"")
            self._write(_INTERFACE, struct.pack("=HHI", _ETHERNET, 0, 0) + options)
        head = struct.pack("=IIIII", number, at >> 32, at & 0xFFFFFFFF, len(frame), length)
        data = frame.ljust(-len(frame) % 4 + len(frame), b"\0")
        options = _option(_COMMENT, comment.encode()) + _option(0, b"")
        self._write(_PACKET, head + data + options)

    def _write(self, kind: int, body: bytes) -> None:
        self._out.write(_block(kind, body))
        self._out.flush()
