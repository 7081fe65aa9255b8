# SPDX-License-Identifier: Apache-2.0
"""The real daemon around an agent that does nothing, for tests of process/ and cli/.

Run as a program it takes ovn-controller's options.  FAKE_DIR names a directory
through which a test steers it: it refuses to start with the text of `refuse`, is ready
once `hold` is gone, cleans up once `busy` is gone, and writes down how it ended.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import ovs.jsonrpc

from ovn_bpf_controller.cli.controller import main
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.process.options import Options
from ovn_bpf_controller.process.unixctl import CommandError, Commands, Request

_log = Logger("binding")
_limit = RateLimit(60, 2)


class FakeAgent:
    """Implements AgentProtocol; counts its runs."""

    def __init__(self, options: Options) -> None:
        self.dir = Path(os.environ["FAKE_DIR"])
        self.crash = ""
        self.runs = 0
        self.asked = 0
        self.check: Request | None = None
        self.descriptors = [
            os.open(os.devnull, os.O_RDONLY)
            for _ in range(int(os.environ.get("FAKE_DESCRIPTORS", 0)))
        ]
        if (self.dir / "refuse").exists():
            raise DataPlaneError((self.dir / "refuse").read_text())
        self.note("options", repr(options))

        remote = os.environ.get("FAKE_REMOTE")
        self.session = ovs.jsonrpc.Session.open(remote) if remote else None

    def note(self, name: str, text: str) -> None:
        (self.dir / name).write_text(text)

    @property
    def ready(self) -> bool:
        return not (self.dir / "hold").exists()

    @property
    def live(self) -> bool:
        return not (self.dir / "loading").exists()

    @property
    def state(self) -> str:
        return "Running" if self.live else "Loading"

    def register(self, commands: Commands) -> None:
        commands.register("connection-status", "", 0, 0, lambda _request: "not connected")
        commands.register("ct-zone-list", "", 0, 0, lambda _request: "")
        commands.register("fake/runs", "", 0, 0, lambda _request: str(self.runs))
        commands.register("fake/refuse", "WHY", 1, 1, self._refuse)
        commands.register("fake/bug", "", 0, 0, lambda _request: str(1 // 0))
        commands.register("fake/chatter", "COUNT", 1, 1, self._chatter)
        commands.register("fake/crash", "", 0, 0, self._crash)
        commands.register(
            "ovn-bpf/unsupported", "[--json]", 0, 1, lambda _request: "2 put_dhcp_opts"
        )
        commands.register("ovn-bpf/flows", "[--json] [DATAPATH]", 0, 2, lambda r: f"{r.args}")
        commands.register("ovn-bpf/check", "[--json]", 0, 1, self._check)
        commands.register("ovn-bpf/progress", "", 0, 0, lambda _request: self._progress())
        commands.register("ovn-bpf/status", "[--json]", 0, 1, self._status)

    def _check(self, request: Request) -> None:
        """Takes until somebody has asked twice how far it is."""
        self.check = request

    def _progress(self) -> str:
        self.asked += 1
        if self.asked == 2 and self.check is not None:
            self.check.reply("0 differences")
        return "comparing"

    def _status(self, request: Request) -> str:
        return '{"runs": 1}' if request.args == ["--json"] else "runs: 1"

    def _refuse(self, request: Request) -> str:
        raise CommandError(request.args[0])

    def _chatter(self, request: Request) -> str:
        for number in range(int(request.args[0])):
            _limit.warn(_log, f"chatter {number}")
        return ""

    def _crash(self, request: Request) -> str:
        self.crash = "now"
        return ""

    def run(self) -> None:
        self.runs += 1
        if self.session:
            self.session.run()
        if self.crash:
            raise RuntimeError("the fake agent was told to fail")

    def wait(self, poller: Any) -> None:
        if self.crash:
            poller.immediate_wake()
        poller.timer_wait(20)

    def stop(self, restart: bool) -> bool:
        if (self.dir / "busy").exists():
            self.note("stopping", f"restart={restart}")
            return False
        self.note("stopped", f"restart={restart}")
        return True


if __name__ == "__main__":
    sys.exit(main(agent_factory=FakeAgent))
