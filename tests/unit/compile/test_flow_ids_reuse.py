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
