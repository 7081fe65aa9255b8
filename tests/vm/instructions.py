# SPDX-License-Identifier: Apache-2.0
"""Instructions per packet in a guest, beside Open vSwitch's kernel data path.

    python -m tests.vm.instructions [--series 6.1] [--json FILE]

The guest's clock counts its instructions, so ratios are free of the host's noise.
Takes several minutes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ovn_bpf_controller.sandbox.status import table

from . import kernels, machine

JOB = Path(__file__).parent / "jobs/instructions"
TIMEOUT = 1800.0


def measure(series: str) -> dict[str, Any]:
    """Instructions above the baseline by data path, switch and kind of packet."""
    outcome = machine.run(series, JOB, TIMEOUT, counting=True).check()
    found: dict[str, Any] = json.loads(outcome.out["instructions.json"])
    return found


def report(found: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [("INSTRUCTIONS/PACKET", "EBPF", "OVS KERNEL", "RATIO")]
    for switch, name in (("plain", "same switch"), ("guarded", "same switch, stateful ACLs")):
        for what in ("established", "new"):
            if switch == "plain" and what == "new":
                continue
            ours, theirs = (found[who][switch][what] for who in ("eBPF", "OVS kernel"))
            rows.append((f"{name}, {what}", f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}"))
    return "\n".join(table(rows))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", choices=kernels.SERIES, default=next(iter(kernels.SERIES)))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.series)
    print(report(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
