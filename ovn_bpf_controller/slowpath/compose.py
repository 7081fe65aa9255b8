# SPDX-License-Identifier: Apache-2.0
"""Frames that the slow path makes by itself: Ethernet, IP, UDP and ICMP.

Addresses are bytes as on the wire, four of them mean IPv4.  Fields that nobody asked
about are what ovn-controller's are: no fragmentation, no traffic class, no options.
"""

from __future__ import annotations

import struct
from typing import Final

from ovn_bpf_controller.slowpath.checksums import checksum

ICMP, IGMP, TCP, UDP, ICMP6 = 1, 2, 6, 17, 58
_DONT_FRAGMENT: Final = 0x4000
# Where a message has its checksum.
_SUM_AT: Final = {ICMP: 2, IGMP: 2, TCP: 16, UDP: 6, ICMP6: 2}


def frame(
    macs: tuple[bytes, bytes], addresses: tuple[bytes, bytes], proto: int, ttl: int, payload: bytes
) -> bytes:
    """A frame with an IP packet.  macs, addresses: (from, to).  ttl: or hop limit."""
    source, destination = macs
    if len(addresses[0]) == 4:
        head = struct.pack(
            "!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, _DONT_FRAGMENT, ttl, proto, 0
        )
        ip = head + b"".join(addresses)
        ip = ip[:10] + checksum(ip).to_bytes(2, "big") + ip[12:]
        return destination + source + b"\x08\x00" + ip + payload
    ip = struct.pack("!IHBB", 6 << 28, len(payload), proto, ttl) + b"".join(addresses)
    return destination + source + b"\x86\xdd" + ip + payload


def summed(addresses: tuple[bytes, bytes], proto: int, message: bytes) -> bytes:
    """The message with its checksum; over the pseudo header where there is one."""
    at = _SUM_AT[proto]
    pseudo = b""
    if proto not in (ICMP, IGMP):
        pseudo = b"".join(addresses) + struct.pack("!II", len(message), proto)
    total = checksum(pseudo + message[:at] + bytes(2) + message[at + 2 :])
    if proto == UDP:
        total = total or 0xFFFF
    return message[:at] + total.to_bytes(2, "big") + message[at + 2 :]


def datagram(addresses: tuple[bytes, bytes], ports: tuple[int, int], payload: bytes) -> bytes:
    """A UDP datagram; over IPv4 without a checksum, as ovn-controller sends it."""
    message = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    return message if len(addresses[0]) == 4 else summed(addresses, UDP, message)
