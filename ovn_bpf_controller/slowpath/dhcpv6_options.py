# SPDX-License-Identifier: Apache-2.0
"""DHCPv6 options on the wire: read, and written by the Southbound's DHCPv6_Options types.

RFC 8415 has the form; RFC 3646, 4704 and 5970 that of resolvers, names and boot files.
The server (slowpath.dhcpv6) and the client (slowpath.delegation) use it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

from ovn_bpf_controller.slowpath.duty import RejectedError

CLIENT_ID, SERVER_ID, IA_NA, IA_ADDRESS, STATUS, USER_CLASS = 1, 2, 3, 5, 13, 15
DNS_SERVERS, DOMAIN_LIST, IA_PD, IA_PREFIX, FQDN, BOOT_URL = 23, 24, 25, 26, 39, 59
#: Not a code of the wire: OVN's, for the URL of a client that is not iPXE.
BOOT_URL_ALT: Final = 254
FOREVER: Final = 0xFFFFFFFF
#: RFC 8415, section 11.1: more is no DUID.
MAX_DUID: Final = 130
_DUID_LL, _ETHERNET = 3, 1


def parse(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(code, value) of each option, up to one that is cut off."""
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from("!HH", data, at)
        if at + 4 + length > len(data):
            return
        yield code, data[at + 4 : at + 4 + length]
        at += 4 + length


def option(code: int, value: bytes) -> bytes:
    """An option with its code and length."""
    return struct.pack("!HH", code, len(value)) + value


def link_layer_duid(mac: bytes) -> bytes:
    """RFC 8415, section 11.4."""
    return struct.pack("!HH", _DUID_LL, _ETHERNET) + mac


def value(kind: str, values: Sequence[Sequence[Any]]) -> bytes:
    """What a flow says, [format, value, mask] each, by a type of DHCPv6_Options.

    Raises RejectedError for what has no form.
    """
    try:
        if kind == "ipv6":
            return b"".join(int(each[1]).to_bytes(16, "big") for each in values)
        if kind == "mac":
            return int(values[0][1]).to_bytes(6, "big")
        if kind == "str":
            return str(values[0][1]).encode()
        if kind == "domain":
            return names(str(values[0][1]))
    except (IndexError, OverflowError, TypeError, ValueError) as error:
        raise RejectedError("option whose value does not fit its type") from error
    raise RejectedError("option of an unknown type")


def names(text: str) -> bytes:
    """Domain names, by commas or spaces, without compression (RFC 8415, section 10).

    Raises ValueError for a label that has no form.
    """
    found = b""
    for domain in text.replace(",", " ").split():
        for label in filter(None, domain.split(".")):
            if len(label.encode()) > 63:
                raise ValueError("label of more than 63 bytes")
            found += bytes((len(label.encode()),)) + label.encode()
        found += b"\0"
    return found
