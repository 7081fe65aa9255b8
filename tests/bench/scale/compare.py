# SPDX-License-Identifier: Apache-2.0
"""Both agents on one Southbound, and the table of what they cost.

Each runs on its own copy, one after the other on this machine: trust the ratios.
`make bench` and `python -m tests.bench.scale` call measure_all().
"""

from __future__ import annotations

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
    lines.append(f"{'':28}" + "".join(f"{h:>20}" for h in heads))
    units = {"cpu": "CPU s", "peak": "peak RSS MB", "first_port": "first port s",
             "all_ports": "all ports s", "nb_cfg": "nb_cfg s"}  # fmt: skip
    rows = [(f"cold start {unit}", [found[h]["cold"][key] for h in heads]) for key, unit in
            units.items()]  # fmt: skip
    for change in found[heads[0]]["changes"]:
        for key, unit in (("median", "ms"), ("worst", "worst ms"), ("cpu", "CPU ms"),
                          ("live", "live ms, 95 %"), ("live worst", "live ms, worst"),
                          ("live CPU", "live CPU ms, 95 %")):  # fmt: skip
            values = [found[h]["changes"].get(change, {}).get(key, float("nan")) for h in heads]
            if all(v != v for v in values):
                continue
            rows.append((f"{change} {unit}", values))
    for label, values in rows:
        both = len(values) == 2 and values[0] and values[0] == values[0]
        ratio = f"{values[-1] / values[0]:8.2f}x" if both else ""
        told = (f"{v:20.2f}" if v == v else f"{'-':>20}" for v in values)
        lines.append(f"  {label:26}" + "".join(told) + ratio)
    return "\n".join(lines)


def measure_all(
    names: list[str], modes: list[str], repeats: int, agents: tuple[str, ...] = (THEIRS, OURS)
) -> dict[str, Any]:
    """Prints as it goes; results by "NAME MODE"."""
    results = {}
    for name in names:
        for mode in modes:
            results[f"{name} {mode}"] = found = compare(name, mode, repeats, agents)
            print(report(name, mode, found), end="\n\n", flush=True)
    return results
