# SPDX-License-Identifier: Apache-2.0
"""Logical flows by their shape: one compilation a shape, then literals are filled in.

compile.flow asks here before it parses.  150,000 matches of a large Southbound
are a hundred texts once their numbers, addresses and names are taken out.  A
literal is free only if nothing that must hold together with it looks at the same
bits, so that its value can decide nothing but itself; every doubt, and instances
whose keys meet, are left to the parser (None here).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from ovn_bpf_controller.compile.holes import Hole, Names, free_literals
from ovn_bpf_controller.compile.layout import _CUTS as CUTS
from ovn_bpf_controller.compile.layout import Key
from ovn_bpf_controller.compile.literals import (
    GROUP,
    SET,
    STRING,
    Text,
    another,
    shape_of,
    take_apart,
    whole,
)
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.registers import pieces

PLANS: Final = 64  # per shape: how many combinations of other literals are worth one
SHAPES: Final = 4096
PAIRS: Final = 256  # of keys that may meet: more are not worth the comparisons
_TRIES: Final = 3  # instances from which no plan came, before none is tried again


class _Slot(NamedTuple):
    """Where a literal goes: word `at` gets (value & mask) >> pos & ones, << shift."""

    at: int
    pos: int
    ones: int
    shift: int


# A key with its holes emptied, and what fills them: (number of the hole, its slots).
_Form = tuple[Key, tuple[tuple[int, tuple[_Slot, ...]], ...]]

# Two keys of which the one with the first number absorbs the other, if they agree in
# (index of a word in the first, index in the second, mask).
_Pair = tuple[int, int, tuple[tuple[int, int, int], ...]]


class _Plan(NamedTuple):
    """A template's keys, with what is to be filled in for each."""

    holes: tuple[Hole, ...]
    forms: tuple[_Form, ...]
    pairs: tuple[_Pair, ...]

    def fill(self, literals: Sequence[int | str], names: Names) -> tuple[Key, ...] | None:
        """The keys of an instance; None when a value does not fit, or keys meet."""
        values = []
        for hole in self.holes:
            value = hole.value(literals[hole.literal], names)
            if value is None:
                return None
            values.append(value)
        found = []
        for key, holes in self.forms:
            words = list(key.values)
            for number, slots in holes:
                value = values[number]
                for at, pos, ones, shift in slots:
                    words[at] |= (value >> pos & ones) << shift
            found.append(Key(key.mask, tuple(words)))
        if len(found) > 1:
            for wide, narrow, common in self.pairs:
                a, b = found[wide].values, found[narrow].values
                if all(not (a[i] ^ b[j]) & mask for i, j, mask in common):
                    return None
            found.sort()
        return tuple(found)


def _pairs(forms: Sequence[_Form]) -> tuple[_Pair, ...] | None:
    """What fill() has to compare; None: too much."""
    found: list[_Pair] = []
    for a, (wide, _) in enumerate(forms):
        for b, (narrow, _) in enumerate(forms):
            common = _common(wide, narrow) if a != b else None
            if common is None or _differ(forms[a], forms[b], common):
                continue
            found.append((a, b, common))
            if len(found) > PAIRS:
                return None
    return tuple(found)


def _common(wide: Key, narrow: Key) -> tuple[tuple[int, int, int], ...] | None:
    """The words of `wide`, if `narrow` looks at all its bits too."""
    where = {word: (at, mask) for at, (word, mask) in enumerate(narrow.mask)}
    found = []
    for at, (word, mask) in enumerate(wide.mask):
        other, bits = where.get(word, (0, 0))
        if mask & ~bits:
            return None
        found.append((at, other, mask))
    return tuple(found)


def _differ(one: _Form, two: _Form, common: Sequence[tuple[int, int, int]]) -> bool:
    """Whether two keys differ in bits that no literal decides."""
    for at, other, mask in common:
        known = mask & ~_open_bits(one, at) & ~_open_bits(two, other)
        if (one[0].values[at] ^ two[0].values[other]) & known:
            return True
    return False


def _open_bits(form: _Form, at: int) -> int:
    slots = (slot for _, slots in form[1] for slot in slots if slot.at == at)
    bits = 0
    for slot in slots:
        bits |= slot.ones << slot.shift
    return bits


# --- templates --------------------------------------------------------------------


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
        """The keys of `match`, sorted; None: ask the parser.

        extra: whatever else parse() and compile_() depend on.
        """
        found = shape_of(match)
        if found is None or not found[1]:
            return None
        what = found[0] if extra is nodes.TRUE else (found[0], extra)
        shape = self._shapes.get(what)
        if shape is None:
            if len(self._shapes) >= SHAPES:
                return None
            shape = self._shapes[what] = _MatchShape()
        return shape.keys(match, found[1], names, parse, compile_)


