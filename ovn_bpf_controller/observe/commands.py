# SPDX-License-Identifier: Apache-2.0
"""Control commands about the chassis and its data plane.

The agent registers them; ovn-appctl and ovn-bpf-ctl ask.  `connection-status`
and `ct-zone-list` answer as ovn-controller's do; ovn-bpf/* are ours and take
--json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ovn_bpf_controller.datapath.events import told
from ovn_bpf_controller.observe import (
    accounts,
    check,
    conntrack,
    ct_commands,
    debug,
    inject,
    inventory,
    trace_command,
)
from ovn_bpf_controller.observe.chassis import Chassis, Rows, datapath_keys, unsupported_flows
from ovn_bpf_controller.observe.table import table
from ovn_bpf_controller.process.unixctl import CommandError, Commands, Request


def register(commands: Commands, chassis: Chassis) -> None:
    """Adds the commands."""
    commands.register("connection-status", "", 0, 0, lambda _request: chassis.southbound.status)
    commands.register("ct-zone-list", "", 0, 0, lambda _request: _zones(chassis))
    for name, usage, rows in (
        ("unsupported", "[--json] [DATAPATH]", unsupported),
        ("flows", "[--json] [DATAPATH]", accounts.flows),
        ("drops", "[--json]", accounts.drops),
        ("meters", "[--json]", accounts.meters),
        ("status", "[--json]", status),
        ("flow-uuid", "[--json] NUMBER", flow_uuid),
    ):
        commands.register(f"ovn-bpf/{name}", usage, 0, 2, partial(_answer, chassis, rows, _lines))
    for name, usage, rows in (
        ("ports", "[--json] [DATAPATH]", inventory.ports),
        ("chassis", "[--json]", inventory.others),
        ("tunnels", "[--json]", inventory.tunnels),
    ):
        commands.register(f"ovn-bpf/{name}", usage, 0, 2, partial(_answer, chassis, rows, _table))
    commands.register("ovn-bpf/progress", "", 0, 0, lambda _request: chassis.jobs.progress())
    commands.register("ovn-bpf/check", "[--json]", 0, 1, partial(check.start, chassis))
    trace_command.register(commands, chassis)
    inject.register(commands, chassis)
    conntrack.register(commands, chassis.conntrack, chassis.jobs)
    ct_commands.register(commands, chassis)
    debug.register(commands, chassis)
    chassis.engine.register(commands)


def _answer(
    chassis: Chassis,
    rows: Callable[[Chassis, str], Iterable[dict[str, Any]]],
    pieces: Callable[[Iterable[dict[str, Any]]], Iterator[str]],
    request: Request,
) -> None:
    """Answers at once if that does not take long, else with the loop going on meanwhile."""
    args = [arg for arg in request.args if arg != "--json"]
    if len(args) > 1:
        raise CommandError(f"unexpected argument {args[1]}")
    found = rows(chassis, args[0] if args else "")
    as_json = len(args) < len(request.args)
    chassis.jobs.start(request, _json(found) if as_json else pieces(found))


def _json(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """What json.dumps(rows, indent=2) makes of them, one by one."""
    between = "["
    for row in rows:
        yield f"{between}\n  " + json.dumps(row, indent=2).replace("\n", "\n  ")
        between = ","
    yield "[]\n" if between == "[" else "\n]\n"


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield "  ".join(map(str, row.values())) + "\n"


def _table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield table(list(rows))


def _zones(chassis: Chassis) -> str:
    return "".join(f"{name} {zone}\n" for name, zone in sorted(chassis.desired.zones.items()))


def unsupported(chassis: Chassis, which: str) -> Rows:
    """Logical flows that are not carried out as written."""
    keys = datapath_keys(chassis, which)
    return [
        {
            "uuid": flow.uuid or "-",
            "stage": flow.stage,
            "problem": flow.problem.value,
            "what": flow.what,
            "datapaths": ",".join(map(str, flow.datapaths)),
        }
        for flow in unsupported_flows(chassis)
        if keys.intersection(flow.datapaths)
    ]


def slow_path(said: Mapping[str, Any]) -> dict[str, object]:
    """How the slow path goes: its duties, and packets that they refused, by reason."""
    if "counts" not in said:
        return {"slow path": "not needed" if not said.get("starts") else "starting"}
    counts = dict(said["counts"])
    facts: dict[str, object] = {
        "slow path": f"{counts.pop('packets', 0)} packets",
        "slow path queue": f"{said['depth']:.1%} full at worst, {counts.pop('lost', 0)} lost",
        "slow path lessons": f"{said['lesson']} of the agent, {said['learning_ms']:g} ms at worst",
    }
    for name, worst in said["latency_ms"].items():
        facts[f"slow path, {name}"] = (
            f"{counts.pop(name, 0)} packets, {said['waiting'][name]} waiting, "
            f"{worst:g} ms at worst from arrival to answer, "
            f"{said['late_ms'][name]:g} ms late by the clock, {said['worst_ms'][name]:g} ms of work"
        )
    facts |= {f"slow path refused, {reason}": count for reason, count in sorted(counts.items())}
    return facts


def flow_uuid(chassis: Chassis, which: str) -> Rows:
    """The logical flow that the program knows by a number.  Raises CommandError."""
    if not which.isdecimal():
        raise CommandError(f"{which or 'nothing'} is no number of a flow")
    uuid = chassis.flows.compiler.flow_ids.uuid(int(which))
    return [{"number": int(which), "uuid": uuid}] if uuid else []


def status(chassis: Chassis, _which: str) -> Rows:
    """How the chassis stands, a line for each fact."""
    desired = chassis.desired
    not_as_written = {flow.uuid for flow in unsupported_flows(chassis)}
    facts: dict[str, object] = {
        "chassis": desired.chassis or "(no name yet)",
        "southbound": chassis.southbound.detail,
        "southbound rows": chassis.southbound.row_count,
        "southbound rows left out": chassis.southbound.bad_rows,
        "complete": desired.complete,
        "generation": chassis.tables.generation,
        "datapaths": len(desired.datapaths),
        "ports": len(desired.ports()),
        "tunnels": len(desired.tunnels),
        "unsupported flows": len(not_as_written),
    }
    for name, (used, room) in chassis.tables.use().items():
        facts[f"map {name}"] = f"{used} of {room}"
    connections = sum(chassis.conntrack.zone_counts().values())
    facts["connections"] = f"{connections} of {chassis.conntrack.capacity}"
    served = chassis.serving.status()
    facts |= {f"kernel answers, {name}": text for name, text in served.items()}
    facts |= slow_path(chassis.answering.status)
    facts |= {f"told, {name}": count for name, count in told(chassis.plane.maps).items()}
    facts |= {f"port {name}": state.name for name, state in chassis.binding.port_states().items()}
    return [{"what": f"{name}:", "value": value} for name, value in facts.items()]
