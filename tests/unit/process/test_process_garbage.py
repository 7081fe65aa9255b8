# SPDX-License-Identifier: Apache-2.0
"""The collector runs when the loop is idle, and leaves loads alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.process.garbage import BULK, YOUNG, Collector


class Node:
    """Something that can be in a cycle."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_cycles_go_when_there_are_many_and_not_before() -> None:
    collector = Collector()
    collector.begin()
    gc.collect()
    first = weakref.ref(Node())
    collector.idle()
    assert first() is not None
    for _ in range(YOUNG):
        Node()
    assert first() is not None
    collector.idle()
    assert first() is None


def test_what_a_load_made_is_never_looked_at() -> None:
    collector = Collector()
    collector.begin()
    gc.collect()
    frozen = gc.get_freeze_count()
    kept = [[n] for n in range(BULK)]
    collector.idle()
    assert gc.get_freeze_count() >= frozen + len(kept)
    assert not gc.isenabled()
