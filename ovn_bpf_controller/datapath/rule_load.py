# SPDX-License-Identifier: Apache-2.0
"""The first load of rules, into tables that have none.

rule_changes.stage_rules() calls it.  A start writes tens of thousands of rules, most of
them alone with their mask and actions; but stages, masks and lists of actions are few, and
slots lie side by side.  So each is looked up, held and noted for the journal once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from itertools import chain
from operator import attrgetter
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.guards import Common
from ovn_bpf_controller.datapath.interned import WORDS_OF_CLASS, Mask, key_class
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.parts import PART, in_parts
from ovn_bpf_controller.datapath.rules import BODY, Held, Rules, Users, key_packer
from ovn_bpf_controller.datapath.stages import PER_DP, Stage, goes_on
from ovn_bpf_controller.datapath.unplaced import Refusal, too_wide, without_room
from ovn_bpf_controller.model import Rule

_SLOTS: Final = 2048  # written without a break
_insns_of: Final = attrgetter("insns")

_Group = dict[tuple[int, ...], Rule]  # rules under one mask by values, which no two share
_Where = tuple[int, int]  # datapath, table
_Stages = dict[_Where, dict[Mask, _Group]]
_Fresh = tuple[list[bytes], list[bytes]]  # keys and bodies of one class


def load(
    rules: Rules, added: Iterable[Rule], generation: int, journal: Journal
) -> Generator[None, None, list[Refusal]]:
    """Writes rules aside; of several with one key the last counts.

    Returns those that cannot be written.  Pauses now and then.  Raises DataPlaneError
    when a map is full.
    """
    stages = yield from _grouped(added)
    refused = [refusal for masks in stages.values() for refusal in _take_refused(masks)]
    stages = {where: masks for where, masks in stages.items() if masks}
    users = yield from _users(stages)
    held = yield from rules.hold_all(users, journal)
    defaults: dict[_Where, int] = {}
    alone = [(where, masks[()][()]) for where, masks in stages.items() if () in masks]
    for part in in_parts(alone):
        slots = rules.put_defaults([rule for _, rule in part], held, generation, journal)
        defaults.update(zip([where for where, _ in part], slots, strict=True))
        yield
    fresh: tuple[_Fresh, ...] = tuple(([], []) for _ in rules.tables)
    written = 0
    for where, masks in stages.items():
        number = held.datapaths[where[0]] * PER_DP + where[1]
        stage = Stage()
        for mask, group in masks.items():
            if mask:
                _add(stage, number, mask, group, held, fresh)
                written += len(group)
            else:
                stage.default_rule = defaults[where]
                stage.trivial = goes_on(group[()].insns, where[1])
            if written >= PART:
                written = 0
                yield
        rules.load_stage(number, stage, journal)
    for table, (keys, bodies) in zip(rules.tables, fresh, strict=True):
        for start in range(0, len(keys), _SLOTS):
            some = slice(start, start + _SLOTS)
            table.put_fresh(keys[some], bodies[some], generation, journal)
            yield
    return refused


def _grouped(added: Iterable[Rule]) -> Generator[None, None, _Stages]:
    stages: _Stages = {}
    where, masks = (-1, -1), {}
    for part in in_parts(added):
        for rule in part:
            if rule.table != where[1] or rule.dp != where[0]:  # seldom: they come by flow
                where = rule.dp, rule.table
                masks = stages.setdefault(where, {})
            group = masks.get(rule.mask)
            if group is None:
                group = masks[rule.mask] = {}
            group[rule.values] = rule
        yield
    return stages


def _take_refused(masks: dict[Mask, _Group]) -> list[Refusal]:
    """Takes away what no key has room for, and what is under more masks than a stage can
    have."""
    wide = [mask for mask in masks if len(mask) > WORDS_OF_CLASS[-1]]
    refused = [too_wide(rule) for mask in wide for rule in masks.pop(mask).values()]
    if len(masks) > lib.OVN_MAX_TUPLES:
        over = [mask for mask in masks if mask][lib.OVN_MAX_TUPLES :]
        refused += [without_room(rule) for mask in over for rule in masks.pop(mask).values()]
    return refused


def _users(stages: _Stages) -> Generator[None, None, Users]:
    datapaths: dict[int, int] = {}
    of_masks: dict[Mask, int] = {}
    lists: Counter[bytes] = Counter()
    for part in in_parts(stages.items()):
        groups: list[_Group] = []
        for (dp, _), masks in part:
            groups += masks.values()
            datapaths[dp] = datapaths.get(dp, 0) + sum(map(len, masks.values()))
            for mask, group in masks.items():
                of_masks[mask] = of_masks.get(mask, 0) + len(group)
        every = chain.from_iterable(group.values() for group in groups)
        lists.update(map(_insns_of, every))
        yield
    of_masks.pop((), None)
    return Users(datapaths, of_masks, lists)


def _add(
    stage: Stage, number: int, mask: Mask, group: _Group, held: Held, fresh: tuple[_Fresh, ...]
) -> None:
    """Rules under a mask of the stage of that number; see rules.keys_of(), bodies_of()."""
    index, size = held.masks[mask], key_class(mask)
    pack, zeros = key_packer(mask)
    keys, bodies = fresh[size]
    body, pcs = BODY.pack, held.insns
    prios: dict[int, int] = {}
    for values, rule in group.items():
        key = pack(number, index, *values, *zeros)
        keys.append(key)
        prio = rule.prio
        bodies.append(body(prio, pcs[rule.insns], rule.flow) + key)
        prios[prio] = prios.get(prio, 0) + 1
    stage.prios[index], stage.tops[index] = prios, max(prios)
    stage.common[index] = Common.of(mask, group)
