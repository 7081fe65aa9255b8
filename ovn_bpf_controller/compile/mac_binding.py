# SPDX-License-Identifier: Apache-2.0
"""MAC_Binding and Static_MAC_Binding rows as rules of two side tables.

get_arp and lookup_arp_ip ask OVN_TABLE_MAC_BINDING by (port, address), lookup_arp
asks OVN_TABLE_MAC_LOOKUP by (port, address, MAC).  Priorities are those of
ovn-controller's consider_neighbor_flow(); what the program has learnt by itself
stands where dynamic rows do, behind them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.compile.layout import Conj
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.errors import LangError

STATIC_OVERRIDE: Final = 150
DYNAMIC: Final = 100
STATIC: Final = 50

_FULL = 0xFFFFFFFF
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")
_MAPPED: Final = 0xFFFF << 32


_FOUND: Final = Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_FOUND, b=lib.OVN_RES_FOUND)
_NOT_FOUND: Final = Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_FOUND)


def default_rules() -> list[SideRule]:
    """For every datapath: nobody knows the neighbour but what was learnt here."""
    get = [*_set_mac(0), _NOT_FOUND, Insn(lib.OP_MAC_GET)]
    lookup = [_NOT_FOUND, Insn(lib.OP_MAC_IS)]
    return [
        SideRule(lib.OVN_TABLE_MAC_BINDING, 0, (), program(get)),
        SideRule(lib.OVN_TABLE_MAC_LOOKUP, 0, (), program(lookup)),
    ]


def expand(port_key: int, ip: str, mac: str, priority: int) -> list[SideRule]:
    """The rules for one row.  Raises LangError for addresses that are none."""
    address, link = addresses(ip, mac)
    conj: Conj = (("arg.port", port_key, _FULL), ("arg.ip", address, (1 << 128) - 1))
    get = [*_set_mac(link), _FOUND]
    if priority < DYNAMIC:
        get.append(Insn(lib.OP_MAC_GET))
    return [
        SideRule(lib.OVN_TABLE_MAC_BINDING, priority, conj, program(get)),
        SideRule(
            lib.OVN_TABLE_MAC_LOOKUP,
            priority,
            (*conj, ("arg.mac", link, (1 << 48) - 1)),
            program([_FOUND]),
        ),
    ]


def addresses(ip: str, mac: str) -> tuple[int, int]:
    """A row's addresses: 128 bits (IPv4 as ::ffff:a.b.c.d) and 48.

    Raises LangError for what is none.
    """
    return _ip(ip), _mac(mac)


def _set_mac(mac: int) -> list[Insn]:
    return [
        Insn(lib.OP_SET, dst=lib.OW_ARG_MAC, a=_FULL, b=mac >> 32),
        Insn(lib.OP_SET, dst=lib.OW_ARG_MAC + 1, a=_FULL, b=mac & _FULL),
    ]


def _ip(text: str) -> int:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise LangError("no IP address", text, 0) from error
    return int(address) | (_MAPPED if address.version == 4 else 0)


def _mac(text: str) -> int:
    if not _MAC.fullmatch(text):
        raise LangError("no Ethernet address", text, 0)
    value = 0
    for byte in text.split(":"):
        value = value << 8 | int(byte, 16)
    return value
