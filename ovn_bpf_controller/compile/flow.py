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
from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import prereqs
from ovn_bpf_controller.compile.action_plans import lowered_of
from ovn_bpf_controller.compile.action_templates import ActionTemplates
from ovn_bpf_controller.compile.actions import EGRESS, INGRESS, TABLES, Lowered, Traits, lower
from ovn_bpf_controller.compile.env import Kind, Ref
from ovn_bpf_controller.compile.known import known
from ovn_bpf_controller.compile.layout import Conj, Key, pack
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.compile.names import Names
from ovn_bpf_controller.compile.prereqs import Prereqs
from ovn_bpf_controller.compile.problems import Problem
from ovn_bpf_controller.compile.telling import NOTHING, About, Told
from ovn_bpf_controller.compile.templates import Matches
from ovn_bpf_controller.errors import LangError, OvnBpfError, UnsupportedError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import MatchEnv, disjuncts
from ovn_bpf_controller.plaindata import dataclass

# Keys that one flow may become on one datapath.
MAX_DISJUNCTS: Final = 16384

_TEXTS: Final = 4096  # distinct texts remembered
_ACTIONS: Final = ActionTemplates(lambda: known().actions)
# What became of actions that depend on nothing else, by text, pipeline and table.
_SAME: Final[dict[tuple[str, int, int], tuple[Lowered, Prereqs]]] = {}
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


# Verbs that are another one in each flow (compile.telling).
_OF_ITS_OWN: Final = re.compile(r"\b(?:log|set_meter|sample|fwd_group)\(")
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
    refs: Set[Ref]
    problems: tuple[tuple[Problem, str], ...] = ()
    side: tuple[SideRule, ...] = ()
    arguments: tuple[tuple[int, str], ...] = ()
    told: Told = NOTHING

    @property
    def same_everywhere(self) -> bool:
        """Whether it holds for every datapath of one kind: no port was asked for."""
        return not any(ref.kind in _OF_DATAPATH for ref in self.refs)


def compile_flow(flow: LogicalFlow, names: Names) -> Compiled:
    """The rules of `flow` on the datapath of `names`.  Never raises for what a row says."""
    names.begin()
    try:
        _check(flow)
        actions = names.expand(flow.actions) if "^" in flow.actions else flow.actions
        lowered, required = _lowered(actions, flow, names)
        match = names.expand(flow.match) if "^" in flow.match else flow.match
        if "igmp" in match or "mldv" in match:
            match = names.of_its_time(match)
        if flow.ct_translation:
            keys = _compile(match, required, names, True)
        else:
            keys = _keys(match, required, names)
    except LangError as error:
        return _left_out(Problem.INVALID, error, names)
    except UnsupportedError as error:
        return _left_out(Problem.MATCH, error, names)
    problems = [(Problem.VERB, word) for word in lowered.unsupported]
    return Compiled(
        keys,
        lowered.insns,
        names.refs,
        tuple(problems),
        lowered.side,
        lowered.arguments,
        lowered.told,
    )


def _left_out(problem: Problem, error: OvnBpfError, names: Names) -> Compiled:
    return Compiled((), b"", names.refs, ((problem, _told(error)),))


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


def _lowered(actions: str, flow: LogicalFlow, names: Names) -> tuple[Lowered, Prereqs]:
    """The instructions, and what the fields that the actions write require."""
    which = (actions, flow.pipeline, flow.table)
    made = None if flow.meter else _SAME.get(which)
    if made is not None:
        return made
    about = _about(flow, names)
    made = _lower(*which, names, about)
    if about is None and not names.refs:  # they depend on nothing
        if len(_SAME) >= _TEXTS:
            _SAME.clear()
        _SAME[which] = made
    return made


def _about(flow: LogicalFlow, names: Names) -> About | None:
    """What the actions depend on besides their text; None for nearly all flows."""
    text = flow.actions
    named = "log(" in text or "set_meter(" in text or "sample(" in text
    named = named or "fwd_group(" in text
    if flow.meter or (named and _OF_ITS_OWN.search(text)):
        return About(flow.uuid, flow.meter, names.has_collector, names.has_tunnel)
    return None


def _lower(
    text: str, pipeline: int, table: int, names: Names, about: About | None
) -> tuple[Lowered, Prereqs]:
    """_lowered() of what is not remembered."""
    traits = names.traits(text)
    if about is None:
        made = _ACTIONS.lower(text, pipeline, table, names, traits)
        made = made or _lower_constant(text, pipeline, table, traits)
        if made is not None:
            return made
    actions, required = _parsed(text)
    key, resident = names.port_key_or_0, names.is_resident
    return lower(actions, pipeline, table, key, resident, traits, about or About()), required


@lru_cache(maxsize=_TEXTS)
def _lower_constant(
    text: str, pipeline: int, table: int, traits: Traits
) -> tuple[Lowered, Prereqs] | None:
    """_lower() of actions that name nothing; None for others."""
    kept = known().constants.get((text, pipeline, table, *traits))
    if kept is not None:
        lowered, name = marshal.loads(kept)
        return lowered_of(*lowered), prereqs.named(name)
    no = _NoNames()
    actions, required = _parsed(text)
    try:
        return lower(actions, pipeline, table, no.port_key, no.is_resident, traits), required
    except _NameAskedError:
        return None


@lru_cache(maxsize=16)  # one text is asked for several times in a row
def _parsed(text: str) -> tuple[tuple[nodes.Action, ...], Prereqs]:
    actions = parse_actions(text)
    return actions, prereqs.of(action_prereqs(actions))


# --- matches ---------------------------------------------------------------


def _keys(match: str, required: Prereqs, names: Names) -> tuple[Key, ...]:
    made = _MATCHES.keys(match, required, names)
    if made is not None:
        return made
    constant = _keys_constant(match, required)
    if constant is not None:
        return constant
    return _compile(match, required, names)


def _condition(match: str, required: Prereqs, ct_translation: bool = False) -> nodes.Expr:
    """The match together with the prerequisites of the actions."""
    expr = parse_match(match, ct_translation)
    if required is prereqs.NONE:
        return expr
    return nodes.And((expr, required.expr))


def _compile(
    match: str, required: Prereqs, names: MatchEnv, ct_translation: bool = False
) -> tuple[Key, ...]:
    """The keys of a match that no template has."""
    condition = _condition(match, required, ct_translation)
    return _pack(disjuncts(condition, names, MAX_DISJUNCTS))


@lru_cache(maxsize=_TEXTS)
def _keys_constant(match: str, required: Prereqs) -> tuple[Key, ...] | None:
    """The keys of a match that names nothing; None for others."""
    kept = known().constants.get((match, required.name))
    if kept is not None:
        return tuple([Key(*key) for key in marshal.loads(kept)])
    try:
        return _compile(match, required, _NoNames())
    except _NameAskedError:
        return None


def matches(learnt: Callable[[], Mapping[object, bytes]] = dict) -> Matches:
    """Templates of matches that know no more than what was learnt."""
    return Matches(_condition, _compile, learnt)


_MATCHES: Final = matches(lambda: known().matches)


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
