# SPDX-License-Identifier: Apache-2.0
"""The agent's side of the slow path: starts the process, tells it, and watches it.

The process outlives an agent that dies or restarts, so that its answers go on; the
next agent's process takes the packets over and ends the old one when it knows enough
(slowpath.takeover).  One that dies by itself is started again, not more often than once
in RETRY_SECONDS.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ovs.poller

import ovn_bpf_controller
from ovn_bpf_controller.process.child import Child
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.slowpath import lessons, takeover

_log = Logger("slowpath")

RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 5.0  # it answers within a second of its start
_CHUNK = 1 << 16
# Finds its modules where we found ours: neither site's search, a third of its start
# in a virtual environment, nor the current directory.  -m would load runpy.
_START: Final = "from ovn_bpf_controller.slowpath.__main__ import main; raise SystemExit(main())"
_COMMAND: Final = (sys.executable, "-S", "-P", "-c", _START)


class Supervisor:
    """At most one process at a time is ours.

    said: how it goes, as it said last.  reports: by name, what the duties reported last
    (slowpath.duty.Duty.reports); empty until a new process has said it.
    """

    def __init__(self, plane: Path, programs: Path, pidfile: Path) -> None:
        """plane: directory of the pins.  programs: of this build's programs, below it
        perhaps beside those of another.  pidfile: names and locks the process."""
        self._plane = plane
        self._programs = programs
        self._pidfile = pidfile
        self._process: Child | None = None
        self._leaving: list[Child] = []  # that another one takes the place of
        self._sock: socket.socket | None = None
        self._unsent = b""
        self._rest = b""
        self._told: dict[str, Any] = {}
        self._retry_at = 0.0
        self._lesson = 0
        self._taught_at = 0.0
        self.said: dict[str, Any] = {}
        self.reports: dict[str, Any] = {}
        self.starts = 0
        self._seen: list[Any] = []

    def run(self, knowledge: Mapping[str, Any]) -> None:
        """Keeps the process running and what it knows up to date.

        knowledge: members of slowpath.knowledge's lines, JSON.
        """
        self._leaving = [child for child in self._leaving if child.ended() is None]
        if self._process is not None and (status := self._process.ended()) is not None:
            _log.warn(f"the slow path ended with status {status}")
            self._forget()
        if self._process is None:
            if time.monotonic() < self._retry_at:
                return
            self._start()
        last = self._told
        changed = {
            name: told
            for name, told in knowledge.items()
            if told is not last.get(name) and told != last.get(name)
        }
        if changed:
            self._lesson += 1
            self._taught_at = time.monotonic()
            self._unsent += lessons.line(self._lesson, last, changed)
            self._told.update(changed)
        self._exchange()

    @property
    def settled(self) -> bool:
        """Whether what it was told is in force, or it takes too long to wait for."""
        if self.said.get("lesson") == self._lesson:
            return True
        return time.monotonic() > self._taught_at + PATIENCE_SECONDS

    def take_seen(self) -> list[Any]:
        """Packets that it was told to tell of (slowpath.sightings), since the last call."""
        seen, self._seen = self._seen, []
        return seen

    def wait(self, poller: Any) -> None:
        """Wakes up for what it says and when it is to be started again."""
        if self._sock is None:
            poller.timer_wait(round(RETRY_SECONDS * 1000))
            return
        if not self.settled:
            poller.timer_wait(round(PATIENCE_SECONDS * 1000))
        events = ovs.poller.POLLIN | (ovs.poller.POLLOUT if self._unsent else 0)
        poller.fd_wait(self._sock.fileno(), events)

    def move(self, plane: Path, programs: Path) -> None:
        """Other pins are in use, as __init__ has them.  The process there is serves until
        one that uses them has learnt."""
        if (plane, programs) == (self._plane, self._programs):
            return
        self._plane, self._programs = plane, programs
        if self._process is not None:
            self._leaving.append(self._process)
            self._forget()
            self._retry_at, self._taught_at = 0.0, time.monotonic()

    def stop(self, keep: bool) -> None:
        """keep: it goes on without us; else so ends what an earlier agent has left."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        process, self._process = self._process, None
        if keep:
            return
        if process is not None:
            process.end(PATIENCE_SECONDS)
        takeover.end(self._pidfile)
        self._pidfile.unlink(missing_ok=True)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = (self._plane, self._programs, theirs.fileno(), self._pidfile)
            env = {**os.environ, "PYTHONPATH": _python_path()}
            self._process = Child([*_COMMAND, *map(str, arguments)], env, theirs.fileno())
        ours.setblocking(False)
        self._sock = ours
        self._told, self._unsent, self._rest = {}, b"", b""
        self.said, self.reports = {}, {}
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self.starts += 1

    def _forget(self) -> None:
        self._process = None
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self.said, self.reports = {}, {}

    def _exchange(self) -> None:
        assert self._sock is not None
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:
            pass  # it is busy; poll() tells when there is room
        except OSError as error:
            _log.dbg(f"the slow path does not listen: {error}")
            return
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            return  # it has ended: seen by poll() above
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            self.reports.update(said.pop("reports", {}))
            self._seen += said.pop("seen", [])
            self.said.update(said)


def _python_path() -> str:
    ours = str(Path(ovn_bpf_controller.__file__).parents[1])
    return os.pathsep.join(dict.fromkeys([ours, *filter(None, sys.path)]))
