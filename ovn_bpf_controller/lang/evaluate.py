# SPDX-License-Identifier: Apache-2.0
"""Direct truth of a match for one packet: slow, obvious, and right.

The yardstick of `normal` and of the compiler's rules in the property tests,
and an explanation of single flows for operators.  It shares nothing with
`normal` but the tree and the members of sets.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.nodes import (
    And,
    Bool,
    Cmp,
    Expr,
    Or,
    PortCmp,
    PortGroupRef,
    Relop,
    Resident,
    SetRef,
)
from ovn_bpf_controller.lang.normal import Conj, MatchEnv, set_members
from ovn_bpf_controller.lang.registers import pieces

_TESTS: dict[Relop, Callable[[int, int], bool]] = {
    Relop.EQ: operator.eq,
    Relop.NE: operator.ne,
    Relop.LT: operator.lt,
    Relop.LE: operator.le,
    Relop.GT: operator.gt,
    Relop.GE: operator.ge,
}

Packet = Mapping[str, int]  # root field (registers as reg0..reg9) to value


def field_value(packet: Packet, root: str, offset: int, width: int) -> int:
    """Bits of a root field, also of xreg and xxreg; absent fields are 0."""
    value = 0
    for name, low, size, shift in pieces(root, offset, width):
        value |= (packet.get(name, 0) >> low & ((1 << size) - 1)) << shift
    return value


def evaluate(expr: Expr, packet: Packet, env: MatchEnv) -> bool:
    """Whether a packet satisfies expr.

    Raises LangError for a set or group that does not exist, as
    normal.disjuncts() does.
    """
    if isinstance(expr, And):
        return all(evaluate(arg, packet, env) for arg in expr.args)
    if isinstance(expr, Or):
        return any(evaluate(arg, packet, env) for arg in expr.args)
    if isinstance(expr, Cmp):
        value = field_value(packet, expr.root, expr.offset, expr.width)
        return _TESTS[expr.relop](value & expr.mask, expr.value)
    if isinstance(expr, SetRef):
        return _in_set(expr, packet, env)
    if isinstance(expr, PortCmp):
        key = env.port_key(expr.port)
        return key is not None and _TESTS[expr.relop](field_value(packet, expr.root, 0, 32), key)
    if isinstance(expr, PortGroupRef):
        return _in_group(expr, packet, env)
    if isinstance(expr, Resident):
        return env.is_resident(expr.lport) != expr.negated
    assert isinstance(expr, Bool)
    return expr.value


def _in_set(ref: SetRef, packet: Packet, env: MatchEnv) -> bool:
    members = set_members(ref, env)
    value = field_value(packet, ref.root, ref.offset, ref.width)
    found = any(value & mask == wanted for wanted, mask in members)
    if ref.relop is Relop.EQ:
        return found
    return not members or (not found and evaluate(ref.prereqs, packet, env))


def _in_group(ref: PortGroupRef, packet: Packet, env: MatchEnv) -> bool:
    ports = env.port_group(ref.name)
    if ports is None:
        raise LangError("port group does not exist", f"@{ref.name}", 0)
    value = field_value(packet, ref.root, 0, 32)
    found = any(env.port_key(port) == value for port in ports)
    return found == (ref.relop is Relop.EQ)


def conj_holds(conj: Conj, packet: Packet) -> bool:
    """Whether a packet satisfies one conjunction of normal.disjuncts()."""
    return all(packet.get(root, 0) & mask == value for root, value, mask in conj)
