# SPDX-License-Identifier: Apache-2.0
"""The project's tests on other kernels, with Debian 12's libraries.

On these kernels there is a geneve device, and real Open vSwitch has its kernel
data path.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import kernels, machine

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

JOB = Path(__file__).parent / "jobs/pytest"
INSIDE = "tests/vm/inside"

# A name -> arguments for pytest.
SUITES = {
    "kernel": [f"{INSIDE}/test_{name}.py" for name in ("attach", "tunnel_netdev", "tunnelling")],
    "program": [
        f"tests/bpf/test_{name}.py"
        for name in ("compiled", "malformed", "neighbours", "replies", "switching", "tunnels")
    ],
    "sets": ["tests/bpf/test_sets.py"],
    "tracker": [
        f"tests/bpf/test_ct_{name}.py"
        for name in ("states", "commit", "nat", "tcp", "sctp", "room", "cpus")
    ],
    "answers": [
        *(
            f"tests/bpf/test_{name}.py"
            for name in ("served", "served_writes", "served_frames", "calls")
        ),
        *("-k", "not left_to_a_device and not Tcx"),  # no taps; tcx is not on 6.1
    ],
    "tables": [
        *("tests/bpf/test_tables.py", "tests/bpf/test_tables_live.py"),
        *("-k", "not each_generation"),  # too many grace periods for an emulated CPU
    ],
    "sctp": [f"{INSIDE}/test_sctp.py"],
    "geneve": [f"{INSIDE}/test_geneve.py"],
    "underlay": ["tests/netns/test_underlay.py", "tests/netns/test_oversize.py", "-k", "alone"],
}


@pytest.mark.parametrize("series", kernels.SERIES)
@pytest.mark.parametrize("suite", SUITES)
def test_suite_passes(series: str, suite: str, tmp_path: Path) -> None:
    job = tmp_path / "job"
    shutil.copytree(JOB, job)
    (job / "arguments").write_text("\n".join(SUITES[suite]) + "\n")
    output = machine.run(series, job, timeout=1500).check().output
    assert " passed" in output and " skipped" not in output, output
