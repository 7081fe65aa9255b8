# SPDX-License-Identifier: Apache-2.0
"""A packet's words -> a frame, for inject-pkt.

What the words do not say is as Open vSwitch's flow_compose() has it (lib/flow.c):
64 bytes of payload where there is any, no options, right checksums.  The words are
those of microflow.words().
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.observe.microflow import read
from ovn_bpf_controller.slowpath.checksums import checksum

_PAYLOAD: Final = bytes(range(64))
_IP4, _IP6, _ARP, _RARP = 0x0800, 0x86DD, 0x0806, 0x8035
_ICMP, _TCP, _UDP, _ICMP6, _SCTP = 1, 6, 17, 58, 132
_IGMP: Final = 2
_NO_TYPE: Final = 0x5FF
_FIN_SYN_RST: Final = 7
_SUM_AT: Final = {_TCP: 16, _UDP: 6, _ICMP: 2, _ICMP6: 2, _IGMP: 2}
_ECHO: Final = {_ICMP: (0, 8), _ICMP6: (128, 129)}
_ND: Final = (135, 136)
_MORE, _OFFSET = 0x2000, 100


def frame(words: Sequence[int]) -> bytes:
    """From the Ethernet header on."""
    kind = read(words, "eth.type")
    made = _number(words, "eth.dst") + _number(words, "eth.src")
    if kind == _NO_TYPE:
        return made + struct.pack("!H", 14)
    tci = read(words, "vlan.tci")
    if tci & 0x1000:
        made += struct.pack("!HH", 0x8100, tci)
    return made + struct.pack("!H", kind) + _network(words, kind)


def _network(words: Sequence[int], kind: int) -> bytes:
    if kind == _IP4:
        return _ip4(words)
    if kind == _IP6:
        return _ip6(words)
    return _arp(words) if kind in (_ARP, _RARP) else b""


def _number(words: Sequence[int], field: str) -> bytes:
    """A field of 32 bits or more, as it stands in a frame."""
    size = {"eth": 6, "arp": 6, "nd.": 6}.get(field[:3], 4)
    if field.startswith("ip6.") or field == "nd.target":
        size = 16
    elif field in ("arp.spa", "arp.tpa"):
        size = 4
    return read(words, field).to_bytes(size, "big")


def _arp(words: Sequence[int]) -> bytes:
    operation = read(words, "arp.op")
    made = struct.pack("!HHBBH", 1, _IP4, 6, 4, operation)
    if operation not in (1, 2):
        return made + bytes(20)
    fields = ("arp.sha", "arp.spa", "arp.tha", "arp.tpa")
    return made + b"".join(_number(words, field) for field in fields)


def _ip4(words: Sequence[int]) -> bytes:
    proto, fragment = read(words, "ip.proto"), read(words, "ip.frag")
    offset = _MORE if fragment & lib.OVN_FRAG_ANY else 0
    if fragment & lib.OVN_FRAG_ANY and fragment & lib.OVN_FRAG_LATER:
        offset |= _OFFSET
    body = _transport(words, proto)
    tos = read(words, "ip.dscp") << 2 | read(words, "ip.ecn")
    addresses = _number(words, "ip4.src") + _number(words, "ip4.dst")
    head = struct.pack("!BBHHH", 0x45, tos, 20 + len(body), 0, offset)
    head += struct.pack("!BBH", read(words, "ip.ttl"), proto, 0) + addresses
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return head + _summed(body, proto, addresses)


def _ip6(words: Sequence[int]) -> bytes:
    proto = read(words, "ip.proto")
    body = _transport(words, proto)
    first = 6 << 28 | read(words, "ip.dscp") << 22 | read(words, "ip.ecn") << 20
    addresses = _number(words, "ip6.src") + _number(words, "ip6.dst")
    head = struct.pack("!IHBB", first | read(words, "ip6.label"), len(body), proto,
                       read(words, "ip.ttl"))  # fmt: skip
    return head + addresses + _summed(body, proto, addresses)


def _transport(words: Sequence[int], proto: int) -> bytes:
    """Header and payload, without the checksum."""
    if read(words, "ip.frag") & lib.OVN_FRAG_LATER:
        return b""
    first, second = read(words, "tcp.src"), read(words, "tcp.dst")
    if proto == _TCP:
        flags = read(words, "tcp.flags")
        made = struct.pack("!HHIIHHHH", first, second, 0, 0, 5 << 12 | flags, 0, 0, 0)
        return made if flags & _FIN_SYN_RST else made + _PAYLOAD
    if proto == _UDP:
        return struct.pack("!HHHH", first, second, 8 + len(_PAYLOAD), 0) + _PAYLOAD
    if proto == _SCTP:
        return struct.pack("!HHII", first, second, 0, 0)
    if proto == _IGMP:
        return bytes(8)
    if proto in _ECHO:
        return _icmp(words, proto)
    return b""


def _icmp(words: Sequence[int], proto: int) -> bytes:
    kind, code = read(words, "icmp4.type"), read(words, "icmp4.code")
    made = struct.pack("!BBHI", kind, code, 0, 0)
    if code:
        return made
    if kind in _ECHO[proto]:
        return made + _PAYLOAD
    if proto == _ICMP6 and kind in _ND:
        made += _number(words, "nd.target")
        for option, field in ((1, "nd.sll"), (2, "nd.tll")):
            if read(words, field):
                made += struct.pack("!BB", option, 1) + _number(words, field)
    return made


def _summed(body: bytes, proto: int, addresses: bytes) -> bytes:
    at = _SUM_AT.get(proto)
    if at is None or not body:
        return body
    pseudo = b"" if proto in (_ICMP, _IGMP) else addresses + struct.pack("!II", len(body), proto)
    total = checksum(pseudo + body)
    if proto == _UDP:
        total = total or 0xFFFF
    return body[:at] + struct.pack("!H", total) + body[at + 2 :]
