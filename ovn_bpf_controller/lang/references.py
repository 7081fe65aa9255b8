# SPDX-License-Identifier: Apache-2.0
"""What a match depends on besides the packet.

The compiler indexes flows by these names, so that a change of a port, set,
group or residency touches only the flows that mention it.
"""

from __future__ import annotations

from ovn_bpf_controller.lang.nodes import (
    And,
    Expr,
    Or,
    PortCmp,
    PortGroupRef,
    Resident,
    SetRef,
)
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class References:
    """Names in a match: ports by inport, outport; sets and groups without sigil."""

    ports: frozenset[str]
    address_sets: frozenset[str]
    port_groups: frozenset[str]
    residents: frozenset[str]


def references(expr: Expr) -> References:
    """Everything that the truth of expr depends on outside the packet."""
    ports: set[str] = set()
    sets: set[str] = set()
    groups: set[str] = set()
    residents: set[str] = set()
    stack = [expr]
    while stack:
        node = stack.pop()
        if isinstance(node, And | Or):
            stack.extend(node.args)
        elif isinstance(node, PortCmp):
            ports.add(node.port)
        elif isinstance(node, SetRef):
            sets.add(node.name)
        elif isinstance(node, PortGroupRef):
            groups.add(node.name)
        elif isinstance(node, Resident):
            residents.add(node.lport)
    return References(frozenset(ports), frozenset(sets), frozenset(groups), frozenset(residents))
