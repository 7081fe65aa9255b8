# SPDX-License-Identifier: Apache-2.0
"""Each example does what its README says: every command, in one shell, in order.

A command with the comment "fails" must.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox import manifest
from ovn_bpf_controller.sandbox.layout import layout_of

REPO = Path(__file__).parents[2]
READMES = sorted(REPO.glob("examples/*/README.md"))


def script(readme: Path) -> str:
    """Its commands for bash, which stops at the first that does not end as it should."""
    lines = [line.strip() for line in readme.read_text().splitlines() if line.startswith("    ")]
    checked = [f"if {line}\nthen exit 1; fi" if "# fails" in line else line for line in lines]
    return "\n".join(["set -eux", *checked])


@pytest.mark.parametrize("readme", READMES, ids=[readme.parent.name for readme in READMES])
def test_its_commands_work(readme: Path) -> None:
    assert script(readme).count("ovn-bpf-sandbox") > 4
    sandbox = tempfile.mkdtemp(prefix="obs-", dir="/run")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["bash", "-c", script(readme)],
            env={**os.environ, "PATH": path, "OVN_BPF_SANDBOX_DIR": sandbox},
            cwd=REPO, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert not Path(sandbox).exists()
    finally:
        manifest.cleanup(layout_of(sandbox))
