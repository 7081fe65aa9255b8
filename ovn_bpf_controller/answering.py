# SPDX-License-Identifier: Apache-2.0
"""What the slow path must know, of Southbound rows and compiled flows.

agent.Agent runs it once a round.  The process is started when the first flow needs
it: a chassis without such flows has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import DNS, DatapathBinding, DHCPOptions, DHCPv6Options
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.slowpath.supervisor import Supervisor

_log = Logger("slowpath")


def _options(rows: Iterable[DHCPOptions | DHCPv6Options]) -> dict[str, list[Any]]:
    return {row.name: [row.code, row.type] for row in rows}


def _names(southbound: SouthboundCache) -> dict[str, dict[str, list[Any]]]:
    """DNS records by datapath."""
    found: dict[str, dict[str, list[Any]]] = {}
    datapaths = southbound.table(DatapathBinding)
    for row in southbound.table(DNS).values():
        owned = row.options.get("ovn-owned", "") == "true"
        for uuid in row.datapaths:
            if uuid in datapaths:
                names = found.setdefault(str(datapaths[uuid].tunnel_key), {})
                names |= {name.lower(): [value, owned] for name, value in row.records.items()}
    return found


# Tables whose rows are told.
_READ: Final = (DHCPOptions, DHCPv6Options, DNS, DatapathBinding)


class Answering:
    """The slow path of one agent."""

    def __init__(self, plane: Plane, pidfile: Path) -> None:
        self._plane = plane
        self._supervisor = Supervisor(plane.directory, pidfile)
        self._rows: dict[str, Any] = {}
        self._needed = False
        self._refused = False

    def note(self, changes: Changes) -> None:
        """What the Southbound says anew is told by the next run()."""
        if any(row.TABLE in changes for row in _READ):
            self._rows = {}

    def run(self, compiler: FlowCompiler, southbound: SouthboundCache) -> None:
        """Starts, tells and watches the process, when flows need it."""
        arguments = compiler.arguments()
        if not self._needed:
            if not arguments or self._refused:
                return
            self._needed = self._load()
            if not self._needed:
                return
        if not self._rows:
            self._rows = {
                "dhcp_options": _options(southbound.table(DHCPOptions).values()),
                "dhcpv6_options": _options(southbound.table(DHCPv6Options).values()),
                "dns": _names(southbound),
            }
        told = {str(n): text for n, text in arguments.items()}
        self._supervisor.run({"arguments": told, **self._rows})

    @property
    def settled(self) -> bool:
        """Whether the slow path is as the flows are, as far as it can be."""
        return not self._needed or self._supervisor.settled

    def wait(self, poller: Any) -> None:
        """See AgentProtocol."""
        if self._needed:
            self._supervisor.wait(poller)

    def stop(self, restart: bool) -> None:
        """On a restart the answers go on meanwhile."""
        self._supervisor.stop(keep=restart)

    @property
    def status(self) -> dict[str, Any]:
        """What the process said last of itself."""
        return {"starts": self._supervisor.starts, **self._supervisor.said}

    def _load(self) -> bool:
        """The program by which packets come back; pinned, for the process to find."""
        try:
            _ = self._plane.programs["ovn_resume"]
        except DataPlaneError as error:
            self._refused = True
            _log.err(f"no slow path: {error}")
            return False
        return True
