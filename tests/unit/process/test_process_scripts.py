# SPDX-License-Identifier: Apache-2.0
"""Every console script of the package says what it is."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", PROJECT["scripts"])
@pytest.mark.parametrize("option", ["-h", "--help", "--version"])
def test_console_script_answers(name: str, option: str) -> None:
    module, _, function = PROJECT["scripts"][name].partition(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, option],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (result.returncode, result.stderr) == (0, "")
    if option == "--version":
        assert "ovn-bpf-" in result.stdout
    else:
        assert name in result.stdout and "usage" in result.stdout.lower()
