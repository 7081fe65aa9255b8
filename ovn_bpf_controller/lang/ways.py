# SPDX-License-Identifier: Apache-2.0
"""Exclusions that stand side by side, written out as the ways to meet them all.

`!(A && B) && !(C && D)` over sets is two lists of thousands of prefixes; their product
is tens of millions.  As `(!A && !C) || (!A && !D) || ...` each way is an intersection of
ranges on a field or two, of which `normal` makes sets.  It asks here first, and once
more for every choice there is (`ways`) if what it found takes hundreds of masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Final

from ovn_bpf_controller.lang.intervals import is_prefix
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


def ways(expr: Expr) -> Expr | None:
    """expr as an OR of the ways to meet all exclusions and ranges in it.

    In each way a field is confined once, so that a set can be made of what is left.
    None if there is but one way, or more than MAX_WAYS.
    """
    for cut in (True, False):
        count = _count(expr, cut)
        if 1 < count <= MAX_WAYS:
            return disjunction(_ways(expr, cut))
    return None


def _confines(expr: Expr) -> bool:
    """Whether anything in expr is an exclusion or a range."""
    if isinstance(expr, And | Or):
        return any(map(_confines, expr.args))
    if isinstance(expr, Cmp):
        return expr.relop is not Relop.EQ and expr.width > 1
    return isinstance(expr, SetRef) and expr.relop is Relop.NE


def _count(expr: Expr, cut: bool) -> int:
    """How many _ways() there are."""
    if not _confines(expr):
        return 1
    if isinstance(expr, And):
        return prod(_count(arg, cut) for arg in expr.args)
    if isinstance(expr, Or):
        confining = [arg for arg in expr.args if _confines(arg)]
        return sum(_count(arg, cut) for arg in confining) + (len(confining) < len(expr.args))
    return len(list(_runs(expr))) if cut and isinstance(expr, Cmp) else 1


def _ways(expr: Expr, cut: bool) -> list[Expr]:
    """See ways().  cut: the runs of ones of an excluded mask are ways of their own."""
    if not _confines(expr):
        return [expr]
    if isinstance(expr, And):
        return [*map(conjunction, product(*(_ways(arg, cut) for arg in expr.args)))]
    if isinstance(expr, Or):
        others = [arg for arg in expr.args if not _confines(arg)]
        found = [disjunction(others)] if others else []
        return found + [way for arg in expr.args if _confines(arg) for way in _ways(arg, cut)]
    return list(_runs(expr)) if cut and isinstance(expr, Cmp) else [expr]


def _runs(cmp: Cmp) -> Iterator[Expr]:
    """`!= value/mask` as alternatives, one for each run of ones in the mask.

    The one at the top of the field stays a prefix of it; others are subfields.
    """
    if cmp.relop is not Relop.NE or is_prefix(cmp.mask, cmp.width):
        yield cmp
        return
    low = 0
    while rest := cmp.mask >> low:
        low += (rest & -rest).bit_length() - 1
        rest = cmp.mask >> low
        size = (~rest & rest + 1).bit_length() - 1
        ones = (1 << size) - 1
        if low + size == cmp.width:
            mask = ones << low
            yield Cmp(cmp.root, cmp.offset, cmp.width, Relop.NE, cmp.value & mask, mask)
        else:
            value = cmp.value >> low & ones
            yield Cmp(cmp.root, cmp.offset + low, size, Relop.NE, value, ones)
        low += size
