# SPDX-License-Identifier: Apache-2.0
"""`make bench`: every measure, one table each, and bench.json.

python -m tests.bench [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path

from tests.bench import acls, connections, datapath, ending, live, slowpath, throughput
from tests.bench.scale.compare import MODES, measure_all


def main() -> None:
    """Measures, prints, writes."""
    ending.by_signal()
    parser = argparse.ArgumentParser(description="measure the data plane and the agent")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=1, help="of each TCP transfer")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}"
    print(f"{machine}; medians of {options.rounds} rounds\n")
    program = datapath.measure(options.rounds)
    print(datapath.report(program), end="\n\n", flush=True)
    stage = acls.measure(options.rounds)
    print(acls.report(stage), end="\n\n", flush=True)
    one_change = live.measure(options.rounds)
    print(live.report(one_change), end="\n\n", flush=True)
    tracked = connections.measure(options.rounds)
    print(connections.report(tracked), end="\n\n", flush=True)
    paths = throughput.report(throughput.measure(options.rounds, options.seconds))
    print("\n".join(throughput.lines(paths)), end="\n\n", flush=True)
    answers = slowpath.measure()
    print(slowpath.report(answers), end="\n\n", flush=True)
    scale = measure_all(["S", "M"], list(MODES), options.rounds)
    scale |= measure_all(["LC"], ["cond"], options.rounds)
    found = {
        "machine": machine,
        "program": program,
        "acls": stage,
        "acls, live": one_change,
        "connections": tracked,
        "paths": paths,
        "slow path": answers,
        "scale": scale,
    }
    options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
