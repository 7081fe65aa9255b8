# SPDX-License-Identifier: Apache-2.0
"""Servers and caches for the tests of ovsdb."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from tests.support.ovsdb import OvsdbServer
from tests.support.sb_truth import MakeCache, sbctl


@pytest.fixture
def sb(tmp_path: Path) -> Iterator[OvsdbServer]:
    """A Southbound with an SB_Global row."""
    with OvsdbServer(tmp_path / "sb") as server:
        sbctl(server, "init")
        yield server


@pytest.fixture
def make_cache() -> Iterator[MakeCache]:
    """SouthboundCache(...), closed at the end."""
    made: list[SouthboundCache] = []

    def make(*remotes: str, **options: Any) -> SouthboundCache:
        made.append(SouthboundCache(remotes, **options))
        return made[-1]

    yield make
    for cache in made:
        cache.close()
