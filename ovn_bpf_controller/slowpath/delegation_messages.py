# SPDX-License-Identifier: Apache-2.0
"""Messages between a client that wants prefixes and its servers (RFC 8415).

slowpath.delegation decides when to send which; here is how they look.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath import compose
from ovn_bpf_controller.slowpath import dhcpv6_options as opts
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.frames import datagram

SOLICIT, ADVERTISE, REQUEST, RENEW, REBIND, REPLY = 1, 2, 3, 5, 6, 7
NO_BINDING: Final = 3
_ELAPSED: Final = 8
_ASSOCIATION: Final = "!III"  # IAID, T1, T2
_PREFIX: Final = "!IIB16s"  # preferred, valid, length, prefix
_SERVERS_MAC: Final = bytes.fromhex("333300010002")
_SERVERS: Final = bytes.fromhex("ff020000000000000000000000010002")  # ff02::1:2
_PORTS: Final = (546, 547)  # of clients and servers
_HOPS: Final = 255


@dataclass(frozen=True, slots=True)
class Prefix:
    """A delegated prefix.  address: 16 bytes."""

    address: bytes
    length: int

    def __str__(self) -> str:
        return f"{ipaddress.IPv6Address(self.address)}/{self.length}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server says.  Times in seconds; prefix None: status tells why not.

    mac, address: whom it is for.
    """

    kind: int
    transaction: bytes
    mac: bytes
    address: bytes
    client: bytes
    server: bytes
    iaid: int
    t1: int
    t2: int
    prefix: Prefix | None
    preferred: int
    valid: int
    status: int


def message(
    kind: int, transaction: bytes, client: bytes, server: bytes, iaid: int, prefix: Prefix | None
) -> bytes:
    """A client's message.  client, server: DUIDs; an empty one is left out."""
    association = struct.pack(_ASSOCIATION, iaid, 0, 0)
    if prefix is not None:
        value = struct.pack(_PREFIX, 0, 0, prefix.length, prefix.address)
        association += opts.option(opts.IA_PREFIX, value)
    parts = [bytes((kind,)) + transaction, opts.option(opts.CLIENT_ID, client)]
    if server:
        parts.append(opts.option(opts.SERVER_ID, server))
    parts.append(opts.option(opts.IA_PD, association))
    parts.append(opts.option(_ELAPSED, bytes(2)))
    return b"".join(parts)


def frame(mac: bytes, source: bytes, payload: bytes) -> bytes:
    """To all servers on the link."""
    addresses = source, _SERVERS
    udp = compose.datagram(addresses, _PORTS, payload)
    return compose.frame((mac, _SERVERS_MAC), addresses, compose.UDP, _HOPS, udp)


def read(data: bytes) -> Offer:
    """A server's message in a frame.  Raises RejectedError when it is none of ours."""
    udp = datagram(data)
    said = udp.payload
    if udp.version != 6 or len(said) < 4 or said[0] not in (ADVERTISE, REPLY):
        raise RejectedError("no DHCPv6 reply")
    options = dict(opts.parse(said[4:]))
    association = options.get(opts.IA_PD, b"")
    client, server = options.get(opts.CLIENT_ID, b""), options.get(opts.SERVER_ID, b"")
    if not client or not 0 < len(server) <= opts.MAX_DUID:
        raise RejectedError("DHCPv6 reply without identifiers")
    if len(association) < 12:
        raise RejectedError("DHCPv6 reply without a prefix")
    iaid, t1, t2 = struct.unpack_from(_ASSOCIATION, association)
    prefix, preferred, valid, status = _inner(association[12:])
    if (0 < t2 < t1) or preferred > valid:
        raise RejectedError("DHCPv6 reply with times that cannot be")
    mac, address = data[:6], data[udp.l3 + 24 : udp.l3 + 40]
    who = said[0], said[1:4], mac, address, client, server
    return Offer(*who, iaid, t1, t2, prefix, preferred, valid, status)


def _inner(data: bytes) -> tuple[Prefix | None, int, int, int]:
    """The first prefix, its times, and the status (RFC 8415, section 21.13)."""
    prefix, preferred, valid, status = None, 0, 0, 0
    for code, value in opts.parse(data):
        if code == opts.IA_PREFIX and prefix is None and len(value) >= 25:
            preferred, valid, length, address = struct.unpack_from(_PREFIX, value)
            if length > 128:
                raise RejectedError("DHCPv6 reply with a prefix that cannot be")
            prefix = Prefix(address, length) if valid else None
        elif code == opts.STATUS and len(value) >= 2:
            status = int.from_bytes(value[:2], "big")
    return (prefix if not status else None), preferred, valid, status
