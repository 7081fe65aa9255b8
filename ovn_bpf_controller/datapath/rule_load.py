# SPDX-License-Identifier: Apache-2.0
"""The first load of rules, into tables that have none.

rule_changes.stage_rules() calls it.  A start writes tens of thousands of rules, most of
them alone with their mask and actions; but stages, masks and lists of actions are few, and
slots lie side by side.  So each is looked up, held and noted for the journal once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.interned import Mask
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.parts import in_parts
from ovn_bpf_controller.datapath.rules import Fresh, Rules
from ovn_bpf_controller.model import Rule

_GROUPS: Final = 64  # rules under one mask of a stage, seldom more than a few
_SLOTS: Final = 2048  # written without a break

_Where = tuple[int, int, Mask]  # datapath, table, mask
_Groups = dict[_Where, dict[tuple[int, ...], Rule]]  # by values, which no two rules share


def load(
    rules: Rules, sound: Iterable[Rule], generation: int, journal: Journal
) -> Generator[None, None, list[Rule]]:
    """Writes rules aside; of several with one key the last counts.

    Returns those that their stages have no room for.  Pauses now and then.  Raises
    DataPlaneError when a map is full.
    """
    groups: _Groups = {}
    for rule in in_parts(sound):
        if rule is None:
            yield
        else:
            where = rule.dp, rule.table, rule.mask
            group = groups.get(where)
            if group is None:
                group = groups[where] = {}
            group[rule.values] = rule
    refused = _take_refused(groups)
    pcs = yield from _held(rules, groups, journal)
    fresh: dict[int, Fresh] = {}
    for number, ((_, _, mask), group) in enumerate(groups.items(), 1):
        if mask:
            rules.tell([*group.values()], pcs, fresh, journal)
        else:
            rules.put(group[()], generation, journal)
        if not number % _GROUPS:
            yield
    for number, (keys, bodies) in fresh.items():
        for start in range(0, len(keys), _SLOTS):
            part = slice(start, start + _SLOTS)
            rules.tables[number].put_fresh(keys[part], bodies[part], generation, journal)
            yield
    return refused


def _take_refused(groups: _Groups) -> list[Rule]:
    """Takes away what is under more masks than a stage can have."""
    masks: dict[tuple[int, int], int] = {}
    over = []
    for dp, table, mask in groups:
        if mask:
            masks[dp, table] = masks.get((dp, table), 0) + 1
            if masks[dp, table] > lib.OVN_MAX_TUPLES:
                over.append((dp, table, mask))
    return [rule for group in over for rule in groups.pop(group).values()]


def _held(
    rules: Rules, groups: _Groups, journal: Journal
) -> Generator[None, None, dict[bytes, int]]:
    """Where the actions of the rules with masks are; each rule holds them."""
    counts: dict[bytes, int] = {}
    for number, ((_, _, mask), group) in enumerate(groups.items(), 1):
        for rule in group.values() if mask else ():
            counts[rule.insns] = counts.get(rule.insns, 0) + 1
        if not number % (2 * _GROUPS):
            yield
    pcs = {}
    for insns in in_parts(counts):
        if insns is None:
            yield
        else:
            pcs[insns] = rules.hold_actions(insns, counts[insns], journal)
    return pcs
