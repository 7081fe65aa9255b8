# SPDX-License-Identifier: Apache-2.0
"""The main loop: signals, the control socket and the agent, until it is to end.

cli.controller runs it in the daemon.  Ends are ovn-controller's: `exit` cleans
the databases up, `exit --restart` and signals leave everything as it is, for the
next process to adopt.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any, Protocol

import ovs.poller

from ovn_bpf_controller.process import coverage, log, stopwatch, vlog_commands
from ovn_bpf_controller.process.garbage import Collector
from ovn_bpf_controller.process.notify import Watchdog, notify
from ovn_bpf_controller.process.poller import Poller
from ovn_bpf_controller.process.progress import Progress
from ovn_bpf_controller.process.unixctl import Commands, Registry, Request, Server
from ovn_bpf_controller.process.version import program_version

_log = log.Logger("main")
_signal_log = log.Logger("fatal_signal")

_SIGNAL_GRACE = 2.0  # Seconds that stop(restart=True) gets after a signal.


class AgentProtocol(Protocol):
    """What the loop needs of the agent.

    ready: the data plane is loaded and the agent can be waited for no longer;
    this must not depend on a database being there, or `--detach` would hang where
    ovn-controller's returns.
    """

    @property
    def ready(self) -> bool:
        """Whether the parent of `--detach` may return."""

    @property
    def live(self) -> bool:
        """Whether systemd may be told that the service is up: packets obey what the
        databases say, or there is nothing to obey."""

    @property
    def state(self) -> str:
        """What the agent does or waits for, in a few words."""

    def register(self, commands: Commands) -> None:
        """Register control commands; called once, before the first run()."""

    def run(self) -> None:
        """Do what there is to do, without blocking."""

    def wait(self, poller: Any) -> None:
        """Tell the ovs.poller.Poller when to call run() (or stop()) again."""

    def stop(self, restart: bool) -> bool:
        """End; called over and over until it returns True, in the place of run().

        restart: leave rows, data plane and pins as they are.
        """


class Ready(Protocol):
    """Called once, when the agent is ready."""

    def __call__(self) -> None: ...


class MainLoop:
    """One run of the daemon."""

    def __init__(self, agent: AgentProtocol, server: Server, registry: Registry) -> None:
        self._agent = agent
        self._server = server
        self._paused = False
        self._restart = False
        self._exits: list[Request] = []
        self._stopping = False
        self._deadline = float("inf")
        self._signal = 0
        self._hangup = False
        self._wake_fd = -1
        self._noted = False  # a signal came, and with it a byte from that pipe
        self._live = False
        self._told = ""
        self._progress = Progress()
        self._watchdog = Watchdog()
        registry.register("exit", "[--restart]", 0, 1, self._exit)
        registry.register("version", "", 0, 0, lambda _request: program_version())
        registry.register("debug/pause", "", 0, 0, self._pause)
        registry.register("debug/resume", "", 0, 0, self._resume)
        registry.register("debug/status", "", 0, 0, self._status)
        vlog_commands.register(registry)
        coverage.register(registry)
        stopwatch.register(registry)
        agent.register(registry)

    def run(self, on_ready: Ready) -> int:
        """Loop until the end.  Returns the signal that asked for it, or 0.

        Exceptions of the agent pass through: the caller logs them and exits 1.
        """
        announced = False
        poller = Poller()
        collector = Collector()
        collector.begin()
        self._catch_signals()
        while True:
            self._handle_signals()
            self._watchdog.run()
            coverage.run()
            self._server.run()
            if self._step():
                break
            if self._agent.ready and not announced:
                announced = True
                on_ready()
            self._tell()
            self._wait(poller)
            if not poller.awake:
                collector.idle()
            poller.block()
        for request in self._exits:
            request.reply()
        self._server.run()
        return self._signal

    def _tell(self) -> None:
        """systemd is told once that the service is up, and whenever the state changes; so
        is who looks on, until the service is up."""
        state = self._agent.state
        news = [] if state == self._told else [f"STATUS={state}"]
        if not self._live and self._agent.live:
            self._live = True
            news.insert(0, "READY=1")
        self._told = state
        self._progress.show("" if self._live else state)
        if news and not self._stopping:
            notify(*news)

    def _step(self) -> bool:
        """Let the agent work; True when everything is over."""
        if self._stopping:
            return self._agent.stop(self._restart) or time.monotonic() >= self._deadline
        if not self._paused:
            self._agent.run()
        return False

    def _wait(self, poller: Poller) -> None:
        self._server.wait(poller)
        poller.fd_wait(self._wake_fd, ovs.poller.POLLIN)
        if self._stopping or not self._paused:
            self._agent.wait(poller)
        if self._stopping and self._signal:
            poller.timer_wait(100)
        due = self._watchdog.timeout()
        if due is not None:
            poller.timer_wait(due)

    # Signals: a handler runs between two instructions, so it only takes a note; the
    # pipe makes sure that poll(2) returns.

    def _catch_signals(self) -> None:
        self._wake_fd, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._noted = True
        if number == signal.SIGHUP:
            self._hangup = True
            return
        if self._stopping:
            # Whoever asks twice means now.
            self._deadline = 0.0
        self._signal = number

    def _handle_signals(self) -> None:
        if self._noted:
            self._noted = False
            try:
                os.read(self._wake_fd, 512)
            except BlockingIOError:
                pass  # Read with the byte of the signal before.
        if self._hangup:
            self._hangup = False
            log.reopen_file()
        if self._signal and not self._stopping:
            name = signal.strsignal(self._signal)
            _signal_log.warn(f"terminating with signal {self._signal} ({name})")
            self._restart = True
            self._deadline = time.monotonic() + _SIGNAL_GRACE
            self._begin_stop()

    def _begin_stop(self) -> None:
        self._stopping = True
        notify("STOPPING=1")

    def _exit(self, request: Request) -> None:
        """The reply waits until the end, so a client may rely on what it did."""
        self._exits.append(request)
        if not self._stopping:
            self._restart = request.args == ["--restart"]
            self._begin_stop()

    def _pause(self, _request: Request) -> str:
        _log.info("User triggered execution pause.")
        self._paused = True
        return ""

    def _resume(self, _request: Request) -> str:
        _log.info("User triggered execution resume.")
        self._paused = False
        return ""

    def _status(self, _request: Request) -> str:
        return "paused" if self._paused else "running"
