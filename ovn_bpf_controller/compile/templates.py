# SPDX-License-Identifier: Apache-2.0
"""Logical flows by their shape: one compilation a shape, then literals are filled in.

compile.flow asks here before it parses.  150,000 matches of a large Southbound
are a hundred texts once their numbers, addresses and names are taken out.  A
literal is free only if no other part of its match looks at the same bits, so that
its value can decide nothing but itself; every doubt, and whatever a set or group
decides, is left to the parser (None here).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from ovn_bpf_controller.compile.layout import _CUTS as CUTS
from ovn_bpf_controller.compile.layout import Key
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.lexer import ConstantError, parse_constant
from ovn_bpf_controller.lang.nodes import Format
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.sets import may_ask

# As lang.lexer reads constants, but without a mask: masks stay in the template.
_LITERAL: Final = re.compile(
    r"""("[^"\\]*"|(?<![\w.$@/])(?=[0-9]|::|[0-9a-fA-F]+:)"""
    r"""[0-9A-Za-z:]*(?:\.(?!\.)[0-9A-Za-z]*)*)"""
)
# Variables, IPv6 masks, escapes: not worth a template.
_ODD: Final = re.compile(r"//|\^|\\|/[0-9a-fA-F]*:")
STRING: Final = "string"
PLANS: Final = 64  # per shape: how many combinations of other literals are worth one
SHAPES: Final = 4096
_WIDTHS: Final = {Format.IP4: 32, Format.IP6: 128, Format.ETH: 48}

Literal = tuple[object, int | str]  # Format or STRING, value


class Names(Protocol):
    """compile.flow's view of one datapath."""

    def port_key(self, lport: str) -> int | None:
        """Tunnel key of a port, None if there is none."""

    def is_resident(self, lport: str) -> bool:
        """is_chassis_resident()."""


class Text(NamedTuple):
    """A text taken apart: parts[i] stands before literal i."""

    parts: tuple[str, ...]
    literals: tuple[str, ...]
    values: tuple[Literal, ...]

    def with_literal(self, index: int, text: str) -> str:
        """The text with another literal."""
        literals = [*self.literals[:index], text, *self.literals[index + 1 :], ""]
        return "".join(p + q for p, q in zip(self.parts, literals, strict=True))


@lru_cache(maxsize=1 << 16)
def _value(text: str) -> Literal | None:
    if text[0] == '"':
        return STRING, text[1:-1]
    try:
        const = parse_constant(text)
    except ConstantError:
        return None
    assert isinstance(const.value, int)
    return const.format, const.value


def take_apart(text: str) -> Text | None:
    """The literals of a match or of actions; None for texts that have no template."""
    if _ODD.search(text):
        return None
    pieces_ = _LITERAL.split(text)
    values = [_value(literal) for literal in pieces_[1::2]]
    known = tuple([value for value in values if value is not None])
    if len(known) != len(values):
        return None
    return Text(tuple(pieces_[::2]), tuple(pieces_[1::2]), known)


def another(value: Literal, mask: int = 0) -> str | None:
    """A literal of the same kind with another value; mask: the bits to turn over."""
    kind, number = value
    if isinstance(number, str):
        return f'"{number}\'"' if number else None
    if not mask:
        mask = 1 << _WIDTHS[kind] - 1 if kind in _WIDTHS else 1
    number ^= mask
    if kind is Format.IP4:
        return str(ipaddress.IPv4Address(number))
    if kind is Format.IP6:
        return str(ipaddress.IPv6Address(number))
    if kind is Format.ETH:
        return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))
    return f"{number:#x}" if kind is Format.HEX else str(number)


class _Slot(NamedTuple):
    """Where a literal goes: word `at` gets (value & mask) >> pos & ones, << shift."""

    at: int
    pos: int
    ones: int
    shift: int


class _Hole(NamedTuple):
    """A free literal.  width: of its field, 0 for a port's name."""

    literal: int
    width: int
    mask: int
    root: str
    offset: int


