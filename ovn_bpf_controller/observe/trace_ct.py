# SPDX-License-Identifier: Apache-2.0
"""Stateful actions in a trace: what --ct says, and what is told of each.

observe.trace_command parses with it, trace_walk words with it.  Syntax and titles
are ovn-trace's (OVN's utilities/ovn-trace.c, OVS's lib/flow.c); where the tracker
itself answered, the title says what it did.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.observe.microflow import MicroflowError

# In the order of their bits, as Open vSwitch prints them.
FLAGS: Final = {
    "new": lib.OVN_CS_NEW,
    "est": lib.OVN_CS_EST,
    "rel": lib.OVN_CS_REL,
    "rpl": lib.OVN_CS_RPL,
    "inv": lib.OVN_CS_INV,
    "trk": lib.OVN_CS_TRK,
    "snat": lib.OVN_CS_SNAT,
    "dnat": lib.OVN_CS_DNAT,
}
_DEFAULT: Final = " /* default (use --ct to customize) */"
_NAT: Final[dict[type[nodes.Action], tuple[str, str]]] = {
    nodes.CtDnat: ("ct_dnat", "dst"),
    nodes.CtSnat: ("ct_snat", "src"),
    nodes.CtDnatInCzone: ("ct_dnatin_czone", "dst"),  # as ovn-trace spells it
    nodes.CtSnatInCzone: ("ct_snatin_czone", "src"),
}


def parse_state(text: str) -> int:
    """The bits of one --ct option.  Raises MicroflowError for an unknown flag."""
    state = int(lib.OVN_CS_TRK)
    for name in re.split(r"[, ]+", text.strip(", ")):
        if name and name not in FLAGS:
            raise MicroflowError(f"{name}: unknown connection tracking state flag")
        state |= FLAGS.get(name, 0)
    return state


def format_state(state: int) -> str:
    """Bits as text: "est|trk"."""
    return "|".join(name for name, bit in FLAGS.items() if state & bit) or "0"


def parse_backend(text: str) -> tuple[tuple[int, ...], int]:
    """--lb-dst: the address as four words (IPv4 as ::ffff:a.b.c.d), and the port or 0.

    Raises MicroflowError.
    """
    found = re.fullmatch(r"\[(?P<ip6>[^]]*)\](?::(?P<p6>\d+))?|(?P<ip>[^:]*)(?::(?P<p>\d+))?", text)
    address = (found["ip6"] or found["ip"] or "") if found else text
    port = int((found["p6"] or found["p"] or "0") if found else 0)
    try:
        ip = ipaddress.ip_address(address)
    except ValueError as error:
        raise MicroflowError(f"{text}: bad address") from error
    if port > 0xFFFF:
        raise MicroflowError(f"{text}: bad port")
    value = int(ip) if ip.version == 6 else 0xFFFF << 32 | int(ip)
    return tuple(value >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)), port


def takes_state(insn: Insn, state: int) -> bool:
    """Whether an OP_CT takes the next --ct, as csrc/bpf/ct_trace.h decides it.

    state: ct_state before.
    """
    if insn.a & lib.OVN_CT_KEEP:
        return False
    if not insn.a & (lib.OVN_CT_COMMIT | lib.OVN_CT_NAT):
        return True
    return bool(insn.a & lib.OVN_CT_BALANCE or not state & lib.OVN_CS_TRK)


def title(
    action: nodes.Action | None, before: Sequence[int], after: Sequence[int], answer: str
) -> str:
    """What a stateful action did.  before, after: the contexts.

    answer: "live", "given", "default", or "" when no state was asked for.
    """
    state = f"ct_state={format_state(after[lib.OW_CT_STATE])}"
    default = _DEFAULT if answer == "default" else ""
    changes = ", ".join(_changes(before, after))
    if isinstance(action, nodes.CtNext) or action is None:
        return f"ct_next({state}{default})"
    if isinstance(action, nodes.CtCommitToZone):
        return f"ct_commit_to_zone({action.zone}){default}"
    if isinstance(action, nodes.CtCommitNat):
        return _told("ct_commit_nat", "nat", changes, state, answer) + default
    if isinstance(action, nodes.CtNat):
        name, side = _NAT[type(action)]
        if action.ip is not None:
            address = ipaddress.ip_address(action.ip) if action.family == 4 else None
            address = address or ipaddress.IPv6Address(action.ip)
            return f"{name}(ip{action.family}.{side}={address}){default}"
        return _told(name, f"{side[0]}nat", changes, state, answer) + default
    name = "ct_lb_mark" if isinstance(action, nodes.CtLbMark) else "ct_lb"
    if isinstance(action, nodes.CtLbMarkLocal):
        name = "ct_lb_mark_local"
    if answer == "live":
        return f"{name} /* {', '.join(filter(None, (state, changes)))} */"
    return name + default


def _told(name: str, nat: str, changes: str, state: str, answer: str) -> str:
    if answer == "live":
        return f"{name} /* {', '.join(filter(None, (state, changes)))} */"
    return f"{name} /* assuming no un-{nat} entry, so no change */"


def _changes(before: Sequence[int], after: Sequence[int]) -> list[str]:
    """Addresses and ports that differ."""
    found = []
    for name, word in (("src", lib.OW_IP_SRC), ("dst", lib.OW_IP_DST)):
        if before[word : word + 4] != after[word : word + 4]:
            value = 0
            for each in after[word : word + 4]:
                value = value << 32 | each
            version4 = after[lib.OW_ETH_TYPE] >> 16 == 0x0800
            ip = ipaddress.IPv4Address(value) if version4 else ipaddress.IPv6Address(value)
            found.append(f"ip{4 if version4 else 6}.{name}={ip}")
    if before[lib.OW_L4_PORTS] != after[lib.OW_L4_PORTS]:
        ports = after[lib.OW_L4_PORTS]
        found.append(f"ports={ports >> 16}:{ports & 0xFFFF}")
    return found
