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

from ovn_bpf_controller.compile import prereqs
from ovn_bpf_controller.compile.choices import Choices, first_alone, listed
from ovn_bpf_controller.compile.holes import Hole, free_literals
from ovn_bpf_controller.compile.layout import Key
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
from ovn_bpf_controller.compile.plans import Plan, plan_for
from ovn_bpf_controller.compile.prereqs import Prereqs
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.normal import MatchEnv

PLANS: Final = 64  # per shape: how many combinations of other literals are worth one
SHAPES: Final = 4096
TRIED: Final = 32  # literals: to try more of them takes longer than compiling what has them
_TRIES: Final = 3  # instances from which no plan came, before none is tried again

Parse = Callable[[str, Prereqs], nodes.Expr]  # a match together with prerequisites
Compile = Callable[[str, Prereqs, MatchEnv], tuple[Key, ...]]  # the same, by the parser


class Matches:
    """Templates of matches."""

    def __init__(
        self,
        parse: Parse,
        compile_: Compile,
        learnt: Callable[[], Mapping[object, bytes]] = dict,
    ) -> None:
        """learnt: what kept() gave when the package was built."""
        self._parse = parse
        self._compile = compile_
        self._learnt = learnt
        self._shapes: dict[Prereqs, dict[object, _MatchShape]] = {}
        self._count = 0

    def shapes(self) -> Iterable[_MatchShape]:
        """All that were met."""
        for shapes in self._shapes.values():
            yield from shapes.values()

    def kept(self) -> dict[object, bytes]:
        """All that was learnt, by shape."""
        return {
            name: marshal.dumps(shape.plain())
            for extra, shapes in self._shapes.items()
            for parts, shape in shapes.items()
            if (name := _name(parts, extra)) is not None
        }

    def keys(self, match: str, extra: Prereqs, names: MatchEnv) -> tuple[Key, ...] | None:
        """The keys of `match`, sorted; None: ask the parser."""
        if "{" in match:
            made = self._keys_of_lists(match, extra, names)
            if made is not None:
                return made
        parts = take(match)
        if type(parts) is bytes and not TAKEN.n:
            return None
        shapes = self._shapes.get(extra)
        shape = shapes.get(parts) if shapes is not None else None
        if shape is None:
            shape = self._shape(parts, extra)
        return shape.keys(match, names) if shape is not None else None

    def _shape(self, parts: object, extra: Prereqs) -> _MatchShape | None:
        shapes = self._shapes.get(extra)
        if shapes is None:
            shapes = self._shapes[extra] = {}
        shape = shapes.get(parts)
        if shape is None and parts is not None and self._count < SHAPES:
            self._count += 1
            shape = shapes[parts] = _MatchShape(kinds(parts), extra, self._parse, self._compile)
            learnt = self._learnt().get(_name(parts, extra))
            if learnt is not None:
                shape.take(marshal.loads(learnt))
        return shape

    def _keys_of_lists(self, match: str, extra: Prereqs, names: MatchEnv) -> tuple[Key, ...] | None:
        """keys() of a match with lists of numbers."""
        cut = first_alone(match)
        parts = take(cut[0]) if cut is not None else None
        shape = self._shape(parts, extra)
        if cut is None or shape is None:
            return None
        return shape.keys_of_lists(*cut, names)


def _name(parts: object, extra: Prereqs) -> object:
    """What stands for a shape and its prerequisites in a file; None: nothing can."""
    if not isinstance(parts, bytes):
        return None
    return parts if extra is prereqs.NONE else (parts, extra.name)


