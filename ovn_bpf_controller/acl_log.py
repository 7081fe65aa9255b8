# SPDX-License-Identifier: Apache-2.0
"""log(): what the program told of packets -> lines of ovn-controller's text.

agent.Agent runs it.  Neutron and ovn-kubernetes parse these lines, the module's name
with its thread included.  The program keeps the last megabyte of them while no agent
runs, and the next one writes them.  Text: OVN's lib/acl-log.c.
"""

from __future__ import annotations

import json
import select
from collections.abc import Mapping
from typing import Any, Final

from ovn_bpf_controller.compile.telling import Uses
from ovn_bpf_controller.datapath.events import Event, Events
from ovn_bpf_controller.observe import microflow
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.process.log_core import INFO

MOST: Final = 256  # lines in a round of the main loop
_log: Final = Logger("acl_log", thread="ovn_pinctrl0")


class AclLog:
    """Writes what there is to write.  events: map ovn_logs, whose one reader this is."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._revision = -1
        self._said: dict[int, dict[str, Any]] = {}
        self._gone: set[int] = set()
        self._more = False
        self.unknown = 0  # of flows that an earlier agent had

    def run(self, uses: Uses) -> None:
        """Writes up to MOST lines."""
        events = list(self._events.read(MOST))
        self._more = len(events) == MOST
        if uses.revision != self._revision:
            self._learn(uses)
        for event in events:
            said = self._said.get(event.arg)
            if said is None:
                self.unknown += 1
            elif _log.is_enabled(INFO):
                _log.info(line(said, event))
        if not self._more:
            for number in self._gone:
                self._said.pop(number, None)
            self._gone.clear()

    def _learn(self, uses: Uses) -> None:
        """What is no longer said may still be on its way: known until all was read."""
        logs = uses.logs()
        self._gone = self._said.keys() - logs.keys()
        for number in logs.keys() - self._said.keys():
            self._said[number] = json.loads(logs[number])
        self._revision = uses.revision

    def wait(self, poller: Any) -> None:
        """Wakes up when there is something."""
        if self._more:
            poller.immediate_wake()
        else:
            poller.fd_wait(self._events.fd, select.POLLIN)

    def close(self) -> None:
        """What comes now is the next agent's."""
        self._events.close()


def line(said: Mapping[str, Any], event: Event) -> str:
    """One line's message.  said: JSON of compile.punts."""
    name = json.dumps(said["name"] or "<unnamed>", ensure_ascii=False)
    direction = "to-lport" if event.egress else "from-lport"
    return (
        f"name={name}, verdict={said['verdict']}, severity={said['severity']}, "
        f"direction={direction}: {microflow.header(microflow.extracted(event.words))}"
    )
