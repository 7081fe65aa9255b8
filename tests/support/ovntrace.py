# SPDX-License-Identifier: Apache-2.0
"""ovn-trace as a server: a process for each packet would take far longer.

It detaches itself, so it lives in a pid namespace that dies with us.  Debian's
crashes now and then while it starts; then it is started again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import ovs.unixctl.client

from tests.support.ovsdb import Daemon, OvsdbServer, wait_until
from tests.support.release import Release


class Central(Protocol):
    """What it needs of an OvnCentral."""

    @property
    def sb(self) -> OvsdbServer:
        """The Southbound that it reads."""

    @property
    def release(self) -> Release:
        """Whose program it is."""


class OvnTrace(Daemon):
    """It reads the Southbound once, when it starts."""

    def __init__(self, directory: Path, central: Central, *options: str) -> None:
        super().__init__(directory, "ovn-trace")
        self._central, self._options = central, options
        self._client: Any = None

    def start(self) -> None:
        inner = [*self._central.release.command("ovn-trace"), "--detach", "--no-chdir"]
        inner += ["-vconsole:warn", "-vsyslog:off", *self._options]
        inner += [f"--pidfile={self.directory}/ovn-trace.pid", f"--unixctl={self.ctl}"]
        inner += [f"--db={self._central.sb.remote}"]
        ready = self.directory / "ready"
        script = f'"$@" && touch {ready} && exec sleep infinity'
        for _ in range(5):
            self.spawn(
                ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh", *inner]
            )
            wait_until(lambda: ready.exists() or not self.alive(), "ovn-trace to start")
            if self.alive():
                return
            self.kill()
        raise AssertionError(f"ovn-trace does not start: {self.log.read_text()}")

    def stop(self) -> None:
        """unshare ignores SIGTERM."""
        if self._client is not None:
            self._client.close()
        self.kill()

    def minimal(self, datapath: str, microflow: str) -> str:
        """What ovn-trace --minimal prints."""
        return self.trace("--minimal", datapath, microflow)

    def trace(self, form: str, datapath: str, microflow: str) -> str:
        """What ovn-trace prints; form: --minimal, --summary, --detailed, --all."""
        if self._client is None:
            error, self._client = ovs.unixctl.client.UnixctlClient.create(str(self.ctl))
            assert not error, error
        error, problem, result = self._client.transact("trace", [form, datapath, microflow])
        assert not error and problem is None, (error, problem, microflow)
        return str(result)
