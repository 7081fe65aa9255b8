# SPDX-License-Identifier: Apache-2.0
"""The agent's start does not pay for what most agents never need."""

from __future__ import annotations

import subprocess
import sys


def test_the_agent_starts_without_pyroute2_and_asyncio() -> None:
    code = (
        "import sys, ovn_bpf_controller.cli.controller, ovn_bpf_controller.agent\n"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'pyroute2', 'asyncio'})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
