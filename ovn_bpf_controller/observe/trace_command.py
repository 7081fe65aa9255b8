# SPDX-License-Identifier: Apache-2.0
"""The control command ovn-bpf/trace, for ovn-bpf-trace and ovn-appctl.

Names come from what binding found; stage names and source hints of flows are not
monitored, so ovn-bpf-trace asks the Southbound for them and this only says which.
"""

from __future__ import annotations

import json

from ovn_bpf_controller.datapath.trace import Given
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.observe import microflow, trace, trace_ct
from ovn_bpf_controller.observe.chassis import Chassis, datapath_keys, datapath_names
from ovn_bpf_controller.observe.trace_node import to_json
from ovn_bpf_controller.process.unixctl import CommandError, Commands, Request

USAGE = (
    "[--json | --minimal | --summary | --detailed | --all]"
    " [--ct=FLAGS]... [--lb-dst=IP[:PORT]] [--select-id=ID] [--length=BYTES]"
    " [DATAPATH] MICROFLOW"
)
_MAX_ARGS = 64


def register(commands: Commands, chassis: Chassis) -> None:
    """Adds the command."""
    commands.register(
        "ovn-bpf/trace", USAGE, 1, _MAX_ARGS, lambda request: _answer(chassis, request)
    )


def _answer(chassis: Chassis, request: Request) -> str:
    options = [arg for arg in request.args if arg.startswith("--") and "=" not in arg]
    values = [arg for arg in request.args if arg.startswith("--") and "=" in arg]
    args = [arg for arg in request.args if not arg.startswith("--")]
    unknown = set(options) - {"--json", "--all", *(f"--{form}" for form in trace.FORMS)}
    if unknown:
        raise CommandError(f"unknown option {sorted(unknown)[0]}")
    if not 1 <= len(args) <= 2:
        raise CommandError(f"usage: ovn-bpf/trace {USAGE}")
    try:
        result = _run(chassis, args[-1], args[0] if len(args) == 2 else "", _given(values))
    except (microflow.MicroflowError, DataPlaneError) as error:
        raise CommandError(str(error)) from error
    if "--json" in options:
        return json.dumps({"header": result.header, "root": to_json(result.root)})
    forms = trace.FORMS if "--all" in options else [option[2:] for option in options]
    return result.text(forms or ["detailed"])


def _given(options: list[str]) -> Given:
    """Options with values.  Raises MicroflowError, and CommandError for others."""
    states, backend = [], None
    numbers = {"--select-id": 0, "--length": 0}
    for option in options:
        name, _, value = option.partition("=")
        if name == "--ct":
            states.append(trace_ct.parse_state(value))
        elif name == "--lb-dst":
            backend = trace_ct.parse_backend(value)
        elif name in numbers and value.isdecimal() and int(value) < 1 << 16:
            numbers[name] = int(value)
        else:
            raise CommandError(f"unknown option {option}")
    return Given(tuple(states), backend, *numbers.values())


def _run(chassis: Chassis, text: str, which: str, given: Given) -> trace.Result:
    expr = microflow.parse(text, chassis.flows)
    keys = datapath_keys(chassis, which) if which else {_datapath_of(chassis, expr)}
    if len(keys) > 1:
        raise CommandError(f"{which} may be more than one datapath")
    tracer = chassis.plane.tracer()
    try:
        return trace.run(tracer, world(chassis), keys.pop(), expr, given)
    finally:
        tracer.close()


def _datapath_of(chassis: Chassis, expr: nodes.Expr) -> int:
    name = microflow.inport(expr)
    for local in chassis.desired.datapaths.values():
        if name in local.port_keys:
            return local.key
    raise CommandError(f'unknown port "{name}"')


def world(chassis: Chassis) -> trace.World:
    """The names as they are now."""
    local = {each.key: each for each in chassis.desired.datapaths.values()}
    names = {
        (dp, key): name
        for dp, each in local.items()
        for keys in (each.group_keys, each.port_keys)
        for name, key in keys.items()
    }
    datapaths = datapath_names(chassis)
    tunnels = chassis.tables.chassis_names()  # "<chassis>@<address>"
    chassis_names = {i: name.rpartition("@")[0] or name for i, name in tunnels.items()}

    def members(dp: int, group: int) -> tuple[int, ...]:
        found = local[dp].groups.get(group) if dp in local else None
        return found.local if found else ()

    return trace.World(
        chassis.flows.compiler,
        chassis.flows,
        lambda dp: datapaths.get(dp, f"datapath {dp}"),
        lambda dp, key: names.get((dp, key), ""),
        members,
        lambda index: chassis_names.get(index, f"number {index}"),
    )
