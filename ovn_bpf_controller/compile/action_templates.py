# SPDX-License-Identifier: Apache-2.0
"""Lists of actions by their shape, as compile.templates has it for matches.

A literal is free where it is the value of an assignment, which becomes OP_SETs
with just that value, an address or port of a load balancer or of NAT, which become
words of their own, or in a list that the data plane cannot carry out, where they
decide nothing.  All else, and every doubt, is left to the parser (None here).
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import Lowered, Traits, lower
from ovn_bpf_controller.compile.field_actions import QUOTED_SOURCE
from ovn_bpf_controller.compile.holes import Names
from ovn_bpf_controller.compile.insns import INSN_BYTES, decode
from ovn_bpf_controller.compile.known import plain
from ovn_bpf_controller.compile.known import prereqs as known_prereqs
from ovn_bpf_controller.compile.layout import chunks, cut, place
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.compile.literals import Text, another, shape_of, whole
from ovn_bpf_controller.compile.telling import NOTHING
from ovn_bpf_controller.compile.templates import PLANS, SHAPES
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.nodes import Format
from ovn_bpf_controller.plaindata import NamedTuple, replace

# Words of struct ovn_insn that a literal can become, and where they begin.
_OFFSETS: Final = {name: struct.calcsize("=BBBB" + "I" * n) for n, name in enumerate("abc")}
_WORD: Final = struct.Struct("=I")
_ALL: Final = 0xFFFFFFFF


class _Slot(NamedTuple):
    """The word at byte `at` gets value >> pos & ones, << shift."""

    at: int
    pos: int
    ones: int
    shift: int


class _Hole(NamedTuple):
    """A free literal.  low, high: the values that fit."""

    literal: int
    mask: int
    low: int
    high: int
    slots: tuple[_Slot, ...]


class _Plan(NamedTuple):
    """What a template becomes; base: with zeros in its holes."""

    base: Lowered
    prereqs: nodes.Expr
    holes: tuple[_Hole, ...]

    def fill(self, values: Sequence[int | str], names: Names) -> Lowered | None:
        """An instance; None when a value does not fit."""
        insns = None
        for index, mask, low, high, slots in self.holes:
            value = values[index]
            if isinstance(value, str):
                value = names.port_key(value) or 0
            elif not low <= value <= high:
                return None
            if not slots:
                continue
            insns = insns or bytearray(self.base.insns)
            value &= mask
            for at, pos, ones, shift in slots:
                word = _WORD.unpack_from(insns, at)[0]
                _WORD.pack_into(insns, at, word | (value >> pos & ones) << shift)
        if insns is None:
            return self.base
        base = self.base
        return Lowered(bytes(insns), base.unsupported, base.side, base.arguments, base.told)

    def plain(self) -> tuple[Any, ...]:
        """What of() takes, for marshal."""
        return plain_lowered(self.base), repr(self.prereqs), plain(self.holes)

    @classmethod
    def of(cls, base: Any, prereqs: str, holes: Any) -> _Plan:
        """The plan that was plain() once."""
        return cls(lowered_of(*base), known_prereqs(prereqs), holes)


def plain_lowered(lowered: Lowered) -> tuple[Any, ...]:
    """What lowered_of() takes, for marshal."""
    assert lowered.told is NOTHING  # such lists are of one flow (compile.flow)
    return lowered.insns, lowered.unsupported, plain(lowered.side), lowered.arguments


def lowered_of(insns: bytes, unsupported: Any, side: Any, arguments: Any) -> Lowered:
    """What plain_lowered() was asked of."""
    return Lowered(insns, unsupported, tuple(SideRule(*rule) for rule in side), arguments)


class ActionTemplates:
    """Templates of action lists."""

    def __init__(self, learnt: Callable[[], Mapping[object, bytes]] = dict) -> None:
        """learnt: what kept() gave when the package was built."""
        self._learnt = learnt
        self._shapes: dict[object, _ActionShape] = {}

    def shapes(self) -> Iterable[_ActionShape]:
        """All that were met."""
        return self._shapes.values()

    def kept(self) -> dict[object, bytes]:
        """All that was learnt, by shape and place."""
        return {
            plain(what): marshal.dumps(shape.plain())
            for what, shape in self._shapes.items()
            if isinstance(what, tuple) and isinstance(what[0], bytes)
        }

    def lower(
        self, actions: str, pipeline: int, table: int, names: Names, traits: Traits
    ) -> tuple[Lowered, nodes.Expr] | None:
        """Instructions and prerequisites of a list; None: ask the parser."""
        found = shape_of(actions)
        if found is None or not found[1]:
            return None
        what = (found[0], pipeline, table, traits)
        shape = self._shapes.get(what)
        if shape is None:
            if len(self._shapes) >= SHAPES:
                return None
            shape = self._shapes[what] = _ActionShape(pipeline, table, traits)
            learnt = self._learnt().get(what)
            if learnt is not None:
                shape.take(marshal.loads(learnt))
        return shape.lower(actions, found[1], names)


class _ActionShape:
    """One template, with a plan for each combination of literals that are not free."""

    def __init__(self, pipeline: int, table: int, traits: Traits) -> None:
        self._pipeline = pipeline
        self._table = table
        self._traits = traits
        self._fixed: tuple[int, ...] | None = None
        self._plans: dict[object, _Plan | None] = {}
        # The holes of the list that came first: its plan is due at once.
        self._first: list[_Hole] | None = None

    @property
    def plans(self) -> int:
        """How many combinations of literals that are not free were met."""
        return len(self._plans)

    def plain(self) -> tuple[Any, ...]:
        """What take() takes, for marshal."""
        plans = {
            which: None if plan is None else plan.plain() for which, plan in self._plans.items()
        }
        return self._fixed, plans

    def take(self, learnt: Any) -> None:
        """Knows what a shape knew that plain() was asked."""
        self._fixed, plans = learnt
        self._plans = {
            which: None if plan is None else _Plan.of(*plan) for which, plan in plans.items()
        }

    def lower(
        self, actions: str, values: Sequence[int | str], names: Names
    ) -> tuple[Lowered, nodes.Expr] | None:
        if self._fixed is None:
            self._first = list(self._holes(actions, whole(actions)))
            free = {hole.literal for hole in self._first}
            self._fixed = tuple(i for i in range(len(values)) if i not in free)
        if len(self._fixed) == len(values):
            return None
        which = tuple([values[i] for i in self._fixed])
        plan = self._plans.get(which)
        if plan is None:
            if which in self._plans or len(self._plans) >= PLANS:
                return None
            plan = self._plans[which] = self._plan(actions, whole(actions), names)
            if plan is None:
                return None
        lowered = plan.fill(values, names)
        return None if lowered is None else (lowered, plan.prereqs)

    def _plan(self, actions: str, text: Text, names: Names) -> _Plan | None:
        fixed = self._fixed or ()
        found = self._first if self._first is not None else self._holes(actions, text)
        self._first = None
        holes = [hole for hole in found if hole.literal not in fixed]
        if not holes or len(holes) + len(fixed) != len(text.literals):
            return None
        parsed = parse_actions(actions)
        asked: list[str] = []

        def nothing(name: str) -> int:
            asked.append(name)
            return 0

        base = self._lower(parsed, nothing, lambda name: not nothing(name))
        if any(text.values[i][1] in asked for i in fixed):
            return None  # what it decides differs between datapaths
        insns = bytearray(base.insns)
        for hole in holes:
            for at, _, ones, shift in hole.slots:
                word = _WORD.unpack_from(insns, at)[0]
                _WORD.pack_into(insns, at, word & ~(ones << shift))
        empty = replace(base, insns=bytes(insns))
        plan = _Plan(empty, action_prereqs(parsed), tuple(holes))
        values = [value for _, value in text.values]
        wanted = self._lower(parsed, lambda name: names.port_key(name) or 0, names.is_resident)
        return plan if plan.fill(values, names) == wanted else None

    def _lower(
        self,
        actions: Sequence[nodes.Action],
        port_key: Callable[[str], int],
        is_resident: Callable[[str], bool] = lambda _: True,
    ) -> Lowered:
        return lower(actions, self._pipeline, self._table, port_key, is_resident, self._traits)

    def _holes(self, actions: str, text: Text) -> Iterator[_Hole]:
        """The free literals of a list."""
        parsed = parse_actions(actions)
        before = list(_flat(parsed))
        prereqs = action_prereqs(parsed)
        base = self._lower(parsed, lambda _: 0)
        for index in range(len(text.literals)):
            if text.parts[index + 1].startswith("/"):
                continue
            change = _change(text, index, before)
            if change is None or action_prereqs(change[0]) != prereqs:
                continue
            hole = self._hole(index, text, base, *change)
            if hole is not None:
                yield hole

    def _hole(
        self,
        index: int,
        text: Text,
        base: Lowered,
        varied: Sequence[nodes.Action],
        action: nodes.Action,
    ) -> _Hole | None:
        """Literal `index`, which changed nothing but `action`; base: with keys of 0."""
        kind, value = text.values[index]
        if isinstance(action, nodes.CtLbBase | nodes.CtNat):
            width = _widths(action).get(kind)
            return self._words(index, text, base, width) if width else None
        if not isinstance(action, nodes.Load) or action.value != value:
            return None
        if action.dst.root == QUOTED_SOURCE:  # an operand, as it is no word
            return self._words(index, text, base, action.dst.width)
        mask = _ALL if isinstance(value, str) else action.mask
        if base.unsupported:
            return _Hole(index, mask, 0, mask, ())
        if isinstance(value, int):
            text_of_all = another(text.values[index], mask)
            if text_of_all is None:
                return None
            try:
                varied = parse_actions(text.with_literal(index, text_of_all))
            except OvnBpfError:
                return None
        return _set_words(index, action, mask, base, self._varied(varied, value))

    def _words(self, index: int, text: Text, base: Lowered, width: int) -> _Hole | None:
        """Where a literal stands in the instructions, word by word; None if in part."""
        ones = min(_ALL, (1 << width) - 1)
        hole = _Hole(index, (1 << width) - 1, 0, (1 << width) - 1, ())
        if base.unsupported:
            return hole
        slots = []
        for pos in range(0, width, 32):
            other = another(text.values[index], ones << pos)
            if other is None:
                return None
            try:
                varied = parse_actions(text.with_literal(index, other))
            except OvnBpfError:
                return None
            at = _changed_word(base, self._lower(varied, lambda _: 0), ones)
            if at is None:
                return None
            slots.append(_Slot(at, pos, ones, 0))
        return hole._replace(slots=tuple(slots))

    def _varied(self, actions: Sequence[nodes.Action], value: int | str) -> Lowered:
        """With the changed port, if it is one, as the one whose key is all ones."""
        return self._lower(actions, lambda name: _ALL if name == f"{value}'" else 0)


def _widths(action: nodes.Action) -> dict[object, int]:
    """Kinds of literals of a verb that can be free, with their bits."""
    widths: dict[object, int] = {Format.IP4: 32, Format.IP6: 128}
    if isinstance(action, nodes.CtLbBase):
        widths[Format.DECIMAL] = 16
    return widths


def _changed_word(base: Lowered, varied: Lowered, ones: int) -> int | None:
    """Offset of the one word that differs, which was and is no more than the literal."""
    old, new = decode(base.insns), decode(varied.insns)
    if len(old) != len(new):
        return None
    found = []
    for n, (a, b) in enumerate(zip(old, new, strict=True)):
        for name, offset in _OFFSETS.items():
            if getattr(a, name) != getattr(b, name):
                found.append((n * INSN_BYTES + offset, getattr(a, name) ^ getattr(b, name)))
        if a._replace(a=b.a, b=b.b, c=b.c) != b:
            return None
    if len(found) != 1 or found[0][1] != ones:
        return None
    return found[0][0]


def _set_words(
    index: int, action: nodes.Load, mask: int, base: Lowered, varied: Lowered
) -> _Hole | None:
    """Where the value of an assignment stands in the instructions."""
    old, new = decode(base.insns), decode(varied.insns)
    if len(old) != len(new):
        return None
    changed = [n for n, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    dst = action.dst
    pieces = [c for c in chunks(place(dst.root, dst.offset, dst.width)) if cut(mask, c)]
    if len(changed) != len(pieces):
        return None
    slots = []
    for n, piece in zip(changed, pieces, strict=True):
        if old[n].op != lib.OP_SET or old[n]._replace(b=new[n].b) != new[n]:
            return None
        if old[n].dst != piece.word or old[n].b ^ new[n].b != cut(mask, piece):
            return None
        ones = (1 << piece.bits) - 1
        slots.append(_Slot(n * INSN_BYTES + _OFFSETS["b"], piece.pos, ones, piece.shift))
    return _Hole(index, mask, 0, mask, tuple(slots))


def _flat(actions: Sequence[nodes.Action]) -> Iterator[nodes.Action]:
    """All actions, each before those inside it."""
    for action in actions:
        yield action
        yield from _flat(getattr(action, "actions", ()))


def _change(
    text: Text, index: int, before: Sequence[nodes.Action]
) -> tuple[tuple[nodes.Action, ...], nodes.Action] | None:
    """The list with another literal, and the one innermost action that differs.

    In its value alone, if it is an assignment: not in the bits it writes.
    """
    other = another(text.values[index])
    if other is None:
        return None
    try:
        varied = parse_actions(text.with_literal(index, other))
    except OvnBpfError:
        return None
    after = list(_flat(varied))
    if list(map(type, before)) != list(map(type, after)):
        return None
    changed = [(a, b) for a, b in zip(before, after, strict=True) if _own(a) != _own(b)]
    if len(changed) != 1:
        return None
    old, new = changed[0]
    if isinstance(old, nodes.Load) and isinstance(new, nodes.Load):
        if replace(old, value=new.value) != new:
            return None
    return varied, old


def _own(action: nodes.Action) -> object:
    """What an action says itself, without the actions inside it."""
    slots = [s for c in type(action).__mro__ for s in getattr(c, "__slots__", ())]
    return [getattr(action, name) for name in slots if name != "actions"]