class _Plan(NamedTuple):
    """A template's keys, with what is to be filled in for each."""

    holes: tuple[_Hole, ...]
    keys: tuple[tuple[Key, tuple[tuple[int, tuple[_Slot, ...]], ...]], ...]

    def fill(self, text: Text, names: Names) -> tuple[Key, ...] | None:
        """The keys of an instance; None when a value does not fit."""
        values = []
        for index, width, mask, _, _ in self.holes:
            value = text.values[index][1]
            if isinstance(value, str):
                port = names.port_key(value)
                if port is None:
                    return None
                value = port
            elif value >> width:
                return None
            values.append(value & mask)
        found = []
        for key, holes in self.keys:
            if not holes:
                found.append(key)
                continue
            words = list(key.values)
            for number, slots in holes:
                value = values[number]
                for at, pos, ones, shift in slots:
                    words[at] |= (value >> pos & ones) << shift
            found.append(Key(key.mask, tuple(words)))
        return tuple(found)


def _leaves(expr: nodes.Expr) -> Iterator[nodes.Expr]:
    if isinstance(expr, nodes.And | nodes.Or):
        for arg in expr.args:
            yield from _leaves(arg)
    else:
        yield expr


def _skeleton(expr: nodes.Expr) -> object:
    """The tree without its leaves."""
    if isinstance(expr, nodes.And | nodes.Or):
        return (type(expr).__name__, *[_skeleton(arg) for arg in expr.args])
    return None


def _words(leaf: nodes.Expr) -> dict[int, int]:
    """The bits of packet words that a leaf looks at, as far as whole fields go."""
    if isinstance(leaf, nodes.PortCmp):
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
    return False


def _hole(index: int, text: Text, leaf: nodes.Expr) -> _Hole | None:
    """A literal that is just the value of `leaf`, if it is."""
    kind, value = text.values[index]
    if isinstance(leaf, nodes.PortCmp):
        if leaf.relop is nodes.Relop.EQ and leaf.port == value:
            return _Hole(index, 0, 0xFFFFFFFF, leaf.root, 0)
        return None
    if not isinstance(leaf, nodes.Cmp) or leaf.relop is not nodes.Relop.EQ:
        return None
    if not isinstance(value, int) or value & leaf.mask != leaf.value:
        return None
    masked = text.parts[index + 1].startswith("/")
    if masked and kind not in _WIDTHS:
        return None  # in 0/0xff the zero means something
    width = _WIDTHS.get(kind, leaf.width)  # type: ignore[call-overload]
    return _Hole(index, min(width, leaf.width), leaf.mask, leaf.root, leaf.offset)


