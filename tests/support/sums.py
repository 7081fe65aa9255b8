# SPDX-License-Identifier: Apache-2.0
"""Checksums of frames, computed without the code under test and without scapy's
habit of filling in what is missing."""

from __future__ import annotations

import struct

from scapy.layers.sctp import crc32c

TCP, UDP, ICMP, ICMP6, SCTP = 6, 17, 1, 58, 132
_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMP6: 2, SCTP: 8}
_ERRORS = {ICMP: {3, 4, 5, 11, 12}, ICMP6: {1, 2, 3, 4}}


def folded(data: bytes, start: int = 0) -> int:
    """The ones' complement sum of RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total: int = start + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _pseudo(ip: bytes, proto: int, length: int) -> int:
    addresses = ip[8:40] if ip[0] >> 4 == 6 else ip[12:20]
    return folded(addresses + struct.pack(">II", length, proto))


def pseudo_sum(ip: bytes, proto: int, length: int) -> bytes:
    """What a sender writes who leaves the checksum to the device."""
    return _pseudo(ip, proto, length).to_bytes(2, "big")


def transport(ip: bytes) -> tuple[int, bytes]:
    """Protocol and transport part of an IP packet without extension headers."""
    if ip[0] >> 4 == 6:
        return ip[6], ip[40 : 40 + int.from_bytes(ip[4:6], "big")]
    return ip[9], ip[(ip[0] & 15) * 4 : int.from_bytes(ip[2:4], "big")]


def wrong(ip: bytes, *, quoted: bool = False) -> str:
    """Which checksum of an IP packet is wrong, "" if none is.

    quoted: it may be cut, and its transport checksum is then not looked at.
    """
    proto, l4 = transport(ip)
    if ip[0] >> 4 == 4 and folded(ip[: (ip[0] & 15) * 4]) != 0xFFFF:
        return "IPv4"
    length = int.from_bytes(ip[4:6] if ip[0] >> 4 == 6 else ip[2:4], "big")
    length -= 0 if ip[0] >> 4 == 6 else (ip[0] & 15) * 4
    if quoted and len(l4) < length:
        return ""
    at = _AT[proto]
    if proto == SCTP:
        right = crc32c(l4[:8] + bytes(4) + l4[12:]).to_bytes(4, "big")
        return "" if l4[8:12] == right else "SCTP"
    if proto == UDP and l4[6:8] == b"\0\0":
        return "" if ip[0] >> 4 == 4 else "UDP 0"
    start = 0 if proto == ICMP else _pseudo(ip, proto, len(l4))
    if folded(l4, start) != 0xFFFF:
        return f"{proto} at {at}: {l4[at : at + 2].hex()}"
    if not quoted and l4[0] in _ERRORS.get(proto, ()):
        inner = wrong(l4[8:], quoted=True)
        return inner and f"quoted {inner}"
    return ""


def assert_right(frame: bytes) -> None:
    """Fails unless all checksums of an Ethernet frame with an IP packet are right."""
    assert not wrong(frame[14:]), f"{wrong(frame[14:])} in {frame[:120].hex()}"
