# SPDX-License-Identifier: Apache-2.0
"""One logical flow on one datapath -> its keys and instructions.

compile.compiler calls compile_flow() and keeps the books.  What the outcome
depends on besides the flow (ports, sets, residency) is asked of an Env and noted
on the way, so that a change finds just the flows that asked.  What depends on
nothing is computed once per text, however many flows and datapaths repeat it.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.action_templates import ActionTemplates, lowered_of
from ovn_bpf_controller.compile.actions import EGRESS, INGRESS, TABLES, Lowered, Traits, lower
from ovn_bpf_controller.compile.env import Env, Kind, Ref
from ovn_bpf_controller.compile.known import known
from ovn_bpf_controller.compile.known import prereqs as known_prereqs
from ovn_bpf_controller.compile.layout import Conj, Key, pack
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.compile.problems import Problem
from ovn_bpf_controller.compile.sets import SetBook
from ovn_bpf_controller.compile.telling import NOTHING, About, Told
from ovn_bpf_controller.compile.templates import Matches
from ovn_bpf_controller.errors import LangError, OvnBpfError, UnsupportedError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import disjuncts
from ovn_bpf_controller.lang.templates import substitute_templates, template_names
from ovn_bpf_controller.plaindata import dataclass

# Keys that one flow may become on one datapath.
MAX_DISJUNCTS: Final = 16384

_TEXTS: Final = 4096  # distinct texts remembered
_MATCHES: Final = Matches(lambda: known().matches)
_ACTIONS: Final = ActionTemplates(lambda: known().actions)
_NEAR: Final = 30  # characters shown on either side of a mistake


@dataclass(frozen=True, slots=True)
class LogicalFlow:
    """A row of Logical_Flow.

    pipeline: INGRESS or EGRESS.  priority: 0..65535.  stage: OVN's name for the
    table, for operators only.  ct_translation: see lang.expr.parse_match().
    meter: the name in controller_meter, or "".
    """

    uuid: str
    pipeline: int
    table: int
    priority: int
    match: str
    actions: str
    stage: str = ""
    ct_translation: bool = False
    meter: str = ""


# Verbs whose instructions depend on the kind of datapath (compile.ct_actions).
_STATEFUL: Final = re.compile(r"\bct_(?!clear)|\bcommit_lb_aff\b")
# Verbs that are another one in each flow (compile.telling).
_OF_ITS_OWN: Final = re.compile(r"\b(?:log|set_meter|sample|fwd_group)\(")
_NO_TRAITS: Final = Traits()
_TRAITS: Final = Ref(Kind.TRAITS, "")
_TUNNELS: Final = Ref(Kind.TUNNEL, "")
_OF_DATAPATH: Final = frozenset({Kind.PORT, Kind.PORT_GROUP, Kind.GROUP_NUMBER, Kind.TUNNEL})


@dataclass(frozen=True, slots=True)
class Compiled:
    """keys x insns are the flow's rules; refs: what that depends on.

    side: rules of side tables that go with it.  problems: what is not as the flow
    says, and the words to tell it in.  arguments: of verbs of the slow path.  told:
    meters and logs.
    """

    keys: tuple[Key, ...]
    insns: bytes
    refs: frozenset[Ref]
    problems: tuple[tuple[Problem, str], ...] = ()
    side: tuple[SideRule, ...] = ()
    arguments: tuple[tuple[int, str], ...] = ()
    told: Told = NOTHING

    @property
    def same_everywhere(self) -> bool:
        """Whether it holds for every datapath of one kind: no port was asked for."""
        return not any(ref.kind in _OF_DATAPATH for ref in self.refs)


class _Names:
    """An Env seen from one datapath (lang's MatchEnv) that notes what it is asked."""

    def __init__(self, env: Env, dp: int, sets: SetBook) -> None:
        self._env = env
        self._dp = dp
        self._sets = sets
        self.refs: set[Ref] = set()

    def address_set(self, name: str) -> Sequence[str] | None:
        self.refs.add(Ref(Kind.ADDRESS_SET, name))
        return self._env.address_set(name)

    def port_group(self, name: str) -> Sequence[str] | None:
        self.refs.add(Ref(Kind.PORT_GROUP, name))
        return self._env.port_group(self._dp, name)

    def port_key(self, lport: str) -> int | None:
        if lport == "none":  # OVN's way to say "no port" in matches and actions
            return 0
        self.refs.add(Ref(Kind.PORT, lport))
        return self._env.port_key(self._dp, lport)

    def is_resident(self, lport: str) -> bool:
        self.refs.add(Ref(Kind.RESIDENT, lport))
        return self._env.is_resident(lport)

    def set_number(self, name: str, width: int) -> int | None:
        number = self._sets.number(name, width, 0)
        if number is not None:  # otherwise the members are asked for
            self.refs.add(Ref(Kind.SET_NUMBER, name, width))
        return number

    def group_number(self, name: str) -> int | None:
        number = self._sets.number(name, 0, self._dp)
        if number is not None:
            self.refs.add(Ref(Kind.GROUP_NUMBER, name, self._dp))
        return number

    def traits(self, actions: str) -> Traits:
        """Of the datapath, as far as they can matter to the actions."""
        # The plain searches spare nearly all flows the dear one.
        if "ct_" not in actions and "commit_lb_aff" not in actions:
            return _NO_TRAITS
        if not _STATEFUL.search(actions):
            return _NO_TRAITS
        self.refs.add(_TRAITS)
        return self._env.traits(self._dp)

    def has_collector(self, number: int) -> bool:
        self.refs.add(Ref(Kind.COLLECTOR, str(number)))
        return self._env.has_collector(number)

    def has_tunnel(self, lport: str) -> bool:
        self.refs.add(_TUNNELS)
        return self._env.has_tunnel(self._dp, lport)

    def port_key_or_0(self, lport: str) -> int:
        """OVN stores 0 for a port that the datapath does not have."""
        return self.port_key(lport) or 0

    def expand(self, text: str) -> str:
        """The text with its template variables replaced."""
        self.refs.update(Ref(Kind.TEMPLATE, name) for name in template_names(text))
        return substitute_templates(text, self._env.template_vars())


def compile_flow(flow: LogicalFlow, dp: int, env: Env, sets: SetBook) -> Compiled:
    """The rules of `flow` on datapath dp.  Never raises for what a row says."""
    names = _Names(env, dp, sets)
    try:
        _check(flow)
        actions = names.expand(flow.actions) if "^" in flow.actions else flow.actions
        lowered, prereqs = _lower(actions, flow.pipeline, flow.table, names, _about(flow, names))
        match = names.expand(flow.match) if "^" in flow.match else flow.match
        if flow.ct_translation:
            keys = _pack(disjuncts(_condition(match, prereqs, True), names, MAX_DISJUNCTS))
        else:
            keys = _keys(match, prereqs, names)
    except LangError as error:
        return _left_out(Problem.INVALID, error, names)
    except UnsupportedError as error:
        return _left_out(Problem.MATCH, error, names)
    problems = [(Problem.VERB, word) for word in lowered.unsupported]
    return Compiled(
        keys,
        lowered.insns,
        frozenset(names.refs),
        tuple(problems),
        lowered.side,
        lowered.arguments,
        lowered.told,
    )


def _left_out(problem: Problem, error: OvnBpfError, names: _Names) -> Compiled:
    return Compiled((), b"", frozenset(names.refs), ((problem, _told(error)),))


def _told(error: OvnBpfError) -> str:
    """An error for the log: of a long text only what is near the mistake."""
    if not isinstance(error, LangError):
        return str(error)
    near = error.text[max(0, error.position - _NEAR) : error.position + _NEAR]
    return f"{error.message} at column {error.position + 1}, near {near!r}"


def _check(flow: LogicalFlow) -> None:
    """Raises LangError for numbers that no stage has."""
    if flow.pipeline not in (INGRESS, EGRESS):
        raise LangError(f"no pipeline {flow.pipeline}", flow.match, 0)
    if not 0 <= flow.table < TABLES[flow.pipeline]:
        raise LangError(f"no table {flow.table}", flow.match, 0)
    if not 0 <= flow.priority <= 0xFFFF:
        raise LangError(f"no priority {flow.priority}", flow.match, 0)


# --- actions ---------------------------------------------------------------


def _about(flow: LogicalFlow, names: _Names) -> About | None:
    """What the actions depend on besides their text; None for nearly all flows."""
    text = flow.actions
    named = "log(" in text or "set_meter(" in text or "sample(" in text
    named = named or "fwd_group(" in text
    if flow.meter or (named and _OF_ITS_OWN.search(text)):
        return About(flow.uuid, flow.meter, names.has_collector, names.has_tunnel)
    return None


def _lower(
    text: str, pipeline: int, table: int, names: _Names, about: About | None
) -> tuple[Lowered, nodes.Expr]:
    """The instructions, and what the fields that the actions write require."""
    traits = names.traits(text)
    if about is None:
        made = _ACTIONS.lower(text, pipeline, table, names, traits)
        if made is not None:
            return made
        constant = _lower_constant(text, pipeline, table, traits)
        if constant is not None:
            return constant
    actions, prereqs = _parsed(text)
    key, resident = names.port_key_or_0, names.is_resident
    return lower(actions, pipeline, table, key, resident, traits, about or About()), prereqs


@lru_cache(maxsize=_TEXTS)
def _lower_constant(
    text: str, pipeline: int, table: int, traits: Traits
) -> tuple[Lowered, nodes.Expr] | None:
    """_lower() of actions that name nothing; None for others."""
    kept = known().constants.get((text, pipeline, table, *traits))
    if kept is not None:
        lowered, required = marshal.loads(kept)
        return lowered_of(*lowered), known_prereqs(required)
    no = _NoNames()
    actions, prereqs = _parsed(text)
    try:
        return lower(actions, pipeline, table, no.port_key, no.is_resident, traits), prereqs
    except _NameAskedError:
        return None


@lru_cache(maxsize=16)  # one text is asked for several times in a row
def _parsed(text: str) -> tuple[tuple[nodes.Action, ...], nodes.Expr]:
    actions = parse_actions(text)
    return actions, action_prereqs(actions)


# --- matches ---------------------------------------------------------------


def _keys(match: str, prereqs: nodes.Expr, names: _Names) -> tuple[Key, ...]:
    made = _keys_of_shape(match, prereqs, names)
    if made is not None:
        return made
    constant = _keys_constant(match, prereqs)
    if constant is not None:
        return constant
    return _pack(disjuncts(_condition(match, prereqs), names, MAX_DISJUNCTS))


def _keys_of_shape(match: str, prereqs: nodes.Expr, names: _Names) -> tuple[Key, ...] | None:
    return _MATCHES.keys(
        match,
        prereqs,
        names,
        lambda text: _condition(text, prereqs),
        lambda text: _pack(disjuncts(_condition(text, prereqs), names, MAX_DISJUNCTS)),
    )


def _condition(match: str, prereqs: nodes.Expr, ct_translation: bool = False) -> nodes.Expr:
    """The match together with the prerequisites of the actions."""
    expr = parse_match(match, ct_translation)
    if prereqs == nodes.TRUE:
        return expr
    return nodes.And((expr, prereqs))


@lru_cache(maxsize=_TEXTS)
def _keys_constant(match: str, prereqs: nodes.Expr) -> tuple[Key, ...] | None:
    """The keys of a match that names nothing; None for others."""
    kept = known().constants.get((match, repr(prereqs)))
    if kept is not None:
        return tuple([Key(*key) for key in marshal.loads(kept)])
    try:
        return _pack(disjuncts(_condition(match, prereqs), _NoNames(), MAX_DISJUNCTS))
    except _NameAskedError:
        return None


class _NameAskedError(OvnBpfError):
    """What was thought to be the same everywhere depends on a name."""


class _NoNames:
    """A MatchEnv that answers nothing."""

    def address_set(self, name: str) -> Sequence[str] | None:
        raise _NameAskedError(name)

    def port_group(self, name: str) -> Sequence[str] | None:
        raise _NameAskedError(name)

    def port_key(self, lport: str) -> int:
        raise _NameAskedError(lport)

    def is_resident(self, lport: str) -> bool:
        raise _NameAskedError(lport)

    def set_number(self, name: str, width: int) -> int | None:
        raise _NameAskedError(name)

    def group_number(self, name: str) -> int | None:
        raise _NameAskedError(name)


def _pack(conjunctions: Sequence[Conj]) -> tuple[Key, ...]:
    """Keys without repetitions, sorted."""
    keys: dict[Key, None] = {}
    for conj in conjunctions:
        key = pack(conj)
        if key is None:
            continue
        if len(key.mask) > lib.OVN_CLASS_L:
            raise UnsupportedError(f"match on {len(key.mask)} words")
        keys[key] = None
    return tuple(sorted(keys))
