# SPDX-License-Identifier: Apache-2.0
"""Headers of frames that the slow path reads and writes, and their checksums.

Ethernet, IPv4 (RFC 791), IPv6 (RFC 8200) and UDP (RFC 768), as far as handlers
need them.  A frame here begins with its Ethernet header and has no VLAN tag.
"""

from __future__ import annotations

import struct
from typing import Final

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath.checksums import checksum
from ovn_bpf_controller.slowpath.duty import RejectedError

ETHERNET: Final = 14
UDP: Final = 8
_IP4: Final = 20
_IP6: Final = 40
_PROTO_UDP: Final = 17
_EXTENSIONS: Final = (0, 43, 60)


@dataclass(frozen=True, slots=True)
class Datagram:
    """A UDP datagram.  l3, l4: where headers begin in the frame; payload: behind UDP's."""

    frame: bytes
    version: int
    l3: int
    l4: int
    payload: bytes

    def answer(self, payload: bytes, *, ip4_dst: int | None = None) -> bytes:
        """The frame with another payload, lengths and checksums to match.

        ip4_dst: another destination.  UDP's checksum: none over IPv4, as
        ovn-controller has it, right over IPv6.
        """
        udp = bytearray(self.frame[self.l4 : self.l4 + UDP])
        length = UDP + len(payload)
        struct.pack_into("!HH", udp, 4, length, 0)
        ip = bytearray(self.frame[self.l3 : self.l4])
        if self.version == 4:
            struct.pack_into("!H", ip, 2, len(ip) + length)
            if ip4_dst is not None:
                struct.pack_into("!I", ip, 16, ip4_dst)
            struct.pack_into("!H", ip, 10, 0)
            struct.pack_into("!H", ip, 10, checksum(bytes(ip)))
        else:
            struct.pack_into("!H", ip, 4, len(ip) - _IP6 + length)
            pseudo = bytes(ip[8:40]) + struct.pack("!II", length, _PROTO_UDP)
            total = checksum(pseudo + bytes(udp) + payload)
            struct.pack_into("!H", udp, 6, total or 0xFFFF)
        return self.frame[: self.l3] + bytes(ip) + bytes(udp) + payload


def datagram(frame: bytes) -> Datagram:
    """The UDP datagram in a frame.  Raises RejectedError when there is none whole."""
    if len(frame) < ETHERNET + _IP4:
        raise RejectedError("short frame")
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0800:
        l4 = ETHERNET + (frame[ETHERNET] & 15) * 4
        proto, end = frame[ETHERNET + 9], ETHERNET + int.from_bytes(frame[16:18], "big")
    elif kind == 0x86DD and len(frame) >= ETHERNET + _IP6:
        l4 = ETHERNET + _IP6
        proto, end = frame[ETHERNET + 6], l4 + int.from_bytes(frame[18:20], "big")
    else:
        raise RejectedError("not IP")
    if proto != _PROTO_UDP or end > len(frame) or end < l4 + UDP:
        raise RejectedError("no whole UDP datagram")
    length = int.from_bytes(frame[l4 + 4 : l4 + 6], "big")
    if not UDP <= length <= end - l4:
        raise RejectedError("UDP length is wrong")
    version = 4 if kind == 0x0800 else 6
    return Datagram(frame, version, ETHERNET, l4, frame[l4 + UDP : l4 + length])


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet.  proto: behind IPv6's extension headers; payload: from there on,
    as long as the IP header says."""

    src: bytes
    dst: bytes
    proto: int
    ttl: int
    payload: bytes


def packet(frame: bytes) -> Packet:
    """The IP packet in a frame.  Raises RejectedError when there is none whole."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= ETHERNET + _IP4:
        head = (frame[ETHERNET] & 15) * 4
        end = ETHERNET + int.from_bytes(frame[16:18], "big")
        if head < _IP4 or ETHERNET + head > end or end > len(frame):
            raise RejectedError("no whole IP packet")
        payload = frame[ETHERNET + head : end]
        return Packet(frame[26:30], frame[30:34], frame[23], frame[22], payload)
    if kind == b"\x86\xdd" and len(frame) >= ETHERNET + _IP6:
        at = ETHERNET + _IP6
        end = at + int.from_bytes(frame[18:20], "big")
        if end > len(frame):
            raise RejectedError("no whole IP packet")
        proto, payload = _behind_extensions(frame[20], frame[at:end])
        return Packet(frame[22:38], frame[38:54], proto, frame[21], payload)
    raise RejectedError("not IP")


def _behind_extensions(proto: int, data: bytes) -> tuple[int, bytes]:
    """Past hop-by-hop options, routing headers and destination options."""
    while proto in _EXTENSIONS:
        if len(data) < 8 or len(data) < 8 * (data[1] + 1):
            raise RejectedError("truncated IPv6 extension header")
        proto, data = data[0], data[8 * (data[1] + 1) :]
    return proto, data