class _MatchShape:
    """One template: which literals are free, and a Plan for each of the others'.

    _plans: an int says how often none could be made.
    """

    def __init__(self, found: Kinds, extra: Prereqs, parse: Parse, compile_: Compile) -> None:
        self._kinds = found
        self._extra = extra
        self._parse = parse
        self._compile = compile_
        self._known = False
        self._hopeless = False
        self._fixed: tuple[int, ...] = ()
        self._residents: tuple[int, ...] = ()
        self._lists: tuple[int, ...] = ()  # in matches that had lists of numbers there
        self._plans: dict[object, Plan | int] = {}
        self._only: Plan | None = None  # the one for all instances
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

    def keys(self, match: str, names: MatchEnv) -> tuple[Key, ...] | None:
        """See Matches; take() was asked of `match` just now."""
        if self._only is not None:
            return self._only.fill_taken(match, names)
        if self._hopeless:
            return None
        literals = values(match, self._kinds)
        plan = self._plan_of(match, literals, names)
        return plan.fill(literals, names) if plan is not None else None

    def keys_of_lists(
        self, match: str, choices: Choices, names: MatchEnv
    ) -> tuple[Key, ...] | None:
        """The same of `match` with any of the numbers of each list in its first's place."""
        literals = values(match, self._kinds)
        try:
            plan = self._plan_of(match, literals, names)
        except LangError:
            return None  # it is to be told of the whole text
        if plan is None or len(self._lists) != len(choices):
            return None
        return plan.fill_each(literals, dict(zip(self._lists, choices, strict=True)), names)

    def _plan_of(self, match: str, literals: Sequence[int | str], names: MatchEnv) -> Plan | None:
        """What is to be filled in with literals.TAKEN; None: ask the parser."""
        if not self._known:
            self._learn(match, whole(match))
        if self._hopeless:
            return None
        which = (
            tuple([literals[i] for i in self._fixed]),
            tuple([names.is_resident(str(literals[i])) for i in self._residents]),
        )
        plan = self._plans.get(which, 0)
        if not isinstance(plan, int) and not self._kinds.odd:
            if not (self._fixed or self._residents):
                self._only = plan
            return plan
        if isinstance(plan, int):
            if plan >= _TRIES or len(self._plans) >= PLANS:
                return None
            made = self._plan(match, whole(match), names)
            self._plans[which] = plan + 1 if made is None else made
            if made is None:
                return None
            plan = made
        return plan if put(literals) else None

    def _learn(self, match: str, text: Text) -> None:
        if not 0 < len(text.literals) <= TRIED:
            self._known = self._hopeless = True
            return
        self._lists = listed(text)
        self._first = free, residents = free_literals(match, text, self._tree)
        holes = {hole.literal for hole in free}
        self._residents = tuple(residents)
        self._fixed = tuple(
            i for i in range(len(text.literals)) if i not in holes and i not in residents
        )
        # What a name that is not free decides differs between datapaths.
        self._hopeless = not free or any(isinstance(text.values[i][1], str) for i in self._fixed)
        self._known = True

    def _tree(self, match: str) -> nodes.Expr:
        return self._parse(match, self._extra)

    def _plan(self, match: str, text: Text, names: MatchEnv) -> Plan | None:
        free, residents = self._first or free_literals(match, text, self._tree)
        self._first = None
        known = {hole.literal for hole in free} | set(residents) | set(self._fixed)
        if not known.issuperset(range(len(text.literals))):
            return None
        holes = [hole for hole in free if hole.literal not in self._fixed]
        literals = [value for _, value in text.values]
        found = [hole.value(literals[hole.literal], names) for hole in holes]
        known_values = [value for value in found if value is not None]
        if len(known_values) != len(found):
            return None
        keys = self._compile(match, self._extra, names)
        plan = plan_for(keys, holes, known_values, bool(self._lists))
        if plan is None:
            return None
        other = self._other(text, holes)
        others = [value for _, value in other.values]
        if not put(literals) or plan.fill(literals, names) != keys:
            return None
        of_other = self._compile(other.text(), self._extra, names)
        return plan if put(others) and plan.fill(others, names) == of_other else None

    @staticmethod
    def _other(text: Text, holes: Sequence[Hole]) -> Text:
        """An instance with other numbers: did keys of `text` meet, it has more of them."""
        for hole in holes:
            other = another(text.values[hole.literal])
            if other is not None and isinstance(text.values[hole.literal][1], int):
                varied = take_apart(text.with_literal(hole.literal, other))
                text = varied if varied is not None else text
        return text
