# SPDX-License-Identifier: Apache-2.0
"""Addresses in strings of Port_Binding, as duties read them.

OVN's lib/ovn-util.c reads them until something else comes, and so do these.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

_MAC: Final = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


def mac(text: str) -> int | None:
    """A link-layer address as a number; None if it is none."""
    return int(text.replace(":", ""), 16) if _MAC.fullmatch(text) else None


def interfaces(text: str) -> list[Interface]:
    """ "IP[/LENGTH] …", up to what is none."""
    found: list[Interface] = []
    for word in text.replace(",", " ").split():
        try:
            found.append(ipaddress.ip_interface(word))
        except ValueError:
            break
    return found


def lport_addresses(text: str) -> tuple[int, list[Interface]] | None:
    """ "MAC [IP …]"; None without a MAC."""
    first, _, rest = text.strip().partition(" ")
    ether = mac(first)
    return None if ether is None else (ether, interfaces(rest))


def packed(text: str) -> bytes | None:
    """An address as on the wire, or None if it is none."""
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None


def mac_bytes(ether: int) -> bytes:
    """The six bytes of a number."""
    return ether.to_bytes(6, "big")
