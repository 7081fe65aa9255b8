# SPDX-License-Identifier: Apache-2.0
"""Lists of actions by their shape, as compile.templates has it for matches.

A literal is free where it is the value of an assignment, which becomes OP_SETs
with just that value, an address or port of a load balancer or of NAT, which become
words of their own, or in a list that the data plane cannot carry out, where they
decide nothing.  All else, and every doubt, is left to the parser (None here).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from struct import calcsize
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import prereqs, said
from ovn_bpf_controller.compile.action_plans import Hole, Plan, Slot, plan_for
from ovn_bpf_controller.compile.actions import Lowered, Traits, lower
from ovn_bpf_controller.compile.field_actions import QUOTED_SOURCE
from ovn_bpf_controller.compile.insns import INSN_BYTES, decode
from ovn_bpf_controller.compile.known import plain
from ovn_bpf_controller.compile.layout import chunks, cut, place
from ovn_bpf_controller.compile.literals import (
    TAKEN,
    Kinds,
    Text,
    another,
    kinds,
    put,
    take,
    take_apart,
    values,
    whole,
)
from ovn_bpf_controller.compile.prereqs import Prereqs
from ovn_bpf_controller.compile.templates import PLANS, SHAPES
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.nodes import Format
from ovn_bpf_controller.lang.normal import MatchEnv
from ovn_bpf_controller.plaindata import replace

# Words of struct ovn_insn that a literal can become, and where they begin.
_OFFSETS: Final = {name: calcsize("=BBBB" + "I" * n) for n, name in enumerate("abc")}
_ALL: Final = 0xFFFFFFFF
_EVERY: Final = (1 << 128) - 1


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
        self, actions: str, pipeline: int, table: int, names: MatchEnv, traits: Traits
    ) -> tuple[Lowered, Prereqs] | None:
        """Instructions and prerequisites of a list; None: ask the parser."""
        parts = take(actions)
        if parts is None or (type(parts) is bytes and not TAKEN.n):
            return None
        shape = self._shape((parts, pipeline, table, traits))
        return shape.lower(actions, names) if shape is not None else None

    def _shape(self, what: tuple[object, int, int, Traits]) -> _ActionShape | None:
        shape = self._shapes.get(what)
        if shape is None and len(self._shapes) < SHAPES:
            shape = self._shapes[what] = _ActionShape(kinds(what[0]), *what[1:])
            learnt = self._learnt().get(what)
            if learnt is not None:
                shape.take(marshal.loads(learnt))
        return shape


class _ActionShape:
    """One template, with a plan for each combination of literals that are not free."""

    def __init__(self, found: Kinds, pipeline: int, table: int, traits: Traits) -> None:
        self._kinds = found
        self._pipeline = pipeline
        self._table = table
        self._traits = traits
        self._fixed: tuple[int, ...] | None = None
        self._plans: dict[object, Plan | None] = {}
        # The holes of the list that came first: its plan is due at once.
        self._first: list[Hole] | None = None

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
            which: None if plan is None else Plan.of(*plan) for which, plan in plans.items()
        }

    def lower(self, actions: str, names: MatchEnv) -> tuple[Lowered, Prereqs] | None:
        """See ActionTemplates; take() was asked of `actions` just now."""
        literals = values(actions, self._kinds)
        plan = self._plan_of(actions, literals, names)
        lowered = plan.fill(literals, names) if plan is not None else None
        return (lowered, plan.prereqs) if plan is not None and lowered is not None else None

    def _plan_of(self, actions: str, literals: Sequence[int | str], names: MatchEnv) -> Plan | None:
        """What is to be filled in with literals.TAKEN; None: ask the parser."""
        if self._fixed is None:
            self._first = list(self._holes(actions, whole(actions)))
            free = {hole.literal for hole in self._first}
            self._fixed = tuple(i for i in range(len(literals)) if i not in free)
        if len(self._fixed) == len(literals):
            return None
        which = tuple([literals[i] for i in self._fixed])
        plan = self._plans.get(which)
        if plan is not None and not self._kinds.odd:
            return plan
        if plan is None:
            if which in self._plans or len(self._plans) >= PLANS:
                return None
            plan = self._plans[which] = self._plan(actions, whole(actions), names)
        return plan if plan is not None and put(literals) else None

    def _plan(self, actions: str, text: Text, names: MatchEnv) -> Plan | None:
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
        plan = plan_for(base, prereqs.of(action_prereqs(parsed)), holes, text)
        literals = [value for _, value in text.values]
        wanted = self._lower(parsed, lambda name: names.port_key(name) or 0, names.is_resident)
        if plan is None or not put(literals):
            return None
        return plan if plan.fill(literals, names) == wanted else None

    def _lower(
        self,
        actions: Sequence[nodes.Action],
        port_key: Callable[[str], int],
        is_resident: Callable[[str], bool] = lambda _: True,
    ) -> Lowered:
        return lower(actions, self._pipeline, self._table, port_key, is_resident, self._traits)

    def _holes(self, actions: str, text: Text) -> Iterator[Hole]:
        """The free literals of a list."""
        parsed = parse_actions(actions)
        before = list(_flat(parsed))
        required = action_prereqs(parsed)
        base = self._lower(parsed, lambda _: 0)
        for index in range(len(text.literals)):
            if text.parts[index + 1].startswith("/"):
                continue
            change = _change(text, index, before)
            if change is None or action_prereqs(change[0]) != required:
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
    ) -> Hole | None:
        """Literal `index`, which changed nothing but `action`; base: with keys of 0."""
        kind, value = text.values[index]
        if isinstance(action, nodes.CtLbBase | nodes.CtNat):
            width = _widths(action).get(kind)
            return self._words(index, text, base, width) if width else None
        if isinstance(action, said.VERBS):
            return self._said(index, text, base, varied)
        if not isinstance(action, nodes.Load) or action.value != value:
            return None
        if action.dst.root == QUOTED_SOURCE:  # an operand, as it is no word
            return self._words(index, text, base, action.dst.width)
        mask = _ALL if isinstance(value, str) else action.mask
        if base.unsupported:
            return Hole(index, mask, mask, ())
        if isinstance(value, int):
            text_of_all = another(text.values[index], mask)
            if text_of_all is None:
                return None
            try:
                varied = parse_actions(text.with_literal(index, text_of_all))
            except OvnBpfError:
                return None
        return _set_words(index, action, mask, base, self._varied(varied, value))

    def _said(
        self, index: int, text: Text, base: Lowered, varied: Sequence[nodes.Action]
    ) -> Hole | None:
        """Where a number stands in what a verb says; None if it decides anything else."""
        other = take_apart(text.with_literal(index, another(text.values[index]) or ""))
        kind, value = text.values[index]
        if isinstance(value, str) or other is None or other.values[index][0] != kind:
            return None
        new = other.values[index][1]
        at = said.said_at(base, self._lower(varied, lambda _: 0), value, new)
        return None if at is None else Hole(index, 0, _EVERY, (), at)

    def _words(self, index: int, text: Text, base: Lowered, width: int) -> Hole | None:
        """Where a literal stands in the instructions, word by word; None if in part."""
        ones = min(_ALL, (1 << width) - 1)
        hole = Hole(index, (1 << width) - 1, (1 << width) - 1, ())
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
            slots.append(Slot(at, pos, ones, 0))
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
) -> Hole | None:
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
        slots.append(Slot(n * INSN_BYTES + _OFFSETS["b"], piece.pos, ones, piece.shift))
    return Hole(index, mask, mask, tuple(slots))


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
