# SPDX-License-Identifier: Apache-2.0
"""1,000,000 connections in a table of 1,200,000, and 200,000 more than fit."""

from __future__ import annotations

import pytest

from tests.support.flood import Flood, flood

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

ROOM = 1_200_000
ESTABLISHED = range(1_000_000)
FITTING = range(1_000_000, 1_200_000)
TOO_MANY = range(1_200_000, 1_400_000)


def since(before: dict[str, int], made: Flood) -> dict[str, int]:
    return {name: count - before[name] for name, count in made.counts().items()}


def told(made: Flood) -> dict[str, int]:
    return {name: count for name, count in made.table.counters().items() if count}


def test_all_are_found_again_and_established_ones_outlast_a_full_table() -> None:
    with flood(ROOM) as made:
        before = made.counts()
        made.request(ESTABLISHED)
        made.answer(ESTABLISHED)
        assert since(before, made) == {"new": 10**6, "answer": 10**6, "known": 0, "other": 0}
        before = made.counts()
        made.request(ESTABLISHED)
        assert since(before, made) == {"new": 0, "answer": 0, "known": 10**6, "other": 0}
        assert sum(len(batch) for batch in made.table.dump()) == 10**6
        assert told(made) == {"created": 10**6}

        before = made.counts()
        made.request(FITTING)
        made.request(TOO_MANY)
        assert since(before, made)["new"] == len(FITTING) + len(TOO_MANY)
        counters = told(made)
        assert counters["created"] == 10**6 + len(FITTING) + len(TOO_MANY)
        assert counters["evicted unreplied"] == len(TOO_MANY)
        assert counters.keys() == {"created", "evicted unreplied"}
        before = made.counts()
        made.request(ESTABLISHED)
        assert since(before, made) == {"new": 0, "answer": 0, "known": 10**6, "other": 0}
        assert sum(len(batch) for batch in made.table.dump()) == ROOM
