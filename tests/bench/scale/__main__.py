# SPDX-License-Identifier: Apache-2.0
"""python -m tests.bench.scale [S] [M] [L] [LC]: our agent beside ovn-controller.

Each runs on a copy of the same Southbound, one after the other on this machine:
trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.scale import databases, measure
from tests.bench.scale.contender import OURS, THEIRS

PLUGGED = 50
MODES = {"all": True, "cond": False}


def compare(
    name: str, mode: str, repeats: int, agents: tuple[str, ...] = (THEIRS, OURS)
) -> dict[str, Any]:
    """Results by agent."""
    deployment = databases.get(name)
    found = {}
    for agent in agents:
        with tempfile.TemporaryDirectory(prefix="obs-scale-") as directory:
            found[agent] = measure.run(
                deployment.southbound, Path(directory, "run"), agent, MODES[mode],
                deployment.local[: PLUGGED + repeats], PLUGGED, repeats,
            )  # fmt: skip
    return found


def report(name: str, mode: str, found: dict[str, Any]) -> str:
    """A table: one line a measure, one column an agent, and the ratio."""
    lines = [f"{name}, monitor {mode}, {PLUGGED} local ports"]
    heads = list(found)
    lines.append(f"{'':24}" + "".join(f"{h:>20}" for h in heads))
    units = {"cpu": "CPU s", "peak": "peak RSS MB", "first_port": "first port s",
             "all_ports": "all ports s", "nb_cfg": "nb_cfg s"}  # fmt: skip
    rows = [(f"cold start {unit}", [found[h]["cold"][key] for h in heads]) for key, unit in
            units.items()]  # fmt: skip
    for change in found[heads[0]]["changes"]:
        for key, unit in (("median", "ms"), ("cpu", "CPU ms")):
            values = [found[h]["changes"].get(change, {}).get(key, float("nan")) for h in heads]
            rows.append((f"{change} {unit}", values))
    for label, values in rows:
        ratio = f"{values[-1] / values[0]:8.2f}x" if len(values) == 2 and values[0] else ""
        lines.append(f"  {label:22}" + "".join(f"{v:20.2f}" for v in values) + ratio)
    return "\n".join(lines)


def measure_all(names: list[str], modes: list[str], repeats: int) -> dict[str, Any]:
    """Prints as it goes; results by "NAME MODE"."""
    results = {}
    for name in names:
        for mode in modes:
            results[f"{name} {mode}"] = found = compare(name, mode, repeats)
            print(report(name, mode, found), end="\n\n", flush=True)
    return results


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("names", nargs="*", default=["S", "M"], help="of S, M, L, LC")
    parser.add_argument("--mode", choices=[*MODES, "both"], default="both")
    parser.add_argument("--repeats", type=int, default=10, help="of each change")
    parser.add_argument("--only", choices=[OURS, THEIRS], help="one agent alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    modes = list(MODES) if options.mode == "both" else [options.mode]
    if options.only:
        results: dict[str, Any] = {}
        for name in options.names:
            for mode in modes:
                found = compare(name, mode, options.repeats, (options.only,))
                results[f"{name} {mode}"] = found
                print(report(name, mode, found), end="\n\n", flush=True)
    else:
        results = measure_all(options.names, modes, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
