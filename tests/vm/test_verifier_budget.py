# SPDX-License-Identifier: Apache-2.0
"""One object loads on every supported kernel, within its verifier budget."""

from __future__ import annotations

import pytest

from tests.support import verifier

from . import kernels
from .budget import measure

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize("series", kernels.SERIES)
def test_object_loads_within_budget(series: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(series)
    assert not verifier.over(series, found)
    with capsys.disabled():
        for line in verifier.under(series, found):
            print(f"\n{line}")