class _MatchShape:
    """One template: which literals are free, and a Plan for each of the others'.

    _plans: an int says how often none could be made.
    """

    def __init__(self) -> None:
        self._known = False
        self._hopeless = False
        self._fixed: tuple[int, ...] = ()
        self._residents: tuple[int, ...] = ()
        self._plans: dict[object, _Plan | int] = {}
        # What is free in the match that came first: its plan is due at once.
        self._first: tuple[list[Hole], list[int]] | None = None

    def keys(
        self,
        match: str,
        values: Sequence[int | str],
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        if not self._known:
            self._learn(match, whole(match), parse)
        if self._hopeless:
            return None
        which = (
            tuple([values[i] for i in self._fixed]),
            tuple([names.is_resident(str(values[i])) for i in self._residents]),
        )
        plan = self._plans.get(which, 0)
        if isinstance(plan, int):
            if plan >= _TRIES or len(self._plans) >= PLANS:
                return None
            made = self._plan(match, whole(match), names, parse, compile_)
            self._plans[which] = plan + 1 if made is None else made
            if made is None:
                return None
            plan = made
        return plan.fill(values, names)

    def _learn(self, match: str, text: Text, parse: Callable[[str], nodes.Expr]) -> None:
        self._first = free, residents = free_literals(match, text, parse)
        holes = {hole.literal for hole in free}
        self._residents = tuple(residents)
        self._fixed = tuple(
            i for i in range(len(text.literals)) if i not in holes and i not in residents
        )
        # What a name that is not free decides differs between datapaths.
        self._hopeless = not free or any(isinstance(text.values[i][1], str) for i in self._fixed)
        self._known = True

    def _plan(
        self,
        match: str,
        text: Text,
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> _Plan | None:
        free, residents = self._first or free_literals(match, text, parse)
        self._first = None
        known = {hole.literal for hole in free} | set(residents) | set(self._fixed)
        if not known.issuperset(range(len(text.literals))):
            return None
        holes = [hole for hole in free if hole.literal not in self._fixed]
        literals = [value for _, value in text.values]
        values = [hole.value(literals[hole.literal], names) for hole in holes]
        known_values = [value for value in values if value is not None]
        if len(known_values) != len(values):
            return None
        keys = compile_(match)
        forms = tuple(_cut(key, holes, known_values) for key in keys)
        pairs = _pairs(forms)
        if pairs is None or not _all_used(holes, forms) or any(map(_ambiguous, forms)):
            return None
        plan = _Plan(tuple(holes), forms, pairs)
        other = self._other(text, holes)
        others = [value for _, value in other.values]
        if plan.fill(literals, names) != keys or plan.fill(others, names) != compile_(other.text()):
            return None
        return plan

    @staticmethod
    def _other(text: Text, holes: Sequence[Hole]) -> Text:
        """An instance with other numbers: did keys of `text` meet, it has more of them."""
        for hole in holes:
            other = another(text.values[hole.literal])
            if other is not None and isinstance(text.values[hole.literal][1], int):
                varied = take_apart(text.with_literal(hole.literal, other))
                text = varied if varied is not None else text
        return text


def _all_used(holes: Sequence[Hole], forms: Sequence[_Form]) -> bool:
    """Whether each literal decides something, if there are keys at all."""
    used = {number for _, filled in forms for number, _ in filled}
    return not forms or all(n in used or not hole.mask for n, hole in enumerate(holes))


def _ambiguous(form: _Form) -> bool:
    """Whether two literals of one value could both stand in one place."""
    taken: dict[int, int] = {}
    for _, slots in form[1]:
        for slot in slots:
            bits = slot.ones << slot.shift
            if taken.get(slot.at, 0) & bits:
                return True
            taken[slot.at] = taken.get(slot.at, 0) | bits
    return False


def _cut(key: Key, holes: Sequence[Hole], values: Sequence[int]) -> _Form:
    """A key with its holes emptied, and what fills them.

    Of several literals that may stand in a word, it is the one whose value is there.
    """
    at = {word: n for n, (word, _) in enumerate(key.mask)}
    rest = list(key.values)
    found = []
    for number, hole in enumerate(holes):
        slots = tuple(_slots(hole, key, at))
        there = all(
            key.values[s.at] >> s.shift & s.ones == values[number] >> s.pos & s.ones for s in slots
        )
        if slots and there:
            found.append((number, slots))
            for slot in slots:
                rest[slot.at] &= ~(slot.ones << slot.shift)
    return Key(key.mask, tuple(rest)), tuple(found)


def _slots(hole: Hole, key: Key, at: dict[int, int]) -> Iterator[_Slot]:
    """Where in a key's words the bits of a literal would stand."""
    for root, low, width, shift in _pieces(hole):
        ones_of_piece = (1 << width) - 1
        for word, pos, ones, left in CUTS[root]:
            # Bits of the literal in this word: field bits [low, low + width).
            field = (hole.mask >> shift & ones_of_piece) << low
            bits = (field >> pos & ones) << left
            if not bits or word not in at or key.mask[at[word]][1] & bits != bits:
                continue
            start = max(low, pos)
            wide = (1 << min(low + width, pos + ones.bit_length()) - start) - 1
            yield _Slot(
                at[word], shift + start - low, wide & bits >> left + start - pos, left + start - pos
            )


def _pieces(hole: Hole) -> Sequence[tuple[str, int, int, int]]:
    if hole.kind in (STRING, SET, GROUP):
        return ((hole.root, 0, 32, 0),)
    return pieces(hole.root, hole.offset, hole.mask.bit_length())
