# SPDX-License-Identifier: Apache-2.0
"""IGMP and MLD messages: what they say of groups, and general queries.

IGMPv1 to v3: RFC 1112, 2236, 3376.  MLDv1 and v2: RFC 2710, 3810.  Sources do not
count here: whoever wants any of them is a member.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum
from typing import Final

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath import compose
from ovn_bpf_controller.slowpath.checksums import checksum
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.frames import Packet

_IGMP_QUERY, _IGMP1, _IGMP2, _LEAVE, _IGMP3 = 0x11, 0x12, 0x16, 0x17, 0x22
_MLD_QUERY, _MLD1, _DONE, _MLD2 = 130, 131, 132, 143
# Record types of both third and second versions: INCLUDE as it is, and from now on.
_INCLUDES: Final = (1, 3)
_RECORDS: Final = range(1, 7)
_ALL_HOSTS4: Final = bytes((224, 0, 0, 1))
_ALL_HOSTS6: Final = bytes.fromhex("ff02") + bytes(13) + b"\x01"
# A hop-by-hop header with the router alert "MLD" (RFC 2711), padded.
_ALERT: Final = bytes((compose.ICMP6, 0, 5, 2, 0, 0, 1, 0))


class Kind(Enum):
    """What a message is for."""

    QUERY = "query"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Message:
    """groups: (address, whether it is wanted).  version: as IGMP_Group.protocol has it.
    routers: whether a query comes from a router, which has an address."""

    kind: Kind
    version: str = ""
    groups: tuple[tuple[bytes, bool], ...] = ()
    routers: bool = False


def parse(packet: Packet) -> Message:
    """Of an IP packet.  Raises RejectedError."""
    if packet.proto == compose.IGMP and len(packet.src) == 4:
        return _igmp(packet)
    if packet.proto == compose.ICMP6 and len(packet.src) == 16:
        return _mld(packet)
    raise RejectedError("igmp of what is neither IGMP nor MLD")


def _igmp(packet: Packet) -> Message:
    data = packet.payload
    if len(data) < 8:
        raise RejectedError("truncated IGMP message")
    if checksum(data):
        raise RejectedError("wrong IGMP checksum")
    kind, group = data[0], data[4:8]
    if kind == _IGMP_QUERY:
        return Message(Kind.QUERY, routers=True)
    if kind == _IGMP3:
        return Message(Kind.REPORT, "IGMPv3", tuple(_records(data, 4)))
    if kind == _IGMP1:
        return Message(Kind.REPORT, "IGMPv1", _one(group, True))
    if kind == _IGMP2:
        return Message(Kind.REPORT, "IGMPv2", _one(group, True))
    if kind == _LEAVE:
        return Message(Kind.REPORT, "IGMPv2", _one(group, False))
    raise RejectedError("IGMP message of another type")


def _mld(packet: Packet) -> Message:
    data = packet.payload
    if len(data) < 8:
        raise RejectedError("truncated MLD message")
    pseudo = packet.src + packet.dst + struct.pack("!II", len(data), compose.ICMP6)
    if checksum(pseudo + data):
        raise RejectedError("wrong MLD checksum")
    kind, group = data[0], data[8:24]
    if kind == _MLD2:
        return Message(Kind.REPORT, "MLDv2", tuple(_records(data, 16)))
    if kind not in (_MLD_QUERY, _MLD1, _DONE):
        raise RejectedError("MLD message of another type")
    if len(group) < 16:
        raise RejectedError("truncated MLD message")
    if kind == _MLD_QUERY:
        return Message(Kind.QUERY, routers=any(packet.src))
    return Message(Kind.REPORT, "MLDv1", _one(group, kind == _MLD1))


def _one(group: bytes, wanted: bool) -> tuple[tuple[bytes, bool], ...]:
    return ((group, wanted),) if _multicast(group) else ()


def _records(data: bytes, size: int) -> Iterator[tuple[bytes, bool]]:
    """Group records of a report; those that are cut off say nothing."""
    [count] = struct.unpack_from("!H", data, 6)
    at = 8
    for _ in range(count):
        if at + 4 + size > len(data):
            return
        kind, extra, sources = struct.unpack_from("!BBH", data, at)
        group = data[at + 4 : at + 4 + size]
        if kind in _RECORDS and _multicast(group):
            yield group, bool(sources) or kind not in _INCLUDES
        at += 4 + size + sources * size + 4 * extra


def _multicast(group: bytes) -> bool:
    return group[0] >> 4 == 14 if len(group) == 4 else group[0] == 0xFF


def query4(mac: bytes, source: bytes, response: int, interval: int) -> bytes:
    """A frame with IGMPv3's general query.  response, interval: seconds."""
    head = struct.pack("!BBHIBBH", _IGMP_QUERY, _code(10 * response), 0, 0, 0, _code(interval), 0)
    addresses = (source, _ALL_HOSTS4)
    message = compose.summed(addresses, compose.IGMP, head)
    return compose.frame((mac, b"\x01\x00\x5e\x00\x00\x01"), addresses, compose.IGMP, 1, message)


def query6(mac: bytes, source: bytes, response: int, interval: int) -> bytes:
    """A frame with MLDv2's general query."""
    delay = min(1000 * response, 0x7FFF)
    head = struct.pack("!BBHHH16sBBH", _MLD_QUERY, 0, 0, delay, 0, bytes(16), 0, _code(interval), 0)
    addresses = (source, _ALL_HOSTS6)
    message = _ALERT + compose.summed(addresses, compose.ICMP6, head)
    return compose.frame((mac, b"\x33\x33\x00\x00\x00\x01"), addresses, 0, 1, message)


def _code(value: int) -> int:
    """Eight bits for a time: from 128 on a small float (RFC 3376, section 4.1.1)."""
    if value < 128:
        return value
    exponent = max(value.bit_length() - 5, 3)
    if exponent > 10:
        return 0xFF
    return 0x80 | exponent - 3 << 4 | value >> exponent & 15
