# SPDX-License-Identifier: Apache-2.0
"""A private run directory and the daemons that a test starts in it.

Used by the tests of process/ and cli/; the agent in them is support.fake_daemon's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.ovsdb import wait_until

REPO = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_daemon.py")
DEADLINE = 90  # Seconds


class Bed:
    """One private run directory.  Commands see it as OVN's, Open vSwitch's and the log's."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.pidfile = directory / "ovn-controller.pid"
        self.log = directory / "ovn-controller.log"
        names = ("OVN_RUNDIR", "OVS_RUNDIR", "OVN_LOGDIR", "OVS_LOGDIR", "OVN_SYSCONFDIR")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("OVN_", "OVS_"))}
        self.env |= dict.fromkeys(names, str(directory))
        self.env |= {"FAKE_DIR": str(directory), "PYTHONPATH": str(REPO), "LC_ALL": "C"}
        self.env["OVS_SYSLOG_METHOD"] = "null"
        self.python = sys.executable
        self.processes: list[subprocess.Popen[str]] = []

    def fake(self, *args: str) -> list[str]:
        return [self.python, str(FAKE), *args]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            command, env=self.env, cwd=self.dir, capture_output=True, text=True, timeout=DEADLINE
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start the fake daemon in the foreground."""
        process = subprocess.Popen(
            self.fake(*args),
            env=self.env,
            cwd=self.dir,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def up(self, *args: str) -> subprocess.Popen[str]:
        """Start it with a pidfile and a log file, and wait for its control socket."""
        process = self.start(*args, "--pidfile", "-vconsole:off", "--log-file")
        ctl = self.dir / f"ovn-controller.{process.pid}.ctl"
        wait_until(
            lambda: ctl.exists() and self.appctl("version").returncode == 0, "the control socket"
        )
        return process

    def pid(self) -> int:
        """The pid in the pidfile."""
        return int(self.pidfile.read_text())

    def appctl(self, *args: str) -> subprocess.CompletedProcess[str]:
        """The real ovn-appctl."""
        return self.run("ovn-appctl", "-T", "60", "-t", "ovn-controller", *args)

    def close(self) -> None:
        """End by pid whatever still runs."""
        if self.pidfile.exists():
            try:
                os.kill(self.pid(), signal.SIGTERM)
            except ProcessLookupError:
                self.pidfile.unlink()
        wait_until(lambda: not self.pidfile.exists(), "the daemon to remove its pidfile")
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=DEADLINE)
