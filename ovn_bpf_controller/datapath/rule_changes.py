# SPDX-License-Identifier: Apache-2.0
"""The rules of one change, carried to Rules.

tables.Tables calls stage_rules().  What an ACL becomes is many rules of one stage under
one mask with one list of actions: such runs are written together.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.interned import WORDS_OF_CLASS
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.parts import PART, in_parts
from ovn_bpf_controller.datapath.rule_load import load
from ovn_bpf_controller.datapath.rules import Rules
from ovn_bpf_controller.datapath.unplaced import Refusal, identity, too_wide, without_room
from ovn_bpf_controller.model import Rule


def stage_rules(
    rules: Rules, change: TableChange, generation: int, journal: Journal, complete: bool
) -> Generator[None, None, list[Refusal]]:
    """Writes the rules of `change` aside; returns those that cannot be.

    complete: see Tables.apply().  Pauses now and then.
    """
    if rules.blank:
        return (yield from load(rules, change.rules_added, generation, journal))
    refused: list[Refusal] = []
    sound: Iterable[Rule] = (rule for rule in change.rules_added if _sound(rule, refused))
    if rules if complete else change.rules_removed:
        added: dict[object, Rule] = {}
        for part in in_parts(sound):
            added.update((identity(rule), rule) for rule in part)
            yield
        gone: list[Rule] = []
        for part in in_parts(rules.all() if complete else change.rules_removed):
            gone += [rule for rule in part if identity(rule) not in added]
            yield
        for run in runs(gone):
            if run is None:
                yield
            else:
                rules.delete_run(run, generation, journal)
        sound = added.values()
    for run in runs(sound):
        if run is None:
            yield
        elif not rules.put_run(run, generation, journal):
            refused += map(without_room, run)
    return refused


def runs(rules: Iterable[Rule]) -> Iterator[list[Rule] | None]:
    """Rules of one stage that follow each other with one mask and one list of actions;
    None now and then: time for a break."""
    run: list[Rule] = []
    written = 0
    for rule in rules:
        if run and (len(run) >= PART or not _alike(run[0], rule)):
            yield run
            written += len(run)
            run = []
            if written >= PART:
                yield None
                written = 0
        run.append(rule)
    if run:
        yield run


def _alike(one: Rule, other: Rule) -> bool:
    return (
        one.flow == other.flow
        and one.mask == other.mask
        and one.table == other.table
        and one.dp == other.dp
        and one.insns == other.insns
    )


def _sound(rule: Rule, refused: list[Refusal]) -> bool:
    if len(rule.mask) <= WORDS_OF_CLASS[-1]:
        return True
    refused.append(too_wide(rule))
    return False
