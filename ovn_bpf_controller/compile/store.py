# SPDX-License-Identifier: Apache-2.0
"""Which rule holds each key, and what changed since the last time somebody asked.

compile.compiler puts the rules of one owner (a flow on a datapath) in and takes
them out again.  Several owners may claim one key; the highest priority has it,
the smallest owner among equals, and when it goes the next one surfaces.  A change
costs the keys that it touches, whatever the size of the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ovn_bpf_controller.compile.layout import Key
from ovn_bpf_controller.model import Rule, SetMember
from ovn_bpf_controller.plaindata import dataclass, field

Owner = tuple[str, int]  # name of the owner, tunnel key of the datapath
Stage = tuple[int, int]  # tunnel key of the datapath, table as in model.Rule


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


class _Claim(NamedTuple):
    """rank: the negated priority.  No two claims of a key have the same owner."""

    rank: int
    owner: Owner
    rule: Rule


class RuleStore:
    """Claims by stage and key; see the module."""

    def __init__(self) -> None:
        self._stages: Final[dict[Stage, dict[Key, list[_Claim]]]] = {}
        self._owned: Final[dict[Owner, list[tuple[Stage, Key]]]] = {}
        # Winners as of the last changes(), for the keys touched since.
        self._before: Final[dict[tuple[Stage, Key], Rule | None]] = {}

    def put(self, owner: Owner, rules: Iterable[Rule]) -> None:
        """Makes `rules` all that the owner claims.

        Of several with one key the highest priority counts.
        """
        self.drop(owner)
        owned = []
        for rule in rules:
            stage = (rule.dp, rule.table)
            key = Key(rule.mask, rule.values)
            if self._claim(stage, key, _Claim(-rule.prio, owner, rule)):
                owned.append((stage, key))
        if owned:
            self._owned[owner] = owned

    def drop(self, owner: Owner) -> None:
        """Takes out whatever the owner claims."""
        for stage, key in self._owned.pop(owner, ()):
            self._touch(stage, key)
            keys = self._stages[stage]
            rest = [claim for claim in keys[key] if claim.owner != owner]
            if rest:
                keys[key] = rest
            else:
                del keys[key]
                if not keys:
                    del self._stages[stage]

    def changes(self) -> RuleChanges:
        """The difference between the winners now and at the last call."""
        out = RuleChanges()
        for (stage, key), before in self._before.items():
            now = self._winner(stage, key)
            if now == before:
                continue
            if before is not None:
                out.removed.append(before)
            if now is not None:
                out.added.append(now)
        self._before.clear()
        return out

    def winners(self, dp: int | None = None) -> Iterator[Rule]:
        """The rules that hold, by stage, the highest priority first."""
        for stage in sorted(self._stages):
            if dp is None or dp == stage[0]:
                rules = [claims[0].rule for claims in self._stages[stage].values()]
                yield from sorted(rules, key=lambda r: (-r.prio, r.mask, r.values))

    def _claim(self, stage: Stage, key: Key, claim: _Claim) -> bool:
        """False when the owner had claimed the key before in the same put()."""
        self._touch(stage, key)
        keys = self._stages.get(stage)
        if keys is None:
            keys = self._stages[stage] = {}
        claims = keys.get(key)
        if claims is None:
            keys[key] = [claim]
            return True
        for n, other in enumerate(claims):
            if other.owner == claim.owner:
                if claim.rank < other.rank:
                    claims[n] = claim
                    claims.sort(key=_best)
                return False
        claims.append(claim)
        claims.sort(key=_best)
        return True

    def _touch(self, stage: Stage, key: Key) -> None:
        if (stage, key) not in self._before:
            self._before[stage, key] = self._winner(stage, key)

    def _winner(self, stage: Stage, key: Key) -> Rule | None:
        keys = self._stages.get(stage)
        claims = keys.get(key) if keys is not None else None
        return claims[0].rule if claims else None


def _best(claim: _Claim) -> tuple[int, Owner]:
    return claim.rank, claim.owner
