# SPDX-License-Identifier: Apache-2.0
"""Exclusions that stand side by side, written out as the ways to meet them all.

`!(A && B) && !(C && D)` over sets is two lists of thousands of prefixes; their product
is tens of millions.  As `(!A && !C) || (!A && !D) || ...` each way is an intersection of
ranges on a field or two, of which `normal` makes sets.  It asks here first.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Final

from ovn_bpf_controller.lang.logic import conjunction, disjunction
from ovn_bpf_controller.lang.nodes import And, Cmp, Expr, Or, Relop, SetRef
from ovn_bpf_controller.lang.sets import ADDRESSES, flat

MAX_WAYS: Final = 64


def excludes(expr: Expr) -> bool:
    """Whether what expr says of a set or an address is that something is not it."""
    if isinstance(expr, And | Or):
        return any(map(excludes, expr.args))
    if isinstance(expr, Cmp):
        return expr.relop is Relop.NE and expr.root in ADDRESSES
    return isinstance(expr, SetRef) and expr.relop is Relop.NE


def names_sets(expr: Expr) -> bool:
    """Whether expr says of anything that it is no member of a set."""
    if isinstance(expr, And | Or):
        return any(map(names_sets, expr.args))
    return isinstance(expr, SetRef) and expr.relop is Relop.NE


def written_out(expr: Expr) -> Expr:
    """expr, with choices between exclusions distributed if there are several."""
    if not isinstance(expr, And):
        return expr
    args = flat(expr)
    exclusions = [arg for arg in args if excludes(arg)]
    choices = [arg for arg in exclusions if isinstance(arg, Or)]
    if not choices or len(exclusions) < 2 or not any(map(names_sets, exclusions)):
        return expr
    if prod(len(each.args) for each in choices) > MAX_WAYS:
        return expr
    rest = [arg for arg in args if not any(arg is each for each in choices)]
    ways = product(*(each.args for each in choices))
    return disjunction(conjunction((*rest, *way)) for way in ways)
