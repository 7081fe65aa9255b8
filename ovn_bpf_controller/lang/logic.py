# SPDX-License-Identifier: Apache-2.0
"""AND, OR and NOT on match trees, keeping them flat and in normal form.

Used wherever a tree is built: `expr`, `actions` and the compiler, which ANDs
a match with the prerequisites of its actions.
"""

from __future__ import annotations

from collections.abc import Iterable

from ovn_bpf_controller.lang.nodes import (
    FALSE,
    TRUE,
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

INVERSE = {
    Relop.EQ: Relop.NE,
    Relop.NE: Relop.EQ,
    Relop.LT: Relop.GE,
    Relop.GE: Relop.LT,
    Relop.LE: Relop.GT,
    Relop.GT: Relop.LE,
}


def conjunction(parts: Iterable[Expr]) -> Expr:
    """AND, flattened, without duplicates and constants."""
    args: dict[Expr, None] = {}
    for part in parts:
        if isinstance(part, And):
            args.update(dict.fromkeys(part.args))
        elif not isinstance(part, Bool):
            args[part] = None
        elif not part.value:
            return FALSE
    if len(args) < 2:
        return next(iter(args), TRUE)
    return And(tuple(args))


def disjunction(parts: Iterable[Expr]) -> Expr:
    """OR, flattened, without duplicates and constants."""
    args: dict[Expr, None] = {}
    for part in parts:
        if isinstance(part, Or):
            args.update(dict.fromkeys(part.args))
        elif not isinstance(part, Bool):
            args[part] = None
        elif part.value:
            return TRUE
    if len(args) < 2:
        return next(iter(args), FALSE)
    return Or(tuple(args))


def negate(expr: Expr) -> Expr:
    """The opposite truth value, in negation normal form.

    This negates prerequisites like everything else: right for predicates,
    wrong for a comparison under `!`, which the parser therefore inverts first.
    """
    if isinstance(expr, Cmp):
        inverse = INVERSE[expr.relop]
        return Cmp(expr.root, expr.offset, expr.width, inverse, expr.value, expr.mask)
    if isinstance(expr, And):
        return disjunction(negate(arg) for arg in expr.args)
    if isinstance(expr, Or):
        return conjunction(negate(arg) for arg in expr.args)
    if isinstance(expr, Bool):
        return Bool(not expr.value)
    if isinstance(expr, Resident):
        return Resident(expr.lport, not expr.negated)
    if isinstance(expr, PortCmp):
        return PortCmp(expr.root, INVERSE[expr.relop], expr.port)
    if isinstance(expr, PortGroupRef):
        return PortGroupRef(expr.root, INVERSE[expr.relop], expr.name)
    inverse = INVERSE[expr.relop]
    return SetRef(expr.root, expr.offset, expr.width, inverse, expr.name, expr.prereqs)
