# SPDX-License-Identifier: Apache-2.0
"""The Internet checksum, and making those of frames whole.

A local sender leaves the sum of its segment to a device, and only the pseudo
header's stands in the frame.  What the slow path sends meets no such device, since
nothing tells the kernel that the sum is still to be done.
"""

from __future__ import annotations

import struct
from typing import Final

_ETHERNET: Final = 14
_IP6: Final = 40
_TCP, _UDP = 6, 17
_SUM_AT: Final = {_TCP: 16, _UDP: 6}


def folded(data: bytes) -> int:
    """The one's complement sum of 16-bit words, not inverted (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(total)


def checksum(data: bytes) -> int:
    """The Internet checksum."""
    return ~folded(data) & 0xFFFF


def whole(frame: bytes) -> bytes:
    """The frame, with the TCP or UDP checksum that a device was to fill in."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= _ETHERNET + 20:
        l4 = _ETHERNET + (frame[_ETHERNET] & 15) * 4
        proto, end = frame[23], _ETHERNET + int.from_bytes(frame[16:18], "big")
        addresses = frame[26:34]
        if int.from_bytes(frame[20:22], "big") & 0x3FFF:  # a fragment
            return frame
    elif kind == b"\x86\xdd" and len(frame) >= _ETHERNET + _IP6:
        l4 = _ETHERNET + _IP6
        proto, end = frame[20], l4 + int.from_bytes(frame[18:20], "big")
        addresses = frame[22:54]
    else:
        return frame
    at = l4 + _SUM_AT.get(proto, 0)
    if at == l4 or end > len(frame) or at + 2 > end:
        return frame
    pseudo = addresses + struct.pack("!II", end - l4, proto)
    if int.from_bytes(frame[at : at + 2], "big") != folded(pseudo):
        return frame
    total = checksum(pseudo + frame[l4:at] + bytes(2) + frame[at + 2 : end])
    return frame[:at] + (total or 0xFFFF).to_bytes(2, "big") + frame[at + 2 :]
