# SPDX-License-Identifier: Apache-2.0
"""What the agents said, beside every failure: of a test, of its setup, of its end.

Suites with sandboxes take these hooks into their conftest.py.  A sandbox is known from
when a fixture has made it, whatever the fixture's name; one that fails to come up tells
by itself, as nothing of it is left when the failure is reported.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox

__all__ = ["pytest_fixture_post_finalizer", "pytest_fixture_setup", "pytest_runtest_makereport"]

_up: Final[dict[pytest.FixtureDef[Any], Sandbox]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    """Remember whose fixture is a sandbox."""
    made = yield
    if isinstance(made, Sandbox):
        _up[fixturedef] = made
    return made


def pytest_fixture_post_finalizer(fixturedef: pytest.FixtureDef[Any]) -> None:
    """Forget it: its files are gone."""
    _up.pop(fixturedef, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of every agent's log in what failed."""
    report = yield
    if report.failed:
        for sandbox in _up.values():
            report.sections += [(f"{name} log", end) for name, end in sandbox.last_words().items()]
    return report
