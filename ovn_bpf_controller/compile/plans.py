# SPDX-License-Identifier: Apache-2.0
"""What a template of matches becomes: keys with holes, and what fills them.

compile.templates makes one Plan for each shape of match and combination of literals
that are not free, and fills it in for every flow of the shape.  Where keys of an
instance may meet, filling compares them, and leaves those that do to the parser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, product
from math import prod
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import filling
from ovn_bpf_controller.compile.filling import filled_words
from ovn_bpf_controller.compile.holes import Hole, number_of
from ovn_bpf_controller.compile.known import plain
from ovn_bpf_controller.compile.layout import _CUTS as CUTS
from ovn_bpf_controller.compile.layout import Key
from ovn_bpf_controller.compile.literals import GROUP, SET, STRING, TAKEN, name_at
from ovn_bpf_controller.lang.normal import MatchEnv
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.sets import MANY
from ovn_bpf_controller.plaindata import NamedTuple, dataclass

PAIRS: Final = 256  # of keys that may meet: more are not worth the comparisons


# Kinds of holes that fill() asks for, as they stand in a file; to others "" is as good.
_NAMED: Final[dict[str, object]] = {"": None, "s": STRING, "g": GROUP, "a": SET}
_KINDS: Final = {kind: name for name, kind in _NAMED.items()}
_ALL: Final = (1 << 128) - 1
_ONES: Final = (1 << 64) - 1
_LOW: Final[Any] = TAKEN.low
_new: Final = tuple.__new__  # of a Key, sooner than its own
_HIGH: Final[Any] = TAKEN.high


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

# Of each key its mask, and which of an instance's words are its values: from, to.
_Spans = tuple[tuple[tuple[tuple[int, int], ...], int, int], ...]


@dataclass(slots=True)
class Plan:
    """A template's keys, with what is to be filled in for each.

    code: for compile.filling; literals that name something have their numbers put in.
    size: words of an instance.  spans: in the order of keys, if that is `settled`
    whatever their values are.  names: those literals, as (literal, kind, width).
    each: what fill_each() needs, () for matches without lists.
    """

    code: bytes
    size: int
    spans: _Spans
    settled: bool
    names: tuple[tuple[int, object, int], ...]
    each: tuple[Any, ...]

    def plain(self) -> tuple[Any, ...]:
        """What of() takes, for marshal."""
        each = self.each and (tuple(map(_plain_hole, self.each[0])), *plain(self.each[1:]))
        names = tuple((literal, _KINDS[kind], width) for literal, kind, width in self.names)
        return self.code, self.size, plain(self.spans), self.settled, names, each

    @classmethod
    def of(
        cls, code: bytes, size: int, spans: _Spans, settled: bool, names: Any, each: Any
    ) -> Plan:
        """The plan that was plain() once."""
        if each:
            holes, forms, meeting = each
            forms = tuple([(Key(*key), filled) for key, filled in forms])
            each = tuple(map(_hole, holes)), forms, meeting
        named = tuple([(literal, _NAMED[kind], width) for literal, kind, width in names])
        return cls(code, size, spans, settled, named, each)

    def fill(self, literals: Sequence[int | str], names: MatchEnv) -> tuple[Key, ...] | None:
        """The keys of an instance; None when a value does not fit, or keys meet.

        literals: as in literals.TAKEN, looked at for names only.
        """
        for literal, kind, width in self.names:
            number = number_of(str(literals[literal]), kind, width, names)
            if number is None:
                return None
            _LOW[literal] = number
        return self._in_order()

    def fill_taken(self, match: str, names: MatchEnv) -> tuple[Key, ...] | None:
        """The same of the match that literals.take() was asked of last."""
        for literal, kind, width in self.names:
            number = number_of(name_at(match, literal), kind, width, names)
            if number is None:
                return None
            _LOW[literal] = number
        return self._in_order()

    def fill_each(
        self, literals: Sequence[int | str], lists: Mapping[int, Sequence[int]], names: MatchEnv
    ) -> tuple[Key, ...] | None:
        """The same of an instance some of whose literals are several: any of each list.

        Keys with different numbers of one list never meet, as both look at all of it.
        """
        if not self.each:
            return None
        holes, forms, meeting = self.each
        choices: list[list[int]] = []
        several = 0
        for hole in holes:
            given = lists.get(hole.literal, (literals[hole.literal],))
            values = [v for each in given if (v := hole.value(each, names)) is not None]
            if len(values) < len(given):
                return None
            several += len(values) > 1
            choices.append(values)
        if several < sum(len(each) > 1 for each in lists.values()):
            return None  # of a list that is not free each number decides something else
        if prod(map(len, choices)) * len(forms) > MANY:
            return None
        if not meeting:
            keys = (key for form in forms for key in _each(form, choices))
            return tuple(sorted(dict.fromkeys(keys)))
        found: dict[Key, None] = {}
        for each in product(*choices):
            for hole, value in zip(holes, each, strict=True):
                _LOW[hole.literal], _HIGH[hole.literal] = value & _ONES, value >> 64
            made = self._keys()
            if made is None:
                return None
            found.update(dict.fromkeys(made))
        return tuple(sorted(found))

    def _in_order(self) -> tuple[Key, ...] | None:
        keys = self._keys()
        if keys is not None and not self.settled:
            keys.sort()
        return None if keys is None else tuple(keys)

    def _keys(self) -> list[Key] | None:
        """The keys with the values in literals.TAKEN; None when one does not fit, or
        they meet."""
        words = filled_words(self.code, self.size)
        if words is None:
            return None
        if len(self.spans) == 1:  # nearly all
            return [_new(Key, (self.spans[0][0], words))]
        return [_new(Key, (mask, words[first:end])) for mask, first, end in self.spans]


def _plain_hole(hole: Hole) -> tuple[Any, ...]:
    return (hole.literal, _KINDS.get(hole.kind, ""), *hole[2:])


def _hole(plain_hole: Any) -> Hole:
    literal, kind, *rest = plain_hole
    return Hole(literal, _NAMED[kind], *rest)


def _each(form: _Form, choices: Sequence[Sequence[int]]) -> list[Key]:
    """The keys of a form with any of the values in each hole."""
    key, holes = form
    found = [list(key.values)]
    for number, slots in sorted(holes, key=lambda hole: len(choices[hole[0]])):
        several = len(choices[number]) > 1
        made = []
        for value in choices[number]:
            for words in found:
                filled = words.copy() if several else words
                for at, pos, ones, shift in slots:
                    filled[at] |= (value >> pos & ones) << shift
                made.append(filled)
        found = made
    return [Key(key.mask, tuple(words)) for words in found]


def plan_for(
    keys: Sequence[Key], holes: Sequence[Hole], values: Sequence[int], listed: bool
) -> Plan | None:
    """What `keys`, sorted, are with these values in the holes; None in doubt.

    listed: fill_each() may be asked.
    """
    forms = tuple(_cut(key, holes, values) for key in keys)
    pairs = _pairs(forms)
    if pairs is None or not _all_used(holes, forms) or any(map(_ambiguous, forms)):
        return None
    if any(map(_nameless, forms)):
        return None
    ends = [*accumulate(len(key.mask) for key in keys)]
    spans = tuple((key.mask, end - len(key.mask), end) for key, end in zip(keys, ends, strict=True))
    code = _code(holes, forms, pairs, spans)
    if code is None:
        return None
    names = tuple((h.literal, h.kind, h.width) for h in holes if h.kind in (STRING, SET, GROUP))
    settled = len({key.mask for key in keys}) == len(keys)
    each = (tuple(holes), forms, bool(pairs)) if listed else ()
    return Plan(code, sum(len(key.mask) for key in keys), spans, settled, names, each)


def _code(
    holes: Sequence[Hole], forms: Sequence[_Form], pairs: Sequence[_Pair], spans: _Spans
) -> bytes | None:
    """The same for the C, which knows one row of words."""
    blanks = []
    for hole in holes:
        named = hole.kind in (STRING, SET, GROUP)
        blanks.append(filling.Blank(
            hole.literal, _ALL if named else hole.mask, _ALL if named else (1 << hole.width) - 1
        ))  # fmt: skip
    words: list[int] = []
    slots: list[filling.Slot] = []
    for (key, filled), (_, first, _) in zip(forms, spans, strict=True):
        words += key.values
        slots += [
            filling.Slot(number, pos, ones, first + at, shift)
            for number, places in filled
            for at, pos, ones, shift in places
        ]
    meeting = [
        [(spans[a][1] + i, spans[b][1] + j, mask) for i, j, mask in common]
        for a, b, common in pairs
    ]
    return filling.plan(words, blanks, slots, meeting)


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


def _nameless(form: _Form) -> bool:
    """Whether a key asks for a set that no literal names: the number is the compiler's."""
    key, _ = form
    pairs = zip(key.mask, key.values, strict=True)
    return any(word >= lib.OW_SETS and value for (word, _), value in pairs)


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
