# SPDX-License-Identifier: Apache-2.0
"""The programs' stack is within what the oldest kernel allows; the host allows more."""

from __future__ import annotations

import pytest

from tests.support import stack
from tests.support.verifier import OBJECT


@pytest.fixture(scope="module")
def found() -> dict[str, stack.Function]:
    return stack.functions(OBJECT)


def test_callbacks_and_functions_of_other_sections_are_followed(
    found: dict[str, stack.Function],
) -> None:
    assert "step" in found["run_step"].calls
    assert "run_step" in found["ovn_run"].calls
    assert "decap" in found["ovn_underlay"].calls
    assert "parse" in found["begin"].calls
    assert "try_tuple" in found["classify"].calls


def test_the_deepest_path_of_each_program_fits(found: dict[str, stack.Function]) -> None:
    entries = [name for name in found if name.startswith("ovn_")]
    assert len(entries) >= 3
    for entry in entries:
        size, path = stack.deepest(found, entry)
        assert size <= stack.LIMIT, f"{size} bytes: {' > '.join(path)}"
        assert stack.longest(found, entry) <= stack.FRAMES
