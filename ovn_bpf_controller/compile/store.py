# SPDX-License-Identifier: Apache-2.0
"""Which rule holds each key, and what changed since the last time somebody asked.

compile.compiler puts the rules of one owner (a flow on a datapath) in and takes
them out again.  Several owners may claim one key; the highest priority has it,
the smallest owner among equals, and when it goes the next one surfaces.  A change
costs the keys that it touches, whatever the size of the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
_Claims = tuple[_Claim, ...]  # of one key, the best first
_NOWHERE: Final[dict[_Key, _Claims]] = {}


class RuleStore:
    """Claims by stage and key; see the module.

    Until changes() is asked the first time all that is held is new, and no books are
    kept of what is touched: a load costs its claims alone.
    """

    def __init__(self) -> None:
        self._stages: Final[dict[Stage, dict[_Key, _Claims]]] = {}
        self._owned: Final[dict[Owner, Sequence[Rule]]] = {}
        # What held each key that was touched since the last changes(); None: never asked.
        self._before: dict[tuple[Stage, _Key], Rule | None] | None = None

    def put(self, owner: Owner, rules: Sequence[Rule]) -> None:
        """Makes `rules` all that the owner claims.

        Of several with one key the highest priority counts.
        """
        if owner in self._owned:
            self.drop(owner)
        if not rules:
            return
        self._owned[owner] = rules
        table, keys = -1, _NOWHERE
        for rule in rules:
            if rule.table != table:  # nearly all of an owner are of one stage
                table = rule.table
                keys = self._keys((rule.dp, table))
            key = (rule.mask, rule.values)
            claim = (-rule.prio, owner, rule)
            claims = keys.get(key, ())
            if self._before is not None:
                self._touch((rule.dp, table), key, claims)
            keys[key] = _claimed(claims, claim) if claims else (claim,)

    def owned(self, owner: Owner) -> Sequence[Rule]:
        """What the owner claims."""
        return self._owned.get(owner, ())

    def drop(self, owner: Owner) -> None:
        """Takes out whatever the owner claims."""
        for rule in self._owned.pop(owner, ()):
            stage, key = (rule.dp, rule.table), (rule.mask, rule.values)
            keys = self._stages.get(stage, {})
            claims = keys.get(key, ())
            if self._before is not None:
                self._touch(stage, key, claims)
            left = tuple([claim for claim in claims if claim[1] != owner])
            if left:
                keys[key] = left
            elif claims:
                del keys[key]
                if not keys:
                    del self._stages[stage]

    def changes(self) -> RuleChanges:
        """The difference between the winners now and at the last call."""
        out = RuleChanges()
        if self._before is None:
            self._before = {}
            out.added = self.unsorted()
            return out
        for (stage, key), before in self._before.items():
            claims = self._stages.get(stage, {}).get(key)
            now = claims[0][2] if claims else None
            if now is before or (before is not None and now == before):
                continue
            if before is not None:
                out.removed.append(before)
            if now is not None:
                out.added.append(now)
        self._before.clear()
        return out

    def winners(self, dp: int | None = None) -> Iterator[Rule]:
        """The rules that hold, by stage, the highest priority first.

        They may change meanwhile: a stage is looked at when its turn comes.
        """
        for stage in sorted(self._stages):
            if dp is None or dp == stage[0]:
                keys = self._stages.get(stage, {})
                rules = [claims[0][2] for claims in keys.values()]
                yield from sorted(rules, key=lambda r: (-r.prio, r.mask, r.values))

    def unsorted(self) -> list[Rule]:
        """The same in no order, which takes a tenth of the time."""
        return [claims[0][2] for keys in self._stages.values() for claims in keys.values()]

    def _keys(self, stage: Stage) -> dict[_Key, _Claims]:
        keys = self._stages.get(stage)
        if keys is None:
            keys = self._stages[stage] = {}
        return keys

    def _touch(self, stage: Stage, key: _Key, claims: _Claims) -> None:
        """Notes what held the key before it changes."""
        assert self._before is not None
        self._before.setdefault((stage, key), claims[0][2] if claims else None)


def _claimed(claims: _Claims, claim: _Claim) -> _Claims:
    """Claims with one more; of one owner's only the best."""
    for other in claims:
        if other[1] == claim[1]:
            if claim[0] >= other[0]:
                return claims
            claims = tuple([each for each in claims if each is not other])
            break
    return tuple(sorted((*claims, claim), key=_best))


def _best(claim: _Claim) -> tuple[int, Owner]:
    return claim[:2]
