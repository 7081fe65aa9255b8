# SPDX-License-Identifier: Apache-2.0
"""What the control commands look at, and how they name datapaths.

observe.commands is handed a Chassis by the agent; the commands' modules read it and
change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ovn_bpf_controller.answering import Answering
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.binding.engine import Binding
from ovn_bpf_controller.compile.problems import Problem, UnsupportedFlow
from ovn_bpf_controller.datapath.conntrack import Conntrack
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.logical import LogicalFlows
from ovn_bpf_controller.metering import Metering
from ovn_bpf_controller.observe.engine import Engine
from ovn_bpf_controller.observe.jobs import Jobs
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import DatapathBinding
from ovn_bpf_controller.process.unixctl import CommandError
from ovn_bpf_controller.serving import Serving
from ovn_bpf_controller.underlay.links import Links

Rows = list[dict[str, Any]]


class Chassis(Protocol):
    """What the commands look at: agent.Agent."""

    answering: Answering
    serving: Serving
    desired: Desired
    devices: Links
    binding: Binding
    conntrack: Conntrack
    jobs: Jobs
    engine: Engine
    flows: LogicalFlows
    metering: Metering
    plane: Plane
    southbound: SouthboundCache

    @property
    def tables(self) -> Tables:
        """The maps' contents; another object after rereading()."""

    @property
    def at_rest(self) -> bool:
        """All that is desired is live, and nothing is on its way."""

    def rereading(self) -> Iterator[None]:
        """Reads the tables anew, in small steps; changes wait from here until repair()."""

    def repair(self) -> None:
        """Writes what is not as it is desired."""


def unsupported_flows(chassis: Chassis) -> Iterator[UnsupportedFlow]:
    """Logical flows that are not carried out as written, or have no room."""
    compiler = chassis.flows.compiler
    yield from compiler.unsupported()
    for (dp, number), why in chassis.tables.unplaced().items():
        uuid = compiler.flow_ids.uuid(number) or ""
        flow = compiler.flow(uuid)
        yield UnsupportedFlow(uuid, flow.stage if flow else "", Problem.ROOM, why, (dp,))


def datapath_names(chassis: Chassis) -> dict[int, str]:
    """Names that the CMS gave, by tunnel key; of local datapaths, the UUID if none."""
    rows = chassis.southbound.table(DatapathBinding)
    return {
        local.key: rows[uuid].external_ids.get("name", uuid) if uuid in rows else uuid
        for uuid, local in chassis.desired.datapaths.items()
    }


def datapath_keys(chassis: Chassis, which: str) -> set[int]:
    """Tunnel keys of the local datapaths that `which` means.

    which: a UUID or the beginning of one, in the Southbound or the Northbound, a name,
    OpenStack's users' included, a tunnel key; "" for all.  Raises CommandError.
    """
    names = datapath_names(chassis)
    rows = chassis.southbound.table(DatapathBinding)
    others = {uuid: _others(rows[uuid]) for uuid in chassis.desired.datapaths if uuid in rows}
    keys = {
        local.key
        for uuid, local in chassis.desired.datapaths.items()
        if which in ("", uuid, str(local.key), names[local.key])
        or (len(which) >= 4 and uuid.startswith(which))
        or (which and _is_called(which, *others.get(uuid, ("", ""))))
    }
    if which and not keys:
        raise CommandError(f"no local datapath {which}")
    return keys


def _others(row: DatapathBinding) -> tuple[str, str]:
    """The name that users know, and the UUID in the Northbound; "" for none."""
    ids = row.external_ids
    nb = row.nb_uuid or ids.get("logical-switch") or ids.get("logical-router") or ""
    return ids.get("name2", ""), nb


def _is_called(which: str, name: str, nb: str) -> bool:
    return which == name or (len(which) >= 4 and nb.startswith(which))
