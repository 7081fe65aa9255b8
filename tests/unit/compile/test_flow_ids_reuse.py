# SPDX-License-Identifier: Apache-2.0
"""Who asks for counters hears which numbers changed hands."""

from __future__ import annotations

from ovn_bpf_controller.compile.flow_ids import FlowIds


def test_reused_numbers_are_told_once() -> None:
    ids = FlowIds()
    first, second = ids.add("a"), ids.add("b")
    assert ids.take_reused() == set()
    ids.remove("a")
    ids.settle()
    assert ids.add("c") == first != second
    assert ids.take_reused() == {first}
    assert ids.take_reused() == set()


def test_free_numbers_whose_counts_were_forgotten_are_not_told_again() -> None:
    ids = FlowIds()
    numbers = {ids.add(name) for name in "abc"}
    for name in "abc":
        ids.remove(name)
    assert not ids.take_free(9), "packets still count for them"
    ids.settle()
    forgotten = set(ids.take_free(2))
    assert len(forgotten) == 2
    assert forgotten < numbers
    assert {ids.add(name) for name in "def"} == numbers
    assert ids.take_reused() == numbers - forgotten
    assert not ids.take_free(9), "all are in use"
