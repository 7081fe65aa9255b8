# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf/check: is in the kernel what should be there?

The maps are read anew, as a next agent would read them, and compared with what the
databases ask for; then everything is written that was not so.  Packets go on
meanwhile, by the last generation, as with any other change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

from ovn_bpf_controller.model import Rule
from ovn_bpf_controller.observe.chassis import Chassis, Rows, datapath_names
from ovn_bpf_controller.process.unixctl import CommandError, Request

_SLICE: Final = 0.02  # CPU seconds of an iteration
_LOOK: Final = 64  # steps between looks at the clock
_PATIENCE: Final = 60.0  # seconds, for the agent to come to rest


def start(chassis: Chassis, request: Request) -> None:
    """Answers later.  Raises CommandError."""
    args = [arg for arg in request.args if arg != "--json"]
    if args:
        raise CommandError(f"unexpected argument {args[0]}")
    chassis.jobs.start(request, _check(chassis, len(args) < len(request.args)))


def _check(chassis: Chassis, as_json: bool) -> Iterator[str]:
    chassis.jobs.note("waiting until all that is desired is live")
    yield from _rest(chassis, "not all is known or live yet: nothing to compare with")
    chassis.jobs.note("reading what there is; changes wait")
    found: Rows = []
    try:
        yield from _slices(_compare(chassis, found))
    finally:
        chassis.repair()
    chassis.jobs.note(f"{len(found):,} rules differ; writing what is not as it should be")
    yield from _rest(chassis, "the repair does not end; see the log")
    for name, count in sorted(chassis.tables.written.items()):
        if not name.startswith("ovn_idx_"):  # rules were told one by one
            found.append({"what": "map", "problem": "repaired", "thing": f"{name}: {count}"})
    if as_json:
        yield json.dumps(found, indent=2) + "\n"
        return
    for row in found:
        yield f"{row['what']} {row['problem']}: {row['thing']}\n"
    rules = sum(1 for _ in chassis.tables.rules())
    yield f"{rules} rules compared, {len(found)} differences" + (", repaired\n" if found else "\n")


def _rest(chassis: Chassis, problem: str) -> Iterator[str]:
    """Until the agent has nothing to do.  Raises CommandError."""
    deadline = time.monotonic() + _PATIENCE
    while not chassis.at_rest:
        if time.monotonic() > deadline:
            raise CommandError(problem)
        yield ""


def _slices(steps: Iterator[None]) -> Iterator[str]:
    """All steps, as pieces of a job: so many as take a moment, then the loop goes round."""
    end = time.thread_time() + _SLICE
    for number, _ in enumerate(steps):
        if not number % _LOOK and time.thread_time() > end:
            yield ""
            end = time.thread_time() + _SLICE


def _compare(chassis: Chassis, found: Rows) -> Iterator[None]:
    """Adds to `found` which rules are not as they should be, step by step."""
    # As it is now: what is asked for may change while the maps are read.
    rules = chassis.flows.compiler.unsorted_rules()
    yield from chassis.rereading()
    wanted = {}
    for rule in rules:
        wanted[_key(rule)] = rule
        yield
    for rule in chassis.tables.rules():
        other = wanted.pop(_key(rule), None)
        if other is None:
            found.append(_row(chassis, "extra", rule))
        elif (other.prio, other.insns) != (rule.prio, rule.insns):
            found.append(_row(chassis, "different", other))
        yield
    found += [_row(chassis, "missing", rule) for rule in wanted.values()]


def _key(rule: Rule) -> tuple[Any, ...]:
    return rule.dp, rule.table, rule.mask, rule.values


def _row(chassis: Chassis, problem: str, rule: Rule) -> dict[str, Any]:
    flow = chassis.flows.compiler.flow_ids.uuid(rule.flow) if rule.flow else None
    datapath = datapath_names(chassis).get(rule.dp, str(rule.dp))
    where = f"datapath {datapath} table {rule.table} priority {rule.prio} flow {flow or '-'}"
    return {"what": "rule", "problem": problem, "thing": where}
