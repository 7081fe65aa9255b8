# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of the BPF program."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dataplane import Bed, bed


@pytest.fixture(name="bed")
def _bed() -> Iterator[Bed]:
    with bed() as made:
        yield made
