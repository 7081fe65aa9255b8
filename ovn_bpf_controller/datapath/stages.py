# SPDX-License-Identifier: Apache-2.0
"""Stages: which masks a table of a datapath looks through, in which order.

Rules report themselves with add() and remove(); publish() then writes a new
version of every stage whose list, match-all rule or link changed.  A stage that
only says `next;` is linked past (skip_to), and so costs packets nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.alloc import Runs
from ovn_bpf_controller.datapath.guards import UNGUARDED, Common
from ovn_bpf_controller.datapath.interned import Mask
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.plaindata import dataclass, field

PER_DP: Final[int] = lib.OVN_STAGES_PER_DP
EGRESS: Final[int] = lib.OVN_EGRESS_BASE

VERSION: Final = record("struct ovn_stage_ver")
TUPLE: Final = record("struct ovn_tuple")
INSN: Final = record("struct ovn_insn")

# (mask, max_prio, bits, value, word) as in struct ovn_tuple, best first
Tuples = tuple[tuple[int, int, int, int, int], ...]


@dataclass(slots=True)
class Stage:
    """prios: how many rules of each priority a mask has.  tops: the highest.
    common: what they all ask for; not known of every mask.  trivial: the match-all rule
    does nothing but go on with the next table."""

    prios: dict[int, dict[int, int]] = field(default_factory=dict)
    tops: dict[int, int] = field(default_factory=dict)
    common: dict[int, Common] = field(default_factory=dict)
    default_rule: int = 0
    trivial: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """What struct ovn_stage_ver says, with the tuples themselves."""

    tuples: Tuples = ()
    first: int = 0
    default_rule: int = 0
    skip_to: int = 0

    @property
    def content(self) -> tuple[Tuples, int, int]:
        """What makes two versions the same for a packet."""
        return self.tuples, self.default_rule, self.skip_to


NOTHING: Final = Version()


@lru_cache(maxsize=256)  # datapaths are much alike
def goes_on(insns: bytes, table: int) -> bool:
    """True if `insns` are `next;` and nothing else, in table 0..127 of a datapath."""
    if len(insns) != 2 * INSN.size:
        return False
    op, _, src, aux, *_ = INSN.unpack_from(insns)
    end = INSN.unpack_from(insns, INSN.size)[0]
    egress, number = divmod(table, EGRESS)
    following = number + 1 < EGRESS and aux == number + 1
    return bool(op == lib.OP_NEXT and end == lib.OP_END and src == egress and following)


class Stages:
    """Maps ovn_stages and ovn_tuples.  A stage's number is dp_index * 128 + table."""

    def __init__(self, stages: ArrayMap, tuples: ArrayMap) -> None:
        self._stages = stages
        self._tuples = tuples
        self._runs = Runs(tuples.name, tuples.capacity)
        self._known: dict[int, Stage] = {}
        self._written: dict[int, Version] = {}
        self._touched: set[int] = set()

    # --- what the rules say -------------------------------------------------

    def add(
        self,
        stage: int,
        mask: int,
        prio: int,
        words: Mask,
        values: Sequence[int],
        journal: Journal,
    ) -> None:
        """One rule more under a mask, which is `words` (model.Rule.mask)."""
        self._narrow(stage, mask, words, (values,), journal)
        self._count(stage, mask, prio, 1)
        journal.undo(self._count, stage, mask, prio, -1)

    def add_run(
        self,
        stage: int,
        mask: int,
        words: Mask,
        prios: Mapping[int, int],
        several: Iterable[Sequence[int]],
        journal: Journal,
    ) -> None:
        """add() of several.  prios: how many of each priority; several: their values."""
        self._narrow(stage, mask, words, several, journal)
        for prio, count in prios.items():
            self._count(stage, mask, prio, count)
            journal.undo(self._count, stage, mask, prio, -count)

    def load(self, number: int, stage: Stage, journal: Journal) -> None:
        """All the rules of a stage that has none."""
        self._known[number] = stage
        self._touched.add(number)
        journal.undo(self._known.pop, number, None)

    def remove(self, stage: int, mask: int, prio: int, journal: Journal, times: int = 1) -> None:
        """So many rules less."""
        self._count(stage, mask, prio, -times)
        journal.undo(self._count, stage, mask, prio, times)

    def set_default(self, stage: int, slot: int, trivial: bool, journal: Journal) -> None:
        """Another match-all rule; slot 0: none."""
        known = self._known.setdefault(stage, Stage())
        journal.undo(self._set_default, stage, known.default_rule, known.trivial)
        self._set_default(stage, slot, trivial)

    def default_rule(self, stage: int) -> int:
        """Slot of the match-all rule, or 0."""
        known = self._known.get(stage)
        return known.default_rule if known else 0

    def defaults(self) -> list[tuple[int, int]]:
        """Every (stage, slot of its match-all rule)."""
        return [(n, s.default_rule) for n, s in self._known.items() if s.default_rule]

    def has_room(self, stage: int, mask: int) -> bool:
        """True if a rule under `mask` can be added."""
        known = self._known.get(stage)
        return known is None or mask in known.prios or len(known.prios) < lib.OVN_MAX_TUPLES

    def widest(self) -> int:
        """How many masks the longest list has."""
        return max((len(v.tuples) for v in self._written.values()), default=0)

    def _narrow(
        self,
        stage: int,
        mask: int,
        words: Mask,
        several: Iterable[Sequence[int]],
        journal: Journal,
    ) -> None:
        """What the mask's rules have in common once there are more, with these values."""
        known = self._known.get(stage)
        if known is None:
            known = self._known[stage] = Stage()
        before = after = known.common.get(mask)
        fresh = iter(several)
        if mask not in known.prios:  # what is known is of rules that went
            after = Common(words, next(fresh))
        if after is not None:
            for values in fresh:
                after = after.also(values)
        if after is not before and after is not None:
            known.common[mask] = after
            journal.undo(self._set_common, stage, mask, before)

    def _set_common(self, stage: int, mask: int, common: Common | None) -> None:
        known = self._known.get(stage)
        if known is None:
            return
        if common is None:
            known.common.pop(mask, None)
        else:
            known.common[mask] = common

    def _count(self, stage: int, mask: int, prio: int, change: int) -> None:
        known = self._known.get(stage)
        if known is None:
            known = self._known[stage] = Stage()
        prios = known.prios.setdefault(mask, {})
        prios[prio] = prios.get(prio, 0) + change
        if prio > known.tops.get(mask, -1):
            known.tops[mask] = prio
        if not prios[prio]:
            del prios[prio]
            if not prios:
                del known.prios[mask], known.tops[mask]
            elif known.tops[mask] == prio:
                known.tops[mask] = max(prios)
        self._touched.add(stage)

    def _set_default(self, stage: int, slot: int, trivial: bool) -> None:
        known = self._known.setdefault(stage, Stage())
        known.default_rule = slot
        known.trivial = trivial
        self._touched.add(stage)

    # --- what packets see -----------------------------------------------------

    def publish(self, generation: int, journal: Journal) -> None:
        """Writes versions born in `generation` where something changed.

        Raises DataPlaneError when ovn_tuples is full.
        """
        for stage in sorted(self._with_predecessors()):
            known = self._known.get(stage, Stage())
            old = self._written.get(stage, NOTHING)
            tuples = self._order(known)
            skip = self._skip(stage)
            if (tuples, known.default_rule, skip) != old.content:
                first = self._place(tuples, old, journal)
                new = Version(tuples, first, known.default_rule, skip)
                self._write(stage, new, old, generation, journal)
            if not known.prios and not known.default_rule:
                self._known.pop(stage, None)
            if len(known.common) > len(known.prios):
                known.common = {
                    mask: known.common[mask] for mask in known.prios if mask in known.common
                }
        self._touched = set()

    def roll_back(self) -> None:
        """The change failed: its undo calls have been made."""
        self._touched = set()

    def _with_predecessors(self) -> set[int]:
        """The touched stages, and those whose links lead to them."""
        stages = set(self._touched)
        for stage in self._touched:
            before = stage - 1
            # What is before a touched stage is found from there.
            while (
                (before + 1) % EGRESS and before not in self._touched and self._is_trivial(before)
            ):
                stages.add(before)
                before -= 1
        return stages

    def _is_trivial(self, stage: int) -> bool:
        known = self._known.get(stage)
        return known is not None and known.trivial and not known.prios

    def _skip(self, stage: int) -> int:
        """Table to go on with instead of `stage`, or 0."""
        if not self._is_trivial(stage):
            return 0
        after = stage + 1
        while self._is_trivial(after):
            after += 1
        return after % PER_DP

    @staticmethod
    def _order(known: Stage) -> Tuples:
        common = known.common
        return tuple(
            [
                (mask, -prio, *(common[mask].guard if mask in common else UNGUARDED))
                for prio, mask in sorted([(-top, mask) for mask, top in known.tops.items()])
            ]
        )

    def _write(
        self,
        stage: int,
        new: Version,
        old: Version,
        generation: int,
        journal: Journal,
    ) -> None:
        born = self._born(stage, 0), self._born(stage, 1)
        side = 0 if born[0] < born[1] else 1
        journal.ensure_past(born[1 - side])  # nobody needs the older one then
        at = side * VERSION.size
        if born[side]:  # a packet must not take the half-written version for its own
            self._stages.publish(stage, at // 4, 0)
        data = VERSION.pack(0, new.first, len(new.tuples), new.default_rule, new.skip_to)
        self._stages.put(stage, data, at)
        self._stages.publish(stage, at // 4, generation)
        journal.undo(self._unwrite, stage, side, old)
        self._written[stage] = new

    def _place(self, tuples: Tuples, old: Version, journal: Journal) -> int:
        """Where a version's tuples are, written if they are not the old one's."""
        if tuples == old.tuples:
            return old.first
        if old.tuples:
            journal.after_grace(self._runs.release, old.first, len(old.tuples))
        if not tuples:
            return 0
        first = self._runs.take(len(tuples), journal)
        self._tuples.put(first, b"".join(TUPLE.pack(*line, 0) for line in tuples))
        return first

    def _unwrite(self, stage: int, side: int, old: Version) -> None:
        self._stages.publish(stage, side * VERSION.size // 4, 0)
        self._written[stage] = old

    def _born(self, stage: int, side: int) -> int:
        self._stages.reach(stage)
        return int(self._stages.words[stage * self._stages.pitch + side * VERSION.size // 4])

    def _older_side(self, stage: int) -> int:
        return 0 if self._born(stage, 0) < self._born(stage, 1) else 1

    def clear(self, dp_index: int) -> None:
        """Forgets the stages of a datapath that no packet reaches any more."""
        for stage in range(dp_index * PER_DP, (dp_index + 1) * PER_DP):
            version = self._written.pop(stage, NOTHING)
            if version.tuples:
                self._runs.release(version.first, len(version.tuples))
            self._known.pop(stage, None)
        base = dp_index * PER_DP * self._stages.stride
        size = PER_DP * self._stages.stride
        self._stages.reach((dp_index + 1) * PER_DP - 1)
        self._stages.memory[base : base + size] = bytes(size)

    # --- adoption -------------------------------------------------------------

    def adopting(self, dp_indexes: list[int], generation: int) -> Iterator[None]:
        """Takes the versions that count in `generation`, stage by stage; other ones are cleared.

        The rules report themselves afterwards; publish() then corrects what
        does not agree with them.
        """
        self._known = {}
        self._written = {}
        for dp_index in dp_indexes:
            for stage in range(dp_index * PER_DP, (dp_index + 1) * PER_DP):
                self._adopt_stage(stage, generation)
                yield
        self._runs.adopt((v.first, len(v.tuples)) for v in self._written.values() if v.tuples)
        self._touched = set(self._written)

    def _adopt_stage(self, stage: int, generation: int) -> None:
        for side in (0, 1):
            if self._born(stage, side) > generation:
                self._stages.publish(stage, side * VERSION.size // 4, 0)
        side = 1 - self._older_side(stage)
        data = self._stages.get(stage)
        born, first, count, default_rule, skip_to = VERSION.unpack_from(data, side * VERSION.size)
        if not born:
            return
        if first + count > self._tuples.capacity:
            count = 0  # written by nobody of ours: publish() sees the difference
        tuples = tuple(TUPLE.unpack(self._tuples.get(first + i))[:5] for i in range(count))
        self._written[stage] = Version(tuples, first, default_rule, skip_to)

    def adopted_defaults(self) -> list[tuple[int, int]]:
        """Every (stage, match-all slot) that adopting() found."""
        return [(n, v.default_rule) for n, v in self._written.items() if v.default_rule]
