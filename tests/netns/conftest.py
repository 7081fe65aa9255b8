# SPDX-License-Identifier: Apache-2.0
"""Every test here uses a sandbox; see tests/support/beds.py."""

from tests.support.agent_logs import (
    pytest_fixture_post_finalizer,
    pytest_fixture_setup,
    pytest_runtest_makereport,
)
from tests.support.beds import bed, pytest_generate_tests

__all__ = [
    "bed",
    "pytest_fixture_post_finalizer",
    "pytest_fixture_setup",
    "pytest_generate_tests",
    "pytest_runtest_makereport",
]
