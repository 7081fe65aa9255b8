# SPDX-License-Identifier: Apache-2.0
"""Logical flows by their shape: one compilation a shape, then literals are filled in.

compile.flow asks here before it parses.  150,000 matches of a large Southbound
are a hundred texts once their numbers, addresses and names are taken out.  A
literal is free only if nothing that must hold together with it looks at the same
bits, so that its value can decide nothing but itself; every doubt, and instances
whose keys meet, are left to the parser (None here).
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller.compile.choices import Choices, first_alone, listed
from ovn_bpf_controller.compile.holes import Hole, Names, free_literals
from ovn_bpf_controller.compile.layout import Key
from ovn_bpf_controller.compile.literals import Text, another, shape_of, take_apart, whole
from ovn_bpf_controller.compile.plans import Plan, plan_for
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang import nodes

PLANS: Final = 64  # per shape: how many combinations of other literals are worth one
SHAPES: Final = 4096
TRIED: Final = 32  # literals: to try more of them takes longer than compiling what has them
_TRIES: Final = 3  # instances from which no plan came, before none is tried again


class Matches:
    """Templates of matches.

    compile(text, names): the keys of a match together with given prerequisites,
    by the parser.  parse(text): its tree with them.
    """

    def __init__(self, learnt: Callable[[], Mapping[object, bytes]] = dict) -> None:
        """learnt: what kept() gave when the package was built."""
        self._learnt = learnt
        self._shapes: dict[object, _MatchShape] = {}

    def shapes(self) -> Iterable[_MatchShape]:
        """All that were met."""
        return self._shapes.values()

    def kept(self) -> dict[object, bytes]:
        """All that was learnt, by shape."""
        named = ((_name(what), shape) for what, shape in self._shapes.items())
        return {name: marshal.dumps(shape.plain()) for name, shape in named if name is not None}

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
        if "{" in match:
            made = self._keys_of_lists(match, extra, names, parse, compile_)
            if made is not None:
                return made
        found = shape_of(match)
        if found is None or not found[1]:
            return None
        shape = self._shape(found[0], extra)
        return shape.keys(match, found[1], names, parse, compile_) if shape else None

    def _shape(self, parts: object, extra: object) -> _MatchShape | None:
        what = parts if extra is nodes.TRUE else (parts, extra)
        shape = self._shapes.get(what)
        if shape is None and len(self._shapes) < SHAPES:
            shape = self._shapes[what] = _MatchShape()
            learnt = self._learnt().get(_name(what))
            if learnt is not None:
                shape.take(marshal.loads(learnt))
        return shape

    def _keys_of_lists(
        self,
        match: str,
        extra: object,
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        """keys() of a match with lists of numbers."""
        cut = first_alone(match)
        found = shape_of(cut[0]) if cut is not None else None
        shape = self._shape(found[0], extra) if found is not None else None
        if cut is None or found is None or shape is None:
            return None
        return shape.keys_of_lists(cut[0], found[1], cut[1], names, parse, compile_)


def _name(what: object) -> object:
    """What stands for a shape and its prerequisites in a file; None: nothing can."""
    if isinstance(what, bytes):
        return what
    if isinstance(what, tuple) and isinstance(what[0], bytes):
        return what[0], repr(what[1])
    return None


class _MatchShape:
    """One template: which literals are free, and a Plan for each of the others'.

    _plans: an int says how often none could be made.
    """

    def __init__(self) -> None:
        self._known = False
        self._hopeless = False
        self._fixed: tuple[int, ...] = ()
        self._residents: tuple[int, ...] = ()
        self._lists: tuple[int, ...] = ()  # in matches that had lists of numbers there
        self._plans: dict[object, Plan | int] = {}
        # What is free in the match that came first: its plan is due at once.
        self._first: tuple[list[Hole], list[int]] | None = None

    @property
    def plans(self) -> int:
        """How many combinations of literals that are not free were met."""
        return len(self._plans)

    def plain(self) -> tuple[Any, ...]:
        """What take() takes, for marshal."""
        plans = {
            which: plan if isinstance(plan, int) else plan.plain()
            for which, plan in self._plans.items()
        }
        return self._hopeless, self._fixed, self._residents, self._lists, plans

    def take(self, learnt: Any) -> None:
        """Knows what a shape knew that plain() was asked."""
        self._hopeless, self._fixed, self._residents, self._lists, plans = learnt
        self._plans = {
            which: plan if isinstance(plan, int) else Plan.of(*plan)
            for which, plan in plans.items()
        }
        self._known = True

    def keys(
        self,
        match: str,
        values: Sequence[int | str],
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        plan = self._plan_of(match, values, names, parse, compile_)
        return plan.fill(values, names) if plan is not None else None

    def keys_of_lists(
        self,
        match: str,
        values: Sequence[int | str],
        choices: Choices,
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        """The same of `match` with any of the numbers of each list in its first's place."""
        try:
            plan = self._plan_of(match, values, names, parse, compile_)
        except LangError:
            return None  # it is to be told of the whole text
        if plan is None or len(self._lists) != len(choices):
            return None
        return plan.fill_each(values, dict(zip(self._lists, choices, strict=True)), names)

    def _plan_of(
        self,
        match: str,
        values: Sequence[int | str],
        names: Names,
        parse: Callable[[str], nodes.Expr],
        compile_: Callable[[str], tuple[Key, ...]],
    ) -> Plan | None:
        """What is to be filled in; None: ask the parser."""
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
            return made
        return plan

    def _learn(self, match: str, text: Text, parse: Callable[[str], nodes.Expr]) -> None:
        if len(text.literals) > TRIED:
            self._known = self._hopeless = True
            return
        self._lists = listed(text)
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
    ) -> Plan | None:
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
        plan = plan_for(keys, holes, known_values)
        if plan is None:
            return None
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
