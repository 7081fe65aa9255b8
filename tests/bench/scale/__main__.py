# SPDX-License-Identifier: Apache-2.0
"""python -m tests.bench.scale [S] [M] [L] [LC]: our agent beside ovn-controller."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tests.bench import ending
from tests.bench.scale.compare import MODES, measure_all
from tests.bench.scale.contender import OURS, THEIRS


def main() -> None:
    """The command line."""
    ending.by_signal()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("names", nargs="*", default=["S", "M"], help="of S, M, L, LC")
    parser.add_argument("--mode", choices=[*MODES, "both"], default="both")
    parser.add_argument("--repeats", type=int, default=10, help="of each change")
    parser.add_argument("--only", choices=[OURS, THEIRS], help="one agent alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    modes = list(MODES) if options.mode == "both" else [options.mode]
    agents = (options.only,) if options.only else (THEIRS, OURS)
    results = measure_all(options.names, modes, options.repeats, agents)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
