# SPDX-License-Identifier: Apache-2.0
"""Which rule holds each key, and what changed since the last time somebody asked.

compile.compiler puts the rules of one owner (a flow on a datapath) in and takes
them out again.  Several owners may claim one key; the highest priority has it,
the smallest owner among equals, and when it goes the next one surfaces.  A change
costs the keys that it touches, whatever the size of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ovn_bpf_controller.model import Rule, SetMember
from ovn_bpf_controller.plaindata import dataclass, field

Owner = tuple[str, int]  # name of the owner, tunnel key of the datapath
Stage = tuple[int, int]  # tunnel key of the datapath, table as in model.Rule
_Key = tuple[tuple[tuple[int, int], ...], tuple[int, ...]]  # mask and values of a Rule


@dataclass(slots=True)
class RuleChanges:
    """What to take away from the data plane and what to add, in one step.

    A key in both lists is replaced: `removed` holds the rule that it had.  A member
    in sets_added replaces what it had; in sets_removed it has what it had.
    """

    removed: list[Rule] = field(default_factory=list)
    added: list[Rule] = field(default_factory=list)
    sets_removed: list[SetMember] = field(default_factory=list)
    sets_added: list[SetMember] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.sets_removed or self.sets_added)


_Claim = tuple[int, Owner, Rule]  # negated priority; no two of a key have the same owner


class _Held:
    """A key of a stage, with who claims it: the best first, nobody until changes().

    before: what held it at the last changes(), while it is `touched`.
    """

    __slots__ = ("before", "claims", "key", "stage", "touched")

    def __init__(self, stage: Stage, key: _Key) -> None:
        self.stage = stage
        self.key = key
        self.claims: list[_Claim] = []
        self.before: Rule | None = None
        self.touched = False


class RuleStore:
    """Claims by stage and key; see the module."""

    def __init__(self) -> None:
        self._stages: Final[dict[Stage, dict[_Key, _Held]]] = {}
        self._owned: Final[dict[Owner, list[_Held]]] = {}
        self._touched: Final[list[_Held]] = []

    def put(self, owner: Owner, rules: Iterable[Rule]) -> None:
        """Makes `rules` all that the owner claims.

        Of several with one key the highest priority counts.
        """
        if owner in self._owned:
            self.drop(owner)
        owned = []
        for rule in rules:
            stage = (rule.dp, rule.table)
            keys = self._stages.get(stage)
            if keys is None:
                keys = self._stages[stage] = {}
            key = (rule.mask, rule.values)  # dear to hash: looked up as seldom as can be
            held = keys.get(key)
            if held is None:
                held = keys[key] = _Held(stage, key)
            if not held.touched:
                self._touch(held)
            if not held.claims:
                held.claims.append((-rule.prio, owner, rule))
                owned.append(held)
            elif _claim(held.claims, (-rule.prio, owner, rule)):
                owned.append(held)
        if owned:
            self._owned[owner] = owned

    def drop(self, owner: Owner) -> None:
        """Takes out whatever the owner claims."""
        for held in self._owned.pop(owner, ()):
            if not held.touched:
                self._touch(held)
            held.claims = [claim for claim in held.claims if claim[1] != owner]

    def changes(self) -> RuleChanges:
        """The difference between the winners now and at the last call."""
        out = RuleChanges()
        for held in self._touched:
            before, held.before = held.before, None
            held.touched = False
            now = held.claims[0][2] if held.claims else None
            if now is None:
                self._remove(held)
            if now is before or (before is not None and now == before):
                continue
            if before is not None:
                out.removed.append(before)
            if now is not None:
                out.added.append(now)
        self._touched.clear()
        return out

    def winners(self, dp: int | None = None) -> Iterator[Rule]:
        """The rules that hold, by stage, the highest priority first.

        They may change meanwhile: a stage is looked at when its turn comes.
        """
        for stage in sorted(self._stages):
            if dp is None or dp == stage[0]:
                keys = self._stages.get(stage, {})
                rules = [held.claims[0][2] for held in keys.values() if held.claims]
                yield from sorted(rules, key=lambda r: (-r.prio, r.mask, r.values))

    def unsorted(self) -> Iterator[Rule]:
        """The same in no order, which takes a third of the time."""
        for keys in self._stages.values():
            for held in keys.values():
                if held.claims:
                    yield held.claims[0][2]

    def _touch(self, held: _Held) -> None:
        held.touched = True
        held.before = held.claims[0][2] if held.claims else None
        self._touched.append(held)

    def _remove(self, held: _Held) -> None:
        keys = self._stages[held.stage]
        del keys[held.key]
        if not keys:
            del self._stages[held.stage]


def _claim(claims: list[_Claim], claim: _Claim) -> bool:
    """False when the owner had claimed the key before in the same put()."""
    for n, other in enumerate(claims):
        if other[1] == claim[1]:
            if claim[0] < other[0]:
                claims[n] = claim
                claims.sort(key=_best)
            return False
    claims.append(claim)
    claims.sort(key=_best)
    return True


def _best(claim: _Claim) -> tuple[int, Owner]:
    return claim[:2]
