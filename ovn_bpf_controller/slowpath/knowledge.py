# SPDX-License-Identifier: Apache-2.0
"""What the agent has told the slow path: lines of JSON over a socket.

Each line is an object whose members replace what was known under their names; of
`arguments` (number -> what a verb says) and `dns` (datapath -> names) it has what is
different (slowpath.lessons).  The number of the line, `lesson`, is told back: then it is in force.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.slowpath.lessons import BY_KEY, merged

_log = Logger("slowpath")
_CHUNK = 1 << 16


class KnowledgeError(OvnBpfError):
    """The agent and we do not speak the same language."""


@dataclass(slots=True)
class Knowledge:
    """lesson: number of the last line.  arguments: JSON objects of compile.punts, by
    number.  dhcp_options, dhcpv6_options: (code, type) by name.  dns: by datapath
    key, lower-case name -> (value of the row's record, whether OVN owns it).  watched:
    whether packets are told of (slowpath.sightings).  facts: what else duties asked for
    (slowpath.duty.Duty.hears), by name; the object is another one when it was told anew.
    """

    lesson: int = 0
    arguments: dict[int, dict[str, Any]] = field(default_factory=dict)
    dhcp_options: dict[str, tuple[int, str]] = field(default_factory=dict)
    dhcpv6_options: dict[str, tuple[int, str]] = field(default_factory=dict)
    dns: dict[int, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    watched: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    hears: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    def learn(self, line: bytes) -> None:
        """Takes one line.  Raises KnowledgeError; what was known then stays."""
        try:
            told = json.loads(line)
            self.lesson = int(told.pop("lesson"))
            facts = {n: self.hears[n](told.pop(n)) for n in told.keys() & self.hears.keys()}
            heard = {name: _HEARD[name](value) for name, value in told.items()}
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise KnowledgeError(f"the agent says what we do not know: {error}") from error
        self.facts.update(facts)
        for name, value in heard.items():
            setattr(self, name, merged(getattr(self, name), value) if name in BY_KEY else value)


def _options(told: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {name: (int(code), str(kind)) for name, (code, kind) in told.items()}


def _records(told: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {name: (str(value), bool(owned)) for name, (value, owned) in told.items()}


_HEARD: Final[dict[str, Callable[[Any], Any]]] = {
    "arguments": lambda told: {int(n): t and json.loads(t) for n, t in told.items()},
    "dhcp_options": _options,
    "dhcpv6_options": _options,
    "watched": bool,
    "dns": lambda told: {int(key): n and _records(n) for key, n in told.items()},
}


class Teacher:
    """Our end of the conversation with the agent.

    fd: of a socket, ours from here on, to poll for input; -1 when the agent has gone.
    """

    def __init__(self, fd: int, knowledge: Knowledge) -> None:
        self.fd = fd
        self._knowledge = knowledge
        self._rest = b""
        self._unsent = b""
        os.set_blocking(fd, False)

    def run(self) -> None:
        """Reads what there is.  Without an agent what is known stays in force."""
        while self.fd >= 0:
            try:
                data = os.read(self.fd, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                _log.info("the agent has gone; going on with what it said last")
                os.close(self.fd)
                self.fd = -1
                return
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                try:
                    self._knowledge.learn(line)
                except KnowledgeError as error:
                    _log.err(str(error))

    def say(self, told: dict[str, Any]) -> None:
        """Tells the agent; what it does not read at once goes with later calls."""
        if self.fd < 0:
            return
        self._unsent += json.dumps(told).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Sends what waits, as far as there is room."""
        try:
            while self.fd >= 0 and self._unsent:
                self._unsent = self._unsent[os.write(self.fd, self._unsent) :]
        except BlockingIOError:
            pass  # flush() is called again
        except OSError as error:
            self._unsent = b""
            _log.dbg(f"the agent does not listen: {error}")

    @property
    def behind(self) -> bool:
        """Whether the agent has not read what it was told before."""
        return bool(self._unsent)
