# SPDX-License-Identifier: Apache-2.0
"""Rules: three classes by size of key, and the match-all rule of each stage.

A rule holds its datapath, its mask and its actions; its stage counts it.  The
match-all rule has a slot of class S, which its stage names: no look-up finds it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Final

from ovn_bpf_controller._native import ffi
from ovn_bpf_controller.datapath.alloc import Key, Shared
from ovn_bpf_controller.datapath.interned import (
    WORDS_OF_CLASS,
    Datapaths,
    Insns,
    Mask,
    Masks,
    key_class,
)
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.parts import in_parts
from ovn_bpf_controller.datapath.stages import PER_DP, Stage, Stages, goes_on
from ovn_bpf_controller.datapath.versioned import HEADER, Index, VersionedTable
from ovn_bpf_controller.model import Rule
from ovn_bpf_controller.plaindata import NamedTuple

BODY: Final = struct.Struct("=III")  # struct ovn_rule after the slot: prio, pc, flow
KEYS: Final = tuple(struct.Struct(f"={2 + words}I") for words in WORDS_OF_CLASS)
KEYS_HEAD: Final = struct.Struct("=II")  # stage and mask, at the start of every key
_FLOW: Final[int] = ffi.offsetof("struct ovn_rule", "flow") // 4
_KEY_AT: Final[int] = ffi.offsetof("struct ovn_rule_s", "key")

assert _KEY_AT == HEADER.size + BODY.size
assert [_KEY_AT + k.size for k in KEYS] == [ffi.sizeof(f"struct ovn_rule_{c}") for c in "sml"]


def _packed(number: int, stage: int, mask: int, values: Sequence[int]) -> bytes:
    """A key of class `number`."""
    return KEYS[number].pack(stage, mask, *values, *_ZEROS[WORDS_OF_CLASS[number] - len(values)])


_ZEROS: Final = tuple((0,) * n for n in range(WORDS_OF_CLASS[-1] + 1))


def key_packer(mask: Mask) -> tuple[Callable[..., bytes], tuple[int, ...]]:
    """What packs keys under a mask, of its stage, its number and values, and what follows."""
    number = key_class(mask)
    return KEYS[number].pack, _ZEROS[WORDS_OF_CLASS[number] - len(mask)]


def keys_of(group: Sequence[Rule], stage: int, mask: int) -> list[bytes]:
    """Of rules of one stage under one mask."""
    pack, zeros = key_packer(group[0].mask)
    return [pack(stage, mask, *rule.values, *zeros) for rule in group]


def bodies_of(
    group: Sequence[Rule], keys: Sequence[bytes], pcs: Mapping[bytes, int]
) -> tuple[list[bytes], dict[int, int]]:
    """The bodies of rules with these keys, and how many have each priority.

    pcs: where their actions are.
    """
    pack = BODY.pack
    bodies: list[bytes] = []
    prios: dict[int, int] = {}
    for rule, key in zip(group, keys, strict=True):
        prio = rule.prio
        bodies.append(pack(prio, pcs[rule.insns], rule.flow) + key)
        prios[prio] = prios.get(prio, 0) + 1
    return bodies, prios


def _default_body(rule: Rule, pc: int, stage: int) -> bytes:
    key = KEYS_HEAD.pack(stage, 0).ljust(KEYS[0].size, b"\0")
    return BODY.pack(rule.prio, pc, rule.flow) + key


def _held(
    shared: Shared[Key], users: Mapping[Key, int], journal: Journal
) -> Generator[None, None, dict[Key, int]]:
    held: dict[Key, int] = {}
    for part in in_parts(users.items()):
        held.update((key, shared.hold(key, journal, count)) for key, count in part)
        yield
    return held


class Users(NamedTuple):
    """How many rules have a datapath, a mask that is not empty, a list of actions."""

    datapaths: dict[int, int]
    masks: dict[Mask, int]
    insns: dict[bytes, int]


class Held(NamedTuple):
    """Where these are."""

    datapaths: dict[int, int]
    masks: dict[Mask, int]
    insns: dict[bytes, int]


class Rules:
    """Maps ovn_rules_*, ovn_idx_* and, through its parts, all that rules share."""

    def __init__(
        self,
        tables: Sequence[tuple[Index, ArrayMap]],
        masks: Masks,
        insns: Insns,
        stages: Stages,
        datapaths: Datapaths,
    ) -> None:
        self.tables = [VersionedTable(index, array, _KEY_AT) for index, array in tables]
        self._masks = masks
        self._insns = insns
        self._stages = stages
        self._datapaths = datapaths

    # --- one rule ---------------------------------------------------------------

    def put(self, rule: Rule, generation: int, journal: Journal) -> bool:
        """Makes or replaces a rule.  Raises DataPlaneError when a map is full.

        False, and no change, if its stage has all the masks that it can have.
        """
        if not rule.mask:
            self._put_default(rule, generation, journal)
            return True
        return self._put_keyed(rule, generation, journal)

    def put_run(self, run: Sequence[Rule], generation: int, journal: Journal) -> bool:
        """put() of rules that differ in priority and values alone; all of them or none."""
        first = run[0]
        if len(run) == 1 or not first.mask:
            return all([self.put(rule, generation, journal) for rule in run])
        live = self.tables[key_class(first.mask)].index.live
        dp_index = self._datapaths.shared.find(first.dp)
        mask = self._masks.shared.find(first.mask)
        stage = dp_index * PER_DP + first.table
        if dp_index and not self._stages.has_room(stage, mask):
            return False
        keys = keys_of(run, stage, mask) if dp_index and mask else []
        if not live.keys().isdisjoint(keys) or len({rule.values for rule in run}) < len(run):
            return all([self.put(rule, generation, journal) for rule in run])
        self._put_fresh(run, keys, generation, journal)
        return True

    def _put_fresh(
        self, run: Sequence[Rule], keys: list[bytes], generation: int, journal: Journal
    ) -> None:
        """put_run() of rules that there are not.  keys: theirs, if known."""
        first, count = run[0], len(run)
        stage = self._datapaths.shared.hold(first.dp, journal, count) * PER_DP + first.table
        mask = self._masks.shared.hold(first.mask, journal, count)
        pc = self._insns.shared.hold(first.insns, journal, count)
        keys = keys or keys_of(run, stage, mask)
        bodies, prios = bodies_of(run, keys, {first.insns: pc})
        table = self.tables[key_class(first.mask)]
        table.put_fresh(keys, bodies, generation, journal)
        values = [rule.values for rule in run]
        self._stages.add_run(stage, mask, first.mask, prios, values, journal)

    def delete_run(self, run: Sequence[Rule], generation: int, journal: Journal) -> None:
        """delete() of rules that differ in priority and values alone."""
        first = run[0]
        if len(run) == 1 or not first.mask:
            for rule in run:
                self.delete(rule, generation, journal)
            return
        dp_index = self._datapaths.shared.find(first.dp)
        mask = self._masks.shared.find(first.mask)
        stage = dp_index * PER_DP + first.table
        table = self.tables[key_class(first.mask)]
        keys = keys_of(run, stage, mask)
        gone: dict[tuple[int, int], int] = {}  # by priority and actions
        for slot in table.delete_all(keys, generation, journal):
            which = BODY.unpack_from(table.body(slot))[:2]
            gone[which] = gone.get(which, 0) + 1
        for (prio, pc), count in gone.items():
            self._stages.remove(stage, mask, prio, journal, count)
            journal.after_grace(self._insns.shared.drop, self._insns.shared.key(pc), count)
            journal.after_grace(self._masks.shared.drop, first.mask, count)
            journal.after_grace(self._datapaths.shared.drop, first.dp, count)

    def delete(self, rule: Rule, generation: int, journal: Journal) -> None:
        """Takes away what has this rule's key; one that is not there is no error."""
        dp_index = self._datapaths.shared.find(rule.dp)
        if rule.mask:
            mask = self._masks.shared.find(rule.mask)
            number, stage = key_class(rule.mask), dp_index * PER_DP + rule.table
            key = _packed(number, stage, mask, rule.values)
            self.delete_key(number, key, generation, journal)
        elif dp_index:
            self.delete_default(dp_index * PER_DP + rule.table, generation, journal)

    def delete_key(self, number: int, key: bytes, generation: int, journal: Journal) -> None:
        """The same, by class and key."""
        table = self.tables[number]
        slot = table.delete(key, generation, journal)
        if slot:
            self._leave(table, slot, journal)

    def delete_default(self, stage: int, generation: int, journal: Journal) -> None:
        """The same for the match-all rule of a stage."""
        slot = self._stages.default_rule(stage)
        if slot:
            self._stages.set_default(stage, 0, False, journal)
            self.tables[0].delete_unindexed(slot, generation, journal)
            self._release(self.tables[0].body(slot), 0, stage, journal)

    def _put_keyed(self, rule: Rule, generation: int, journal: Journal) -> bool:
        number = key_class(rule.mask)
        table = self.tables[number]
        dp_index = self._datapaths.shared.find(rule.dp)
        mask = self._masks.shared.find(rule.mask)
        key, old = b"", 0
        if dp_index:
            stage = dp_index * PER_DP + rule.table
            if not self._stages.has_room(stage, mask):
                return False
            if mask:
                key = _packed(number, stage, mask, rule.values)
                old = table.index.live.get(key, 0)
                if old and self._same(table, old, rule):
                    return True
        stage = self._datapaths.shared.hold(rule.dp, journal) * PER_DP + rule.table
        mask = self._masks.shared.hold(rule.mask, journal)
        pc = self._insns.shared.hold(rule.insns, journal)
        key = key or _packed(number, stage, mask, rule.values)
        table.put(key, BODY.pack(rule.prio, pc, rule.flow) + key, generation, journal)
        self._stages.add(stage, mask, rule.prio, rule.mask, rule.values, journal)
        if old:
            self._leave(table, old, journal)
        return True

    def _put_default(self, rule: Rule, generation: int, journal: Journal) -> None:
        table = self.tables[0]
        dp_index = self._datapaths.shared.find(rule.dp)
        old = self._stages.default_rule(dp_index * PER_DP + rule.table) if dp_index else 0
        if old and self._same(table, old, rule):
            return
        stage = self._datapaths.shared.hold(rule.dp, journal) * PER_DP + rule.table
        pc = self._insns.shared.hold(rule.insns, journal)
        slot = table.put_unindexed(_default_body(rule, pc, stage), generation, journal)
        self._stages.set_default(stage, slot, goes_on(rule.insns, rule.table), journal)
        if old:
            table.delete_unindexed(old, generation, journal)
            self._release(table.body(old), 0, stage, journal)

    def _same(self, table: VersionedTable, slot: int, rule: Rule) -> bool:
        """True if the slot says what the rule says.  The flow's number is no part
        of that: it serves accounting alone, and is corrected in place."""
        prio, pc, flow = BODY.unpack_from(table.body(slot))
        if prio != rule.prio or pc != self._insns.shared.find(rule.insns):
            return False
        if flow != rule.flow:
            table.array.words[slot * table.array.pitch + _FLOW] = rule.flow
        return True

    def _leave(self, table: VersionedTable, slot: int, journal: Journal) -> None:
        """What a version that ends gives back."""
        body = table.body(slot)
        stage, mask = struct.unpack_from("=II", body, BODY.size)
        prio = BODY.unpack_from(body)[0]
        self._stages.remove(stage, mask, prio, journal)
        self._release(body, mask, stage, journal)

    def _release(self, body: bytes, mask: int, stage: int, journal: Journal) -> None:
        _, pc, _ = BODY.unpack_from(body)
        journal.after_grace(self._insns.shared.drop, self._insns.shared.key(pc))
        if mask:
            journal.after_grace(self._masks.shared.drop, self._masks.shared.key(mask))
        journal.after_grace(
            self._datapaths.shared.drop, self._datapaths.shared.key(stage // PER_DP)
        )

    @property
    def blank(self) -> bool:
        """Whether there are none, and none that the kernel still has."""
        return not self and not any(table.index.doomed for table in self.tables)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._stages.defaults()) or any(table.index.live for table in self.tables)

    # --- the first load -----------------------------------------------------------

    def hold_all(self, users: Users, journal: Journal) -> Generator[None, None, Held]:
        """Holds what so many rules share, and says where it is.  Pauses now and then."""
        datapaths = yield from _held(self._datapaths.shared, users.datapaths, journal)
        masks = yield from _held(self._masks.shared, users.masks, journal)
        insns = yield from _held(self._insns.shared, users.insns, journal)
        return Held(datapaths, masks, insns)

    def put_defaults(
        self, rules: Sequence[Rule], held: Held, generation: int, journal: Journal
    ) -> list[int]:
        """Slots of match-all rules whose stages have no rule."""
        bodies = []
        for rule in rules:
            stage = held.datapaths[rule.dp] * PER_DP + rule.table
            bodies.append(_default_body(rule, held.insns[rule.insns], stage))
        return self.tables[0].put_unindexed_all(bodies, generation, journal)

    def load_stage(self, number: int, stage: Stage, journal: Journal) -> None:
        """What packets are to know of the rules of a stage that had none."""
        self._stages.load(number, stage, journal)

    # --- adoption and reading -----------------------------------------------------

    def adopting(self, generation: int) -> Iterator[None]:
        """Takes the rules that live in `generation`, one by one.  Datapaths and stages
        come first."""
        defaults = dict(self._stages.adopted_defaults())
        for number, table in enumerate(self.tables):
            yield from table.adopting(generation, defaults.values() if number == 0 else ())
        self._masks.adopt({KEYS_HEAD.unpack_from(k)[1] for t in self.tables for k in t.index.live})
        journal = Journal()  # nothing here can fail half-way
        for stage, slot in defaults.items():
            insns = self._adopt_holds(self.tables[0], slot, stage, 0)
            self._stages.set_default(stage, slot, goes_on(insns, stage % PER_DP), journal)
            yield
        for table in self.tables:
            for key, slot in table.index.live.items():
                stage, mask = KEYS_HEAD.unpack_from(key)
                self._adopt_holds(table, slot, stage, mask)
                prio = BODY.unpack_from(table.body(slot))[0]
                words = self._masks.shared.key(mask)
                values = struct.unpack_from(f"={len(words)}I", key, KEYS_HEAD.size)
                self._stages.add(stage, mask, prio, words, values, journal)
                yield
        self._insns.adopt()

    def _adopt_holds(self, table: VersionedTable, slot: int, stage: int, mask: int) -> bytes:
        pc = BODY.unpack_from(table.body(slot))[1]
        insns = self._insns.read(pc)
        self._insns.shared.adopt(insns, pc)
        if mask:
            self._masks.shared.adopt(self._masks.read(mask), mask)
        dp = self._datapaths.key_at(stage // PER_DP)
        self._datapaths.shared.adopt(dp, stage // PER_DP)
        return insns

    def all(self) -> Iterator[Rule]:
        """Every rule, as the next generation has it."""
        for stage, slot in self._stages.defaults():
            yield self._read(self.tables[0], slot, stage, ())
        for table in self.tables:
            for key, slot in table.index.live.items():
                stage, mask = KEYS_HEAD.unpack_from(key)
                yield self._read(table, slot, stage, self._masks.shared.key(mask))

    def _read(self, table: VersionedTable, slot: int, stage: int, mask: Mask) -> Rule:
        body = table.body(slot)
        prio, pc, flow = BODY.unpack_from(body)
        values = struct.unpack_from(f"={len(mask)}I", body, BODY.size + KEYS_HEAD.size)
        return Rule(
            dp=self._datapaths.shared.key(stage // PER_DP),
            table=stage % PER_DP,
            prio=prio,
            mask=mask,
            values=values,
            insns=self._insns.shared.key(pc),
            flow=flow,
        )
