# SPDX-License-Identifier: Apache-2.0
"""Options of the differential tests."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """--seconds N: go on with fresh seeds for so long.  --shrink: make failures small."""
    parser.addoption("--seconds", type=int, default=0, help="time for random topologies")
    parser.addoption("--shrink", action="store_true", help="make failing topologies small")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Who asks for more time gets it: a test's own limit is without --seconds."""
    seconds = config.getoption("--seconds")
    for item in items:
        mark = item.get_closest_marker("timeout")
        if seconds and mark is not None and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(mark.args[0] + 2 * seconds), append=False)
