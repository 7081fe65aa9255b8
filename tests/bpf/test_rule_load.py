# SPDX-License-Identifier: Apache-2.0
"""The first load of rules, which writes them in bulk, is what writing them later is."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import Rule
from tests.support.kernel import private_kernel
from tests.support.reader import Reader, View

SIZES = {
    "ovn_stages": 16 * lib.OVN_STAGES_PER_DP,
    "ovn_masks": lib.OVN_MAX_TUPLES + 50,
    "ovn_tuples": 1 << 14,
    "ovn_idx_s": 1 << 14,
    "ovn_rules_s": 1 << 14,
    "ovn_datapaths": 16,
}
ACTIONS = [
    program([Insn(lib.OP_DROP, a=lib.DROP_ACTION)]),
    program([Insn(lib.OP_OUTPUT)]),
    program([Insn(lib.OP_NEXT, aux=1)]),
]
OTHER = Rule(9, 5, 1, ((lib.OW_INPORT, 0xFFFFFFFF),), (1,), ACTIONS[0], 0)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with private_kernel():
        plane = Plane("load", sizes=SIZES)
        yield plane
        plane.close()


@pytest.fixture
def tables(plane: Plane) -> Iterator[Tables]:
    tables = Tables(plane.maps)
    yield tables
    empty(tables)
    tables.close()


def empty(tables: Tables) -> None:
    tables.apply(TableChange(), complete=True)
    tables.settle()


def drawn(seed: int) -> list[Rule]:
    """Rules of all classes, with match-all rules among them and keys that come again."""
    dice = random.Random(seed)
    masks: list[tuple[tuple[int, int], ...]] = [(), (), tuple((w, 0xFF) for w in range(17))]
    masks += [tuple((w, 0xFFFF) for w in range(9))]
    masks += [((lib.OW_INPORT, n),) for n in range(1, lib.OVN_MAX_TUPLES + 4)]
    found = [Rule(2, 3, 1, mask, (0,), ACTIONS[0], 0) for mask in masks[4:]]  # of one too many
    dice.shuffle(found)
    for n in range(900):
        mask = dice.choice(masks[:20])
        values = tuple(dice.choice((0, 1, 3)) & bits for _, bits in mask)
        dp, table, prio = dice.choice((1, 2)), dice.choice((0, 0, 3, 64)), dice.randrange(5)
        made = Rule(dp, table, prio, mask, values, dice.choice(ACTIONS), n % 3)
        # Where there is no room for flows a key is said once, as the compiler does.
        if dp == 1 or all(_key(made) != _key(other) for other in found):
            found.append(made)
    return found


def _key(rule: Rule) -> tuple[object, ...]:
    return rule.dp, rule.table, rule.mask, rule.values


def state(plane: Plane, tables: Tables) -> tuple[View, object, object]:
    """What packets see, and what was refused."""
    reader = Reader(plane.maps)
    refused = {(r.dp, r.table, r.mask) for r, _ in tables.rejected if isinstance(r, Rule)}
    try:
        return reader.view(tables.generation), refused, tables.unplaced()
    finally:
        reader.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_load_is_what_a_later_change_is(plane: Plane, tables: Tables, seed: int) -> None:
    rules = drawn(seed)
    tables.apply(TableChange(rules_added=rules), complete=True)
    loaded = state(plane, tables)
    assert loaded[0].rules and loaded[1], "some find no room"
    used = tables.use()
    empty(tables)
    tables.apply(TableChange(rules_added=[OTHER]))
    tables.apply(TableChange(rules_added=rules))
    _, *refused = state(plane, tables)
    tables.apply(TableChange(rules_removed=[OTHER]))
    tables.settle()
    assert loaded == (state(plane, tables)[0], *refused)
    assert tables.use() == used
    before = {*map(_key, tables.rules())}
    tables.apply(TableChange(rules_removed=rules))
    assert before and not list(tables.rules())


def test_a_load_without_room_leaves_nothing(plane: Plane, tables: Tables) -> None:
    rules = [
        Rule(1, n % 20, 1, ((lib.OW_INPORT, n),), (0,), ACTIONS[0], n)
        for n in range(1, SIZES["ovn_masks"] + 1)
    ]
    with pytest.raises(DataPlaneError, match="map ovn_masks is full"):
        tables.apply(TableChange(rules_added=rules), complete=True)
    assert not list(tables.rules()) and {used for used, _ in tables.use().values()} == {0}
    tables.apply(TableChange(rules_added=rules[:50]), complete=True)
    assert len(list(tables.rules())) == 50


def test_a_load_of_what_no_key_has_room_for_holds_nothing(tables: Tables) -> None:
    wide = tuple((word, 1) for word in range(41))
    rules = [Rule(dp, 0, 1, wide, (0,) * 41, ACTIONS[0], 0) for dp in range(1, 30)]
    assert len(rules) > SIZES["ovn_datapaths"]
    tables.apply(TableChange(rules_added=rules), complete=True)
    assert [rule for rule, _ in tables.rejected] == rules
    assert not list(tables.rules())


def test_a_grace_period_may_end_at_any_moment(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = tables._grace.over

    def just_before() -> int:
        told = over()
        if tables._replaced:
            tables._grace.wait(tables._replaced[-1].ticket)
        return told

    monkeypatch.setattr(tables._grace, "over", just_before)
    for insns in ACTIONS:
        tables.apply(TableChange(rules_added=[Rule(1, 0, 1, (), (), insns, 0)]))
    assert [rule.insns for rule in tables.rules()] == ACTIONS[-1:]
