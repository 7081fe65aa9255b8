# SPDX-License-Identifier: Apache-2.0
"""Options of the differential tests."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """--seconds N: go on with fresh seeds for so long.  --shrink: make failures small."""
    parser.addoption("--seconds", type=int, default=0, help="time for random topologies")
    parser.addoption("--shrink", action="store_true", help="make failing topologies small")
