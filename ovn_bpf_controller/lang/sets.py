# SPDX-License-Identifier: Apache-2.0
"""Which references to sets may stay sets, for `normal`.

A packet knows all the sets that its address is a member of, but a conjunction can
ask for one of them only: two numbers in one field look like a contradiction.  So of
the conjuncts of an AND one keeps a field's sets, and the others are expanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from ovn_bpf_controller.lang.nodes import And, Expr, Or, PortGroupRef, Relop, SetRef

# Field whose value is looked up -> field that has the number of a set.
DIMENSIONS: Final = {
    "ip4.src": "set.src",
    "ip6.src": "set.src",
    "ip4.dst": "set.dst",
    "ip6.dst": "set.dst",
    "inport": "set.inport",
    "outport": "set.outport",
}
_WIDTHS: Final = {"ip4.src": 32, "ip4.dst": 32, "ip6.src": 128, "ip6.dst": 128}

Barred: TypeAlias = frozenset[str]  # fields of numbers

NOTHING: Final[Barred] = frozenset()
ALL: Final[Barred] = frozenset(DIMENSIONS.values())


def dimension(ref: SetRef | PortGroupRef) -> str:
    """The field with the number of ref's set; "" for what is always expanded."""
    if ref.relop is not Relop.EQ:
        return ""
    if isinstance(ref, SetRef) and _WIDTHS.get(ref.root) != ref.width:
        return ""
    return DIMENSIONS.get(ref.root, "")


def refs(expr: Expr) -> Iterator[SetRef | PortGroupRef]:
    """All references to sets and groups in expr."""
    if isinstance(expr, SetRef | PortGroupRef):
        yield expr
    elif isinstance(expr, And | Or):
        for arg in expr.args:
            yield from refs(arg)


def flat(expr: Expr) -> tuple[Expr, ...]:
    """The conjuncts of expr."""
    if not isinstance(expr, And):
        return (expr,)
    if not any(isinstance(arg, And) for arg in expr.args):
        return expr.args
    return tuple(part for arg in expr.args for part in flat(arg))


def shares(args: Sequence[Expr], barred: Barred) -> Iterator[tuple[Expr, Barred]]:
    """Conjuncts, each with the fields whose sets it must expand."""
    taken = barred
    for arg in args:
        yield arg, taken
        if isinstance(arg, SetRef | PortGroupRef | And | Or):
            found = frozenset(filter(None, map(dimension, refs(arg))))
            taken |= found
