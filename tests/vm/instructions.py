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


# A case of inside.instructions -> what it is.
NAMES = {
    "plain": "same switch",
    "guarded": "same switch, stateful ACLs",
    "routed": "routed",
    "balanced": "load balancer, routed",
    "wide": "Geneve, both chassis",
}
#: Cases with connections: what is new differs from what is established.
TRACKED = ("guarded", "balanced")


def report(found: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [("INSTRUCTIONS/PACKET", "EBPF", "OVS KERNEL", "RATIO")]
    for case, name in NAMES.items():
        for what in ("established", "new") if case in TRACKED else ("established",):
            ours, theirs = (found[who][case][what] for who in ("eBPF", "OVS kernel"))
            title = f"{name}, {what}" if case in TRACKED else name
            rows.append((title, f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}"))
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
