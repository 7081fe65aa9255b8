# SPDX-License-Identifier: Apache-2.0
"""The slow path of one agent: what it must know, and what it reports.

agent.Agent runs it once a round.  What there is to know are the arguments of compiled
flows and what each of duties.ALL tells; what is reported goes to the Southbound, a
write of each duty at a time.  The process is started when the first flow or duty
needs it: a chassis without such has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovn_bpf_controller import duties, packet_log
from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.desired import Delta
from ovn_bpf_controller.binding.writer import Lane, now_ms
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.process import coverage
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.slowpath.supervisor import Supervisor

_log = Logger("slowpath")


class _Running:
    """A duty, what it told last (None: ask again), and the lane of its writes."""

    def __init__(self, duty: Duty, southbound: SouthboundCache) -> None:
        self.duty = duty
        self.told: Mapping[str, Any] | None = None
        self.lane = Lane(southbound, duty.name)


class Answering:
    """What the slow path is told, and what comes of it."""

    def __init__(self, plane: Plane, pidfile: Path, southbound: SouthboundCache) -> None:
        self._plane = plane
        self._supervisor = Supervisor(plane.directory, plane.programs.directory, pidfile)
        self._duties = [_Running(make(), southbound) for make in duties.ALL]
        self._arguments: Mapping[int, str] = {}
        self._texts: Mapping[str, str] = {}  # the same, as the process is told
        self.told: Mapping[str, Any] = {}  # all that the process is told
        self._config: Config | None = None
        self._needed = False
        self._refused = False
        self._counted = 0

    def note(self, changes: Changes, delta: Delta) -> None:
        """What the databases say anew is told by the next run()."""
        for each in self._duties:
            if delta or any(row.TABLE in changes for row in each.duty.tables):
                each.told = None

    def behind(self, compiler: FlowCompiler, view: View, compiled: bool) -> bool:
        """Whether run() would tell something that was not told."""
        if compiled and compiler.arguments() is not self._arguments:
            return True
        return view.config is not self._config or any(e.told is None for e in self._duties)

    def run(self, compiler: FlowCompiler, view: View, compiled: bool = True) -> None:
        """Starts, tells and watches the process, when something needs it; and writes.

        compiled: no flow is due.  What flows say is told when all are there, not again
        and again in the middle of a load.
        """
        if compiled:
            self._take_arguments(compiler.arguments())
        if view.config is not self._config:
            self._config = view.config
            for each in self._duties:
                each.told = None
        told = self._told(view)
        # A first lesson that is not all would end an earlier process that knows more.
        whole = compiled and view.desired.complete
        if self._needed and (whole or self._supervisor.starts):
            self._supervisor.run(told)
            if self._asked():
                self._supervisor.run(self._told(view))
            packet_log.write(self._supervisor.take_seen())
            self._count()
        self._write(view)

    def _count(self) -> None:
        """Packets of the slow path, as ovn-controller counts them; a new process begins
        at 0."""
        packets = int(self._supervisor.said.get("counts", {}).get("packets", 0))
        new = packets - self._counted if packets >= self._counted else packets
        self._counted = packets
        coverage.hit("pinctrl_total_pin_pkts", new)

    def _take_arguments(self, arguments: Mapping[int, str]) -> None:
        if arguments is not self._arguments:
            self._arguments = arguments
            self._texts = {str(number): text for number, text in arguments.items()}

    def _told(self, view: View) -> dict[str, Any]:
        """All that the process is to know; finds out whether it is needed."""
        told: dict[str, Any] = {"arguments": self._texts, "watched": packet_log.wanted()}
        self.told = told
        needed = bool(self._arguments)
        for each in self._duties:
            if each.told is None:
                each.told = each.duty.told(view)
            needed = needed or each.duty.needed(each.told)
            told.update(each.told)
        if not self._needed:
            self._needed = needed and not self._refused and self._load()
        return told

    def _asked(self) -> bool:
        """Whether what was reported asks for another answer."""
        asked = [each for each in self._duties if each.duty.asks(self._supervisor.reports)]
        for each in asked:
            each.told = None
        return bool(asked)

    def _write(self, view: View) -> None:
        now = now_ms()
        for each in self._duties:
            if each.lane.ready(now):
                transaction = each.duty.write(view, self._supervisor.reports)
                pending = each.lane.send(transaction) if transaction else None
                if pending is not None:
                    each.duty.sent(pending)

    @property
    def settled(self) -> bool:
        """Whether the slow path is as the flows are, as far as it can be."""
        return not self._needed or self._supervisor.settled

    def wait(self, poller: Any) -> None:
        """See AgentProtocol."""
        now = now_ms()
        for each in self._duties:
            each.lane.wait(poller, now)
        if self._needed:
            self._supervisor.wait(poller)

    def moved(self) -> None:
        """The plane may have other programs, and packets run them."""
        self._supervisor.move(self._plane.directory, self._plane.programs.directory)

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
