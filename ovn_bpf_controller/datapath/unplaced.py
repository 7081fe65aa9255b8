# SPDX-License-Identifier: Apache-2.0
"""Logical flows that their stage has no room for: none of their rules is in force.

tables.Tables asks.  Half a flow could let through what the other half forbids.  So if
one rule of a flow finds no room, those that do drop their packets instead, with a
reason of their own; those that do not are left out.  Each later change tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.stages import INSN
from ovn_bpf_controller.model import Rule
from ovn_bpf_controller.plaindata import NamedTuple, replace

# Instead of the actions of a flow that is not placed.
DROP: Final = INSN.pack(lib.OP_DROP, 0, 0, 0, lib.DROP_NO_ROOM, 0, 0) + INSN.pack(
    lib.OP_END, 0, 0, 0, 0, 0, 0
)

FlowAt = tuple[int, int]  # tunnel key of the datapath, number of the flow
Identity = tuple[int, int, object, object]


class Refusal(NamedTuple):
    """A rule that cannot be said in maps, and why."""

    rule: Rule
    why: str


def without_room(rule: Rule) -> Refusal:
    """Of a rule whose stage has all the masks that it can have."""
    return Refusal(rule, f"its stage has {lib.OVN_MAX_TUPLES} masks already")


def too_wide(rule: Rule) -> Refusal:
    """Of a rule that no key has room for."""
    return Refusal(rule, f"looks at {len(rule.mask)} words of the packet")


def identity(rule: Rule) -> Identity:
    """What no other rule has."""
    return rule.dp, rule.table, rule.mask, rule.values


def _flow(rule: Rule) -> FlowAt:
    return rule.dp, rule.flow


class Unplaced:
    """The flows without room once `change` is true.

    change: with what is to be tried again, and with drops instead of what was refused.
    why: for each flow; those without a flow (0) are not here but refused one by one.
    news: the refusals that the last change did not have.
    """

    def __init__(self, change: TableChange, before: dict[FlowAt, str]) -> None:
        self.change = change
        self.why: dict[FlowAt, str] = {}
        self.news: list[Refusal] = []
        self._before = before
        self._rules: dict[Identity, Rule] = {}  # of these flows, as they ought to be

    def following(self, change: TableChange, complete: bool) -> Unplaced:
        """What is next; complete: see Tables.apply()."""
        if complete or not self._rules:
            return Unplaced(change, self.why)
        told = {identity(r) for each in (change.rules_removed, change.rules_added) for r in each}
        again = [rule for one, rule in self._rules.items() if one not in told]
        return Unplaced(replace(change, rules_added=[*change.rules_added, *again]), self.why)

    def settle(self) -> None:
        """The change is done, and needs no memory any more."""
        self.change = TableChange()

    def refuse(self, refused: Sequence[Refusal], there: Iterable[Rule]) -> None:
        """Takes back the flows that these rules belong to.

        there: what the tables hold and the change need not tell of.
        """
        fresh = {_flow(r.rule): r for r in refused if r.rule.flow}
        for at, refusal in fresh.items():
            self.why[at] = refusal.why
            if at not in self._before:
                self.news.append(refusal)
        told = {identity(r) for r in (*self.change.rules_removed, *self.change.rules_added)}
        rest = [r for r in there if _flow(r) in fresh and identity(r) not in told]
        left_out = {identity(r.rule) for r in refused}
        added = []
        for rule in (*self.change.rules_added, *rest):
            if _flow(rule) not in fresh:
                added.append(rule)
                continue
            one = identity(rule)
            self._rules[one] = rule
            if one not in left_out:
                added.append(replace(rule, insns=DROP))
        self.change = replace(self.change, rules_added=added)