class Matches:
    """Templates of matches.

    compile(text, names): the keys of a match together with given prerequisites,
    by the parser.  parse(text): its tree with them.
    """

    def __init__(self) -> None:
        self._shapes: dict[object, _MatchShape] = {}

    def keys(
        self,
        match: str,
        extra: object,
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        """The keys of `match`; None: ask the parser.

        extra: whatever else parse() and compile_() depend on.
        """
        text = take_apart(match)
        if text is None or not text.literals:
            return None
        what = (text.parts, tuple([kind for kind, _ in text.values]), extra)
        shape = self._shapes.get(what)
        if shape is None:
            if len(self._shapes) >= SHAPES:
                return None
            shape = self._shapes[what] = _MatchShape()
        return shape.keys(match, text, names, parse, compile_)


class _MatchShape:
    """One template: which literals are free, and a Plan for each of the others'."""

    def __init__(self) -> None:
        self._known = False
        self._hopeless = False
        self._fixed: tuple[int, ...] = ()
        self._residents: tuple[int, ...] = ()
        self._plans: dict[object, _Plan | None] = {}

    def keys(
        self,
        match: str,
        text: Text,
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        if not self._known:
            self._learn(match, text, parse)
        if self._hopeless:
            return None
        values = text.values
        which = (
            tuple([values[i][1] for i in self._fixed]),
            tuple([names.is_resident(str(values[i][1])) for i in self._residents]),
        )
        plan = self._plans.get(which)
        if plan is None:
            if which in self._plans or len(self._plans) >= PLANS:
                return None
            plan = self._plans[which] = self._plan(match, text, names, parse, compile_)
            if plan is None:
                return None
        return plan.fill(text, names)

    def _learn(self, match: str, text: Text, parse: Callable[[str], nodes.Expr]) -> None:
        free, residents = _free(match, text, parse)
        holes = {hole.literal for hole in free}
        self._residents = tuple(residents)
        self._fixed = tuple(
            i for i in range(len(text.literals)) if i not in holes and i not in residents
        )
        # What a port that is not free decides differs between datapaths.
        self._hopeless = any(text.values[i][0] is STRING for i in self._fixed)
        self._known = True

    def _plan(
        self,
        match: str,
        text: Text,
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> _Plan | None:
        free, residents = _free(match, text, parse)
        known = {hole.literal for hole in free} | set(residents) | set(self._fixed)
        if not free or len(known) != len(text.literals):
            return None
        if not known.issuperset(range(len(text.literals))):
            return None
        holes = [hole for hole in free if hole.literal not in self._fixed]
        if any(
            names.port_key(str(text.values[h.literal][1])) is None for h in holes if not h.width
        ):
            return None
        keys = compile_(match)
        plan = _Plan(tuple(holes), tuple(_cut(key, holes) for key in keys))
        return plan if plan.fill(text, names) == keys else None


def _cut(key: Key, holes: Sequence[_Hole]) -> tuple[Key, tuple[tuple[int, tuple[_Slot, ...]], ...]]:
    """A key with its holes emptied, and what fills them."""
    at = {word: n for n, (word, _) in enumerate(key.mask)}
    values = list(key.values)
    found = []
    for number, hole in enumerate(holes):
        slots = []
        for root, low, width, shift in _pieces(hole):
            ones_of_piece = (1 << width) - 1
            for word, pos, ones, left in CUTS[root]:
                # Bits of the literal in this word: field bits [low, low + width).
                field = (hole.mask >> shift & ones_of_piece) << low
                bits = (field >> pos & ones) << left
                if not bits or word not in at or key.mask[at[word]][1] & bits != bits:
                    continue
                values[at[word]] &= ~bits
                start = max(low, pos)
                wide = (1 << min(low + width, pos + ones.bit_length()) - start) - 1
                slots.append(_Slot(at[word], shift + start - low, wide, left + start - pos))
        if slots:
            found.append((number, tuple(slots)))
    return Key(key.mask, tuple(values)), tuple(found)


def _pieces(hole: _Hole) -> Sequence[tuple[str, int, int, int]]:
    if not hole.width:
        return ((hole.root, 0, 32, 0),)
    return pieces(hole.root, hole.offset, hole.mask.bit_length())


def _free(
    match: str, text: Text, parse: Callable[[str], nodes.Expr]
) -> tuple[list[_Hole], list[int]]:
    """The free literals, and those that only name a port whose residency counts."""
    tree = parse(match)
    leaves = list(_leaves(tree))
    if any(isinstance(leaf, nodes.SetRef | nodes.PortGroupRef) for leaf in leaves):
        return [], []
    if may_ask(tree):  # the numbers of sets that long lists become are the compiler's
        return [], []
    skeleton = _skeleton(tree)
    looks = [_words(leaf) for leaf in leaves]
    free, residents = [], []
    for index, value in enumerate(text.values):
        other = another(value)
        if other is None:
            continue
        try:
            tree = parse(text.with_literal(index, other))
        except OvnBpfError:
            continue
        varied = list(_leaves(tree))
        if _skeleton(tree) != skeleton:
            continue
        changed = [n for n, (a, b) in enumerate(zip(leaves, varied, strict=True)) if a != b]
        if len(changed) != 1:
            continue
        at = changed[0]
        if isinstance(leaves[at], nodes.Resident):
            residents.append(index)
            continue
        if not _only_value(leaves[at], varied[at]):
            continue
        hole = _hole(index, text, leaves[at])
        alone = not any(
            bits & looks[at].get(word, 0)
            for n, look in enumerate(looks)
            if n != at
            for word, bits in look.items()
        )
        if hole is not None and alone and looks[at]:
            free.append(hole)
    return free, residents
