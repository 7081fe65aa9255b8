# SPDX-License-Identifier: Apache-2.0
"""Which references to sets may stay sets, for `normal`.

A packet knows all the sets that its address is a member of, but a conjunction can
ask for one of them only: two numbers in one field look like a contradiction.  So of
the conjuncts of an AND one keeps a field's sets, and the others are expanded.  A long
list of addresses becomes a set without a name where it would multiply with others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from math import prod
from typing import Final, TypeAlias

from ovn_bpf_controller.lang.intervals import is_prefix
from ovn_bpf_controller.lang.nodes import And, Cmp, Expr, Or, PortGroupRef, Relop, SetRef

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
ADDRESSES: Final = frozenset(_WIDTHS)

# A list of at least so many addresses may become a set, if otherwise there were more
# than so many combinations.
MIN_LIST: Final = 8
MAX_PRODUCT: Final = 64
# Above so many combinations it is worth while to look whether members are fewer.
MANY: Final = 256

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


def listed(expr: Expr) -> str:
    """The field that a list of addresses is about; "" for what is no long one."""
    if not isinstance(expr, Or) or len(expr.args) < MIN_LIST:
        return ""
    first = expr.args[0]
    if not isinstance(first, Cmp) or first.root not in _WIDTHS:
        return ""
    width = _WIDTHS[first.root]
    plain = all(
        isinstance(arg, Cmp)
        and (arg.root, arg.width, arg.relop) == (first.root, width, Relop.EQ)
        and is_prefix(arg.mask, width)
        for arg in expr.args
    )
    return first.root if plain else ""


def content(expr: Or) -> tuple[str, int]:
    """A list's name as a set, made of its members, and the width of its addresses."""
    found = set()
    width = 0
    for arg in expr.args:
        assert isinstance(arg, Cmp)
        width = arg.width
        address = ipaddress.IPv4Address if width == 32 else ipaddress.IPv6Address
        found.add(f"{address(arg.value)}/{arg.mask.bit_count()}")
    return "{" + ",".join(sorted(found)) + "}", width


def whole_address(subfield: tuple[str, int, int]) -> str:
    """The field with the number of sets of this one's values, "" if there is none."""
    root, offset, width = subfield
    return DIMENSIONS[root] if not offset and _WIDTHS.get(root) == width else ""


def named_members(name: str) -> list[str] | None:
    """The members that content() made the name of; None for an address set's name."""
    return name[1:-1].split(",") if name.startswith("{") else None


def combinations(expr: Expr) -> int:
    """About how many conjunctions expr is, sets counted as one."""
    if isinstance(expr, Or):
        return sum(map(combinations, expr.args))
    return prod(map(combinations, expr.args)) if isinstance(expr, And) else 1


def dimensions(expr: Expr) -> Iterator[str]:
    """Fields of numbers that expr may come to ask for."""
    if isinstance(expr, SetRef | PortGroupRef):
        yield dimension(expr)
    elif root := listed(expr):
        yield DIMENSIONS[root]
    elif isinstance(expr, And | Or):
        for arg in expr.args:
            yield from dimensions(arg)


def ways_to_bar(expr: Expr) -> list[Barred]:
    """Fields of numbers without which expr may be expanded, if it asks for any."""
    asked = sorted(set(filter(None, dimensions(expr))))
    return [ALL, *(frozenset({field}) for field in asked)] if asked else []


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
            taken |= frozenset(filter(None, dimensions(arg)))
