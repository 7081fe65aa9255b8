# SPDX-License-Identifier: Apache-2.0
"""Every test here uses a sandbox; see tests/support/beds.py."""

from tests.support.beds import (
    bed,
    logs_on_failure,
    pytest_generate_tests,
    pytest_runtest_makereport,
)

__all__ = ["bed", "logs_on_failure", "pytest_generate_tests", "pytest_runtest_makereport"]
