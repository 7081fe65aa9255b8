# SPDX-License-Identifier: Apache-2.0
"""The object loads on this kernel within its verifier budget; tests/vm has the
other kernels."""

from __future__ import annotations

import os

import pytest

from tests.support import verifier


def test_object_loads_within_budget(capsys: pytest.CaptureFixture[str]) -> None:
    series, found = verifier.series_of(os.uname().release), verifier.counts()
    assert not verifier.over(series, found)
    with capsys.disabled():
        for line in verifier.under(series, found):
            print(f"\n{line}")
