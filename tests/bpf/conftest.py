# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of the BPF program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.dataplane import Bed, bed
from tests.support.served import Network, Veth


@pytest.fixture(name="bed")
def _bed() -> Iterator[Bed]:
    with bed() as made:
        yield made


@pytest.fixture
def network() -> Iterator[Network]:
    with bed() as made, ExitStack() as stack:
        ends = {port: Veth(f"tap{port}", made) for port in (1, 2, 3)}
        for end in ends.values():
            stack.callback(end.close)
        yield Network(made, ends)
