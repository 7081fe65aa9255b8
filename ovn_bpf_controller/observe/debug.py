# SPDX-License-Identifier: Apache-2.0
"""ovn-controller's other control commands: what it holds, and how much.

observe.commands registers them.  Their texts are ovn-controller's, which scripts
and exporters read; what has no counterpart here is empty, not missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from ovn_bpf_controller.binding.claims import Claim
from ovn_bpf_controller.observe.chassis import Chassis
from ovn_bpf_controller.process.unixctl import Commands, Request, unsigned

_RULE = "-" * 40


def register(commands: Commands, chassis: Chassis) -> None:
    """Adds the commands."""
    texts: dict[str, Callable[[Chassis], str]] = {
        "memory/show": memory,
        "debug/dump-local-bindings": local_bindings,
        "debug/dump-local-template-vars": template_vars,
        "debug/dump-lflow-conj-ids": lambda _chassis: _CONJUNCTIONS,
        "lflow-cache/show-stats": lflow_cache,
        "group-table-list": lambda _chassis: "",  # the data plane has no OpenFlow groups
        "meter-table-list": meters,
        # Templates cost little and are never wrong: there is nothing to flush.
        "lflow-cache/flush": lambda _chassis: "",
        "sb-cluster-state-reset": cluster_reset,
    }
    for name, text in texts.items():
        commands.register(name, "", 0, 0, partial(_answer, text, chassis))
    commands.register("flush-lflow-cache", "[deprecated]", 0, 0, lambda _request: "")
    # There is no delay to ignore: what is read once is obeyed.
    commands.register("debug/ignore-startup-delay", "", 0, 0, lambda _request: "")
    delay = partial(delay_nb_cfg, chassis)
    commands.register("debug/delay-nb-cfg-report", "SECONDS", 1, 1, delay)


def _answer(text: Callable[[Chassis], str], chassis: Chassis, _request: Request) -> str:
    return text(chassis)


# OpenFlow's conjunctions, which classification by sets does without.
_CONJUNCTIONS = "Conjunction IDs allocations:\n---\nTotal 0 IDs used."


def memory(chassis: Chassis) -> str:
    """Sizes by name, on one line (lib/memory.c)."""
    sizes = {
        "sb-rows": chassis.southbound.row_count,
        "local-datapaths": len(chassis.desired.datapaths),
        "logical-ports": len(chassis.desired.ports()),
    }
    for name, (used, _) in chassis.tables.use().items():
        sizes[f"map-{name}"] = used
    return " ".join(f"{name}:{size}" for name, size in sorted(sizes.items()))


def local_bindings(chassis: Chassis) -> str:
    """Each interface that names a logical port, with the logical ports that it carries."""
    carried: dict[str, list[tuple[str, Claim]]] = defaultdict(list)
    for lport, claim in chassis.binding.claims.items():
        carried[claim.iface.external_ids.get("iface-id", lport)].append((lport, claim))
    devices = {
        iface.external_ids["iface-id"]: iface.name
        for iface in chassis.binding.interfaces
        if iface.external_ids.get("iface-id")
    }
    lines = ["Local bindings:"]
    for name, device in sorted(devices.items()):
        claims = carried.get(name, [])
        lines.append(
            f"name: [{name}], OVS interface name : [{device}], num binding lports : [{len(claims)}]"
        )
        for lport, claim in claims:
            if lport == name:
                kind = "localport" if claim.row.type == "localport" else "primary"
                lines.append(f"{kind} lport : [{lport}]")
        children = sorted((lport, claim) for lport, claim in claims if lport != name)
        lines += [
            f"child lport[{number}] : [{lport}], type : [{_child(claim)}]"
            for number, (lport, claim) in enumerate(children, 1)
        ]
        lines.append(_RULE)
    return "\n".join(lines)


def _child(claim: Claim) -> str:
    return "MIRROR" if claim.row.type == "mirror" else "CONTAINER"


def template_vars(chassis: Chassis) -> str:
    """This chassis' template variables."""
    found = sorted(chassis.flows.template_vars().items())
    return "\n".join(["Local template vars:", *(f"name: '{n}' value: '{v}'" for n, v in found)])


def meters(chassis: Chassis) -> str:
    """Names and numbers of meters, by name (lib/extend-table.c)."""
    return "".join(f"{n}: {number}\n" for n, number in sorted(chassis.metering.numbers().items()))


def lflow_cache(chassis: Chassis) -> str:
    """In the place of cached matches: flows that were compiled."""
    count = chassis.flows.compiler.flow_count
    rows = (
        ("high-watermark", count),
        ("total", count),
        ("cache-expr", 0),
        ("cache-matches", count),
        ("trim count", 0),
        ("Mem usage (KB)", 0),
    )
    return "\n".join(["Enabled: true", *(f"{name:<16}: {value}" for name, value in rows)])


def delay_nb_cfg(chassis: Chassis, request: Request) -> str:
    """For tests of the time that nb_cfg takes."""
    seconds = unsigned(request.args[0])
    chassis.binding.delay_nb_cfg(seconds)
    if seconds:
        return f"delay nb_cfg report for {seconds} seconds."
    return "no delay for nb_cfg report."


def cluster_reset(chassis: Chassis) -> str:
    """The Southbound cluster was built anew: older data than seen are no mistake."""
    chassis.southbound.reset_cluster_state()
    return ""
