# SPDX-License-Identifier: Apache-2.0
"""Renews verifier-budget.json: `python -m tests.vm.budget`, after `make build`.

Run it when a change of the program is worth its instructions, and commit the
file with the change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.support import verifier

from . import kernels, machine

JOB = Path(__file__).parent / "jobs/verifier"


def measure(series: str) -> verifier.Counts:
    """The counts on a guest's kernel."""
    found: verifier.Counts = json.loads(machine.run(series, JOB).check().out["counts.json"])
    return found


def main() -> None:
    host = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    kept = {series: measure(series) for series in kernels.SERIES}
    kept[host] = verifier.counts()
    verifier.BUDGET.write_text(json.dumps(kept, indent=2) + "\n")
    print(verifier.BUDGET.read_text(), end="")


if __name__ == "__main__":
    main()
