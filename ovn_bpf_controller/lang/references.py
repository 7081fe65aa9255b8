# SPDX-License-Identifier: Apache-2.0
"""What a match or an action list depends on besides the packet.

The compiler indexes flows by these names, so that a change of a port, set,
group or residency touches only the flows that mention it.
"""

from __future__ import annotations

from typing import Any

from ovn_bpf_controller.lang.nodes import (
    Action,
    And,
    BindVport,
    CtLbMarkLocal,
    Expr,
    FwdGroup,
    Load,
    Mirror,
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


def _named_ports(action: Action) -> tuple[str, ...]:
    if isinstance(action, Load):
        return (action.value,) if isinstance(action.value, str) else ()
    if isinstance(action, FwdGroup):
        return action.ports
    if isinstance(action, BindVport):
        return (action.vport,)
    if isinstance(action, Mirror):
        return (action.port,)
    if isinstance(action, CtLbMarkLocal):
        return tuple(b.lport for b in action.backends if b.lport)
    return ()


def action_ports(actions: tuple[Action, ...]) -> frozenset[str]:
    """Port and multicast group names in the actions, nested ones included.

    "" (no port) is left out.
    """
    ports: set[str] = set()
    stack: list[Action] = list(actions)
    while stack:
        action = stack.pop()
        ports.update(name for name in _named_ports(action) if name)
        nested: Any = getattr(action, "actions", ())
        stack.extend(nested)
    return frozenset(ports)
