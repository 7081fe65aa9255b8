# SPDX-License-Identifier: Apache-2.0
"""Who holds a key, what surfaces when it goes, and what is reported."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.compile.flow_ids import FlowIds
from ovn_bpf_controller.compile.store import RuleChanges, RuleStore
from ovn_bpf_controller.model import Rule


def rule(prio: int, value: int = 1, *, insns: bytes = b"", table: int = 0) -> Rule:
    return Rule(7, table, prio, ((1, 0xFF),), (value,), insns, 0)


def test_the_highest_priority_holds_the_key() -> None:
    store = RuleStore()
    store.put(("a", 7), [rule(10)])
    store.put(("b", 7), [rule(20)])
    assert store.changes().added == [rule(20)]


def test_the_next_one_surfaces_when_the_holder_goes() -> None:
    store = RuleStore()
    store.put(("a", 7), [rule(10)])
    store.put(("b", 7), [rule(20)])
    store.changes()
    store.drop(("b", 7))
    changes = store.changes()
    assert (changes.removed, changes.added) == ([rule(20)], [rule(10)])


def test_among_equals_the_smallest_owner_holds_the_key_whoever_came_first() -> None:
    for order in (("a", "b"), ("b", "a")):
        store = RuleStore()
        for name in order:
            store.put((name, 7), [rule(10, insns=name.encode())])
        assert store.changes().added == [rule(10, insns=b"a")]


def test_a_claim_that_does_not_win_changes_nothing() -> None:
    store = RuleStore()
    store.put(("a", 7), [rule(20)])
    store.changes()
    store.put(("b", 7), [rule(10)])
    assert not store.changes()
    store.drop(("b", 7))
    assert not store.changes()


def test_putting_the_same_again_changes_nothing() -> None:
    store = RuleStore()
    store.put(("a", 7), [rule(10), rule(10, 2)])
    store.changes()
    store.put(("a", 7), [rule(10), rule(10, 2)])
    assert not store.changes()


def test_one_owner_has_one_claim_a_key() -> None:
    store = RuleStore()
    store.put(("a", 7), [rule(10), rule(30), rule(20)])
    assert store.changes().added == [rule(30)]
    store.drop(("a", 7))
    changes = store.changes()
    assert changes.removed == [rule(30)] and not changes.added


def test_winners_come_by_stage_and_falling_priority() -> None:
    store = RuleStore()
    store.put(("a", 7), [rule(10, 1), rule(20, 2), rule(5, 3, table=1)])
    store.put(("b", 7), [rule(15, 1)])
    assert [(r.table, r.prio) for r in store.winners()] == [(0, 20), (0, 15), (1, 5)]
    assert not list(store.winners(8))


operations = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4),
        st.booleans(),
    ),
    max_size=30,
)


@given(operations)
def test_changes_always_sum_up_to_the_winners(
    ops: list[tuple[str, list[tuple[int, int]], bool]],
) -> None:
    store = RuleStore()
    live: dict[tuple[int, ...], Rule] = {}
    owned: dict[str, list[tuple[int, int]]] = {}

    def settle(changes: RuleChanges) -> None:
        for gone in changes.removed:
            assert live.pop(gone.values) == gone
        for new in changes.added:
            assert new.values not in live
            live[new.values] = new

    for name, claims, flush in ops:
        owned[name] = claims
        store.put((name, 7), [rule(p, v, insns=name.encode()) for p, v in claims])
        if flush:
            settle(store.changes())
    settle(store.changes())
    best: dict[tuple[int, ...], Rule] = {}
    for name in sorted(owned):
        for p, v in owned[name]:
            if (v,) not in best or p > best[(v,)].prio:
                best[(v,)] = rule(p, v, insns=name.encode())
    assert live == best
    assert {r.values: r for r in store.winners()} == best


def test_numbers_of_flows_are_small_and_come_back_only_after_settling() -> None:
    ids = FlowIds()
    assert [ids.add(u) for u in ("a", "b", "c", "a")] == [1, 2, 3, 1]
    ids.remove("a")
    ids.remove("b")
    ids.remove("nobody")
    assert ids.number("a") is None
    assert ids.uuid(1) == "a", "a dump between change and flush still knows it"
    assert ids.add("d") == 4
    ids.settle()
    assert ids.uuid(1) is None
    assert [ids.add(u) for u in ("e", "f", "g")] == [1, 2, 5]
