# SPDX-License-Identifier: Apache-2.0
"""put_nd_ra_opts: a router solicitation becomes the advertisement that the flow says.

The flow turns addresses round and sends it.  RFC 4861, section 4.2; options of
RFC 4191 (routes), RFC 8106 (resolvers).  Behaviour: ovn-controller's pinctrl.c,
values it gives no words to (hop limit, lifetimes) are its own.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.slowpath.checksums import checksum
from ovn_bpf_controller.slowpath.dhcp_options import Constant
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_IP6_AT: Final = 14
_AT: Final = 54  # of the message: there are no extension headers in a solicitation
_SOLICIT, _ADVERT = 133, 134
_HOP_LIMIT, _LIFETIME, _FOREVER = 255, 0xFFFF, 0xFFFFFFFF
_MANAGED, _OTHER = 0x80, 0x40
_ON_LINK, _AUTONOMOUS = 0x80, 0x40
_PREFERENCE: Final = {"LOW": 0x18, "MEDIUM": 0x00, "HIGH": 0x08}
_ALL_NODES: Final = bytes.fromhex("ff020000000000000000000000000001")  # ff02::1


def handle(punt: Punt, argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
    """See service.Handler: always one packet, with the answer."""
    try:
        frame = _answer(punt.frame, argument["options"])
    except RejectedError:
        yield replace(punt, answer=0)
        raise
    yield replace(punt, frame=frame, answer=1)


def _answer(frame: bytes, options: Sequence[Sequence[Any]]) -> bytes:
    if len(frame) < _AT + 8 or frame[12:14] != b"\x86\xdd" or frame[20] != 58:
        raise RejectedError("no ICMPv6 message")
    if frame[_AT] != _SOLICIT or frame[_AT + 1]:
        raise RejectedError("no router solicitation")
    body = message(options)
    ip = bytearray(frame[_IP6_AT:_AT])
    struct.pack_into("!H", ip, 4, len(body))
    if not any(ip[8:24]):
        ip[8:24] = _ALL_NODES  # where the flow sends it, when nobody asked by name
    pseudo = bytes(ip[8:40]) + struct.pack("!II", len(body), 58)
    total = checksum(pseudo + body)
    return frame[:_IP6_AT] + bytes(ip) + body[:2] + total.to_bytes(2, "big") + body[4:]


def message(options: Sequence[Sequence[Any]]) -> bytes:
    """The advertisement, its checksum 0.  Raises RejectedError."""
    said = {name: values for name, values in options}
    try:
        mode = str(said["addr_mode"][0][1]) if "addr_mode" in said else "slaac"
        flags = {"dhcpv6_stateful": _MANAGED, "dhcpv6_stateless": _OTHER}.get(mode, 0)
        if "router_preference" in said:
            flags |= _PREFERENCE.get(str(said["router_preference"][0][1]), 0)
        head = struct.pack("!BBHBBHII", _ADVERT, 0, 0, _HOP_LIMIT, flags, _LIFETIME, 0, 0)
        forms = {**_FORMS, "prefix": _managed if flags & _MANAGED else _prefix}
        return head + b"".join(forms[name](values) for name, values in options if name in forms)
    except (IndexError, OverflowError, TypeError, ValueError) as error:
        raise RejectedError("advertisement that cannot be written") from error


def _link(values: Sequence[Constant]) -> bytes:
    return b"\x01\x01" + int(values[0][1]).to_bytes(6, "big")


def _mtu(values: Sequence[Constant]) -> bytes:
    return struct.pack("!BBHI", 5, 1, 0, int(values[0][1]))


def _network(values: Sequence[Constant], flags: int) -> bytes:
    value, mask = int(values[0][1]), values[0][2]
    length = 128 if mask is None else int(mask).bit_count()
    head = struct.pack("!BBBBIII", 3, 4, length, flags, _FOREVER, _FOREVER, 0)
    return head + value.to_bytes(16, "big")


def _prefix(values: Sequence[Constant]) -> bytes:
    return _network(values, _ON_LINK | _AUTONOMOUS)


def _managed(values: Sequence[Constant]) -> bytes:
    return _network(values, _ON_LINK)


def _resolver(values: Sequence[Constant]) -> bytes:
    return struct.pack("!BBHI", 25, 3, 0, _FOREVER) + int(values[0][1]).to_bytes(16, "big")


def _search(values: Sequence[Constant]) -> bytes:
    """RFC 8106, section 5.2: whole names, padded to eight bytes."""
    names = b""
    for domain in str(values[0][1]).replace(",", " ").split():
        for label in filter(None, domain.split(".")):
            if len(label) > 63:
                raise ValueError("label of more than 63 bytes")
            names += bytes((len(label),)) + label.encode()
        names += b"\0"
    names += bytes(-len(names) % 8)
    return struct.pack("!BBHI", 31, 1 + len(names) // 8, 0, _FOREVER) + names


def _routes(values: Sequence[Constant]) -> bytes:
    """RFC 4191, section 2.3: PREFERENCE-PREFIX by commas."""
    found = b""
    for text in str(values[0][1]).split(","):
        preference, _, prefix = text.strip().partition("-")
        network = ipaddress.IPv6Network(prefix, strict=False)
        units = (network.prefixlen + 63) // 64
        head = (24, 1 + units, network.prefixlen, _PREFERENCE.get(preference, 0), _FOREVER)
        found += struct.pack("!BBBBI", *head) + network.network_address.packed[: 8 * units]
    return found


_FORMS: Final[Mapping[str, Callable[[Sequence[Constant]], bytes]]] = {
    "slla": _link,
    "mtu": _mtu,
    "rdnss": _resolver,
    "dnssl": _search,
    "route_info": _routes,
}
