# SPDX-License-Identifier: Apache-2.0
"""Which literals of a match are free: their value decides nothing but itself.

compile.templates asks once a shape.  It is found out by trying: a literal is changed,
and if just the value of one comparison changes with it, and nothing that must hold
together with that looks at the same bits, it is free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ovn_bpf_controller.compile.layout import _CUTS as CUTS
from ovn_bpf_controller.compile.literals import GROUP, STRING, WIDTHS, Text, another
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.normal import MatchEnv
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.sets import dimension, listed, whole_address
from ovn_bpf_controller.plaindata import NamedTuple, replace


class Hole(NamedTuple):
    """A free literal.  width: of its field, of a set's addresses, or 0."""

    literal: int
    kind: object
    width: int
    mask: int
    root: str
    offset: int

    def value(self, value: int | str, names: MatchEnv) -> int | None:
        """What to fill in; None when it does not fit, or names nothing."""
        if isinstance(value, int):
            return None if value >> self.width else value & self.mask
        return number_of(value, self.kind, self.width, names)


def number_of(name: str, kind: object, width: int, names: MatchEnv) -> int | None:
    """What stands for a port, a group or a set of addresses of `width` bits."""
    if kind is STRING:
        return names.port_key(name)
    if kind == GROUP:
        return names.group_number(name)
    return names.set_number(name, width)


class _Leaf(NamedTuple):
    """A comparison.  path: (is it an Or, which of its parts) from the root down."""

    expr: nodes.Expr
    path: tuple[tuple[bool, int], ...]
    looks: dict[int, int]  # bits by word


def _leaves(expr: nodes.Expr, path: tuple[tuple[bool, int], ...] = ()) -> Iterator[_Leaf]:
    if isinstance(expr, nodes.And | nodes.Or):
        for n, arg in enumerate(expr.args):
            yield from _leaves(arg, (*path, (isinstance(expr, nodes.Or), n)))
    else:
        yield _Leaf(expr, path, _words(expr))


def _alternatives(a: _Leaf, b: _Leaf) -> bool:
    """Whether no conjunction has both."""
    for (either, n), (_, m) in zip(a.path, b.path, strict=False):
        if n != m:
            return either
    return False


def _skeleton(expr: nodes.Expr) -> object:
    """The tree without its leaves."""
    if isinstance(expr, nodes.And | nodes.Or):
        return (type(expr).__name__, *[_skeleton(arg) for arg in expr.args])
    return None


def _words(leaf: nodes.Expr) -> dict[int, int]:
    """The bits of packet words that a leaf looks at, as far as whole fields go."""
    if isinstance(leaf, nodes.SetRef | nodes.PortGroupRef):
        roots = {dimension(leaf), leaf.root}
    elif isinstance(leaf, nodes.PortCmp):
        roots = {leaf.root}
    elif isinstance(leaf, nodes.Cmp):
        roots = {piece.root for piece in pieces(leaf.root, leaf.offset, leaf.width)}
    else:
        return {}
    found: dict[int, int] = {}
    for root in roots:
        for word, _, ones, shift in CUTS.get(root, ()):
            found[word] = found.get(word, 0) | ones << shift
    return found


def _only_value(old: nodes.Expr, new: nodes.Expr) -> bool:
    """Whether two comparisons look at the same bits, in the same way."""
    if isinstance(old, nodes.Cmp) and isinstance(new, nodes.Cmp):
        return replace(old, value=new.value) == new
    if isinstance(old, nodes.PortCmp) and isinstance(new, nodes.PortCmp):
        return replace(old, port=new.port) == new
    if isinstance(old, nodes.SetRef) and isinstance(new, nodes.SetRef):
        return replace(old, name=new.name) == new
    if isinstance(old, nodes.PortGroupRef) and isinstance(new, nodes.PortGroupRef):
        return replace(old, name=new.name) == new
    return False


def _hole(index: int, text: Text, leaf: nodes.Expr) -> Hole | None:
    """A literal that is just the value of `leaf`, if it is."""
    kind, value = text.values[index]
    if isinstance(leaf, nodes.SetRef | nodes.PortGroupRef):
        width = leaf.width if isinstance(leaf, nodes.SetRef) else 0
        root = dimension(leaf)
        return Hole(index, kind, width, 0xFFFFFFFF, root, 0) if root else None
    if isinstance(leaf, nodes.PortCmp):
        if leaf.relop is nodes.Relop.EQ and leaf.port == value:
            return Hole(index, kind, 0, 0xFFFFFFFF, leaf.root, 0)
        return None
    if not isinstance(leaf, nodes.Cmp) or leaf.relop is not nodes.Relop.EQ:
        return None
    if not isinstance(value, int) or value & leaf.mask != leaf.value:
        return None
    masked = text.parts[index + 1].startswith("/")
    if masked and kind not in WIDTHS:
        return None  # in 0/0xff the zero means something
    width = WIDTHS.get(kind, leaf.width)  # type: ignore[call-overload]
    return Hole(index, kind, min(width, leaf.width), leaf.mask, leaf.root, leaf.offset)


def free_literals(
    match: str, text: Text, parse: Callable[[str], nodes.Expr]
) -> tuple[list[Hole], list[int]]:
    """The free literals, and those that only name a port whose residency counts."""
    tree = parse(match)
    if _set_without_name(tree):  # what number it gets is the compiler's
        return [], []
    leaves = list(_leaves(tree))
    skeleton = _skeleton(tree)
    free, residents = [], []
    for index, value in enumerate(text.values):
        other = another(value)
        if other is None:
            continue
        try:
            tree = parse(text.with_literal(index, other))
        except OvnBpfError:
            continue
        if _skeleton(tree) != skeleton:
            continue
        varied = [leaf.expr for leaf in _leaves(tree)]
        changed = [n for n, leaf in enumerate(leaves) if leaf.expr != varied[n]]
        if len(changed) != 1:
            continue
        leaf = leaves[changed[0]]
        if isinstance(leaf.expr, nodes.Resident):
            residents.append(index)
        elif _only_value(leaf.expr, varied[changed[0]]) and leaf.looks:
            hole = _hole(index, text, leaf.expr)
            if hole is not None and _alone(leaf, leaves):
                free.append(hole)
    return free, residents


def _alone(leaf: _Leaf, leaves: Sequence[_Leaf]) -> bool:
    """Whether nothing that must hold together with it looks at its bits."""
    return not any(
        bits & leaf.looks.get(word, 0)
        for other in leaves
        if other is not leaf and not _alternatives(other, leaf)
        for word, bits in other.looks.items()
    )


def _set_without_name(expr: nodes.Expr) -> bool:
    """Whether a long list, or a range of addresses, may become a set."""
    if isinstance(expr, nodes.Cmp):
        where = (expr.root, expr.offset, expr.width)
        return expr.relop is not nodes.Relop.EQ and bool(whole_address(where))
    if listed(expr):
        return True
    return isinstance(expr, nodes.And | nodes.Or) and any(map(_set_without_name, expr.args))
