# SPDX-License-Identifier: Apache-2.0
"""Fields and their values as ovn-trace writes them.

For observe.trace_actions.  A field is named as in OVN's language (expr_field_format in
OVN's lib/expr.c); a value is written as Open vSwitch writes its own field of that kind
(mf_format in its lib/meta-flow.c), or as a number when it is but a part of one.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.symbols import SYMBOLS
from ovn_bpf_controller.observe.microflow import FRAGMENTS, flags, ip6, mac

_DECIMAL: Final = frozenset(
    "ip.proto ip.ttl ip.dscp ip.ecn arp.op".split()
    + [f"{p}.{f}" for p in ("tcp", "udp", "sctp") for f in ("src", "dst")]
    + [f"{p}.{f}" for p in ("icmp4", "icmp6") for f in ("type", "code")]
)
_MACS: Final = frozenset(("eth.src", "eth.dst", "arp.sha", "arp.tha", "nd.sll", "nd.tll"))
_IP4: Final = frozenset(("ip4.src", "ip4.dst", "arp.spa", "arp.tpa"))
_IP6: Final = frozenset(("ip6.src", "ip6.dst", "nd.target"))


def is_register(root: str) -> bool:
    """Whether OVN keeps the field in a register: no packet shows it."""
    return root in ("inport", "outport", "flags") or root.lstrip("x").startswith("reg")


def written(field: nodes.Field) -> str:
    """The field: reg0, tcp.src, ip4.dst[0..7], reg9[3]."""
    symbol = SYMBOLS[field.name]
    low = field.offset - symbol.offset
    if field.width == symbol.width:
        return field.name
    if field.width == 1:
        return f"{field.name}[{low}]"
    return f"{field.name}[{low}..{low + field.width - 1}]"


def number(value: int) -> str:
    """As Open vSwitch's ds_put_hex() has it."""
    return hex(value) if value else "0"


def formatted(field: nodes.Field, value: int) -> str:
    """What the field, as the source of a move, holds."""
    root = field.root
    if is_register(root) or field.offset or field.width < SYMBOLS[root].width:
        return number(value)
    if root in _MACS:
        return mac(value)
    if root in _IP4:
        return str(ipaddress.IPv4Address(value))
    if root in _IP6:
        return ip6(value)
    if root == "tcp.flags":
        return flags(value)
    if root == "ip.frag":
        return FRAGMENTS[value]
    return str(value) if root in _DECIMAL else number(value)
