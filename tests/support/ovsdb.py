# SPDX-License-Identifier: Apache-2.0
"""Real ovsdb-server and ovn-northd processes for tests, private to a directory.

Used by the suites of ovsdb, binding, vswitch and process.  Every process dies
with the test's process (PR_SET_PDEATHSIG through setpriv), is stopped by its own
pid, and keeps its database, sockets and log in the directory it was given.

    with OvnCentral(tmp_path) as central:
        central.nbctl("ls-add", "sw0")
        cache = SouthboundCache([central.sb.remote])
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.release import HOST, Release

OVS_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")

#: Seconds that a server may take for anything; the machine may be busy.
DEADLINE = 90.0


def wait_until(
    condition: Callable[[], Any],
    what: str = "the condition",
    timeout: float = DEADLINE,
    interval: float = 0.01,
) -> Any:
    """Return condition()'s first true value; AssertionError after timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(interval)


def run_tool(*argv: str | Path, timeout: float = DEADLINE, check: bool = True) -> str:
    """Run a client tool and return its output, stripped; its stderr goes into the error."""
    done = subprocess.run(
        [str(arg) for arg in argv], capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))}: {done.returncode}: {done.stderr}")
    return done.stdout.strip()


class Daemon:
    """A foreground process that dies with us; stop() and kill() are idempotent."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = self.directory / f"{name}.log"
        self.ctl = self.directory / f"{name}.ctl"
        self.process: subprocess.Popen[bytes] | None = None

    def spawn(self, argv: Sequence[str | Path]) -> None:
        """Start argv with its output in the log; the pid is the daemon's own."""
        assert self.process is None, f"{self.name} runs already"
        environment = os.environ | {
            key: str(self.directory)
            for key in ("OVS_RUNDIR", "OVN_RUNDIR", "OVS_LOGDIR", "OVN_LOGDIR", "OVS_DBDIR")
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} does not run"
        return self.process.pid

    def alive(self) -> bool:
        """Whether the process runs (a paused one does)."""
        return self.process is not None and self.process.poll() is None

    def pause(self) -> None:
        """SIGSTOP: the server keeps its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL if that does not help in time."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: nothing is saved or closed in an orderly way."""
        self._end(signal.SIGKILL)

    def _end(self, signum: int) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signum)
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        self.ctl.unlink(missing_ok=True)

    def appctl(self, *args: str) -> str:
        """What a unixctl command of this process prints."""
        return run_tool("ovs-appctl", "-T", "60", "-t", self.ctl, *args, timeout=90)

    def wait_log(self, pattern: str) -> re.Match[str]:
        """The first match of a regular expression in the log, once there is one."""

        def found() -> re.Match[str] | None:
            assert self.alive(), f"{self.name} died: {self.log.read_text()}"
            return re.search(pattern, self.log.read_text(errors="replace"), re.MULTILINE)

        match: re.Match[str] = wait_until(found, f"{pattern!r} in the log of {self.name}")
        return match

    def start(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        if self.process is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class OvsdbServer(Daemon):
    """An ovsdb-server with one database.

    schema: path of an .ovsschema; the database is created when its file is missing, so
    stop() and start() keep the contents.  extra: more arguments, such as
    --remote=db:OVN_Southbound,SB_Global,connections or TLS files.
    """

    def __init__(
        self, directory: Path, schema: Path = SB_SCHEMA, name: str = "sb", extra: Sequence[str] = ()
    ) -> None:
        super().__init__(directory, name)
        self.schema = Path(schema)
        self.database = self.directory / f"{name}.db"
        self.socket = self.directory / f"{name}.sock"
        self.extra = list(extra)

    @property
    def remote(self) -> str:
        """The unix: remote, valid before the server runs and across restarts."""
        return f"unix:{self.socket}"

    @property
    def db_name(self) -> str:
        """The name of the database, as in its schema."""
        return run_tool("ovsdb-tool", "schema-name", self.schema)

    def start(self) -> None:
        """Create the database if it is missing, start, return once it accepts clients."""
        if not self.database.exists():
            run_tool("ovsdb-tool", "create", self.database, self.schema)
        self.socket.unlink(missing_ok=True)
        self.spawn(
            [
                "ovsdb-server",
                "--no-chdir",
                "-vconsole:info",
                "-vsyslog:off",
                "-vfile:off",
                f"--remote=punix:{self.socket}",
                f"--unixctl={self.ctl}",
                *self.extra,
                self.database,
            ]
        )
        wait_until(self._accepts, f"{self.name} to listen")

    def _accepts(self) -> bool:
        assert self.alive(), f"ovsdb-server died: {self.log.read_text()}"
        with socket.socket(socket.AF_UNIX) as probe:
            return self.ctl.exists() and probe.connect_ex(str(self.socket)) == 0

    def listen(self, kind: str = "ptcp", host: str = "127.0.0.1", port: int = 0) -> int:
        """Add a TCP or TLS (kind "pssl") listener until the server stops; its port."""
        offset = self.log.stat().st_size
        self.appctl("ovsdb-server/add-remote", f"{kind}:{port}:{host}")

        def found() -> int | None:
            text = self.log.read_text(errors="replace")[offset:]
            match = re.search(r"listening on port (\d+)", text)
            return int(match[1]) if match else None

        if port:
            return port
        result: int = wait_until(found, "the listener's port in the log")
        return result

    def client(self, *operations: str) -> str:
        """ovsdb-client transact; operations are JSON texts."""
        return run_tool(
            "ovsdb-client", "transact", self.remote, f'["{self.db_name}",{",".join(operations)}]'
        )


class ClusterServer(OvsdbServer):
    """A member of a RAFT cluster: the first makes it, others name a member to join.

    A cluster of one behaves as any other, and unlike a standalone server it keeps a
    history of transactions, from which monitor_cond_since can resume.
    """

    def __init__(
        self,
        directory: Path,
        name: str = "sb1",
        join: ClusterServer | None = None,
        schema: Path = SB_SCHEMA,
        extra: Sequence[str] = (),
    ) -> None:
        super().__init__(directory, schema, name, extra)
        self.raft = f"unix:{self.directory / name}.raft"
        self.join = join

    def start(self) -> None:
        """Create or join if the database is missing, start, wait until it is a member."""
        if not self.database.exists():
            if self.join is None:
                run_tool("ovsdb-tool", "create-cluster", self.database, self.schema, self.raft)
            else:
                run_tool(
                    "ovsdb-tool", "join-cluster", self.database, self.db_name, self.raft,
                    self.join.raft,
                )  # fmt: skip
        super().start()
        run_tool("ovsdb-client", "-t", "30", "wait", self.remote, self.db_name, "connected")

    def cluster_status(self) -> str:
        """What cluster/status prints."""
        return self.appctl("cluster/status", self.db_name)


class LocalServer(OvsdbServer):
    """An ovsdb-server with an Open_vSwitch database; ovs-vswitchd is not running."""

    def __init__(self, directory: Path, schema: Path = OVS_SCHEMA, name: str = "ovs") -> None:
        super().__init__(directory, schema, name)

    def start(self) -> None:
        super().start()
        self.vsctl("init")

    def vsctl(self, *args: str, wait: bool = False, timeout: int = 60) -> str:
        """ovs-vsctl; wait=True waits for cur_cfg, which takes somebody in vswitchd's place."""
        flags = [] if wait else ["--no-wait"]
        return run_tool("ovs-vsctl", f"--db={self.remote}", f"-t{timeout}", *flags, *args)


class Northd(Daemon):
    """A real ovn-northd between two servers."""

    def __init__(
        self, directory: Path, nb: OvsdbServer, sb: OvsdbServer, release: Release = HOST
    ) -> None:
        super().__init__(directory, "northd")
        self.nb, self.sb, self.release = nb, sb, release

    def start(self) -> None:
        """Start and return once its control socket exists."""
        self.spawn(
            [
                *self.release.command("ovn-northd"),
                "--no-chdir",
                "-vconsole:info",
                "-vsyslog:off",
                "-vfile:off",
                f"--ovnnb-db={self.nb.remote}",
                f"--ovnsb-db={self.sb.remote}",
                f"--unixctl={self.ctl}",
            ]
        )
        wait_until(lambda: self.ctl.exists() or not self.alive(), "ovn-northd's control socket")
        assert self.alive(), f"ovn-northd died: {self.log.read_text()}"


class OvnCentral:
    """Northbound, Southbound and ovn-northd; a context manager.

    sb_schema, sb_extra: as OvsdbServer's for the Southbound alone.  release: whose
    programs and schemas, if not the host's.
    """

    def __init__(
        self,
        directory: Path,
        sb_schema: Path | None = None,
        sb_extra: Sequence[str] = (),
        release: Release = HOST,
    ) -> None:
        self.directory = Path(directory)
        self.release = release
        self.nb = OvsdbServer(self.directory, release.schema("ovn-nb"), "nb")
        self.sb = OvsdbServer(self.directory, sb_schema or release.schema("ovn-sb"), "sb", sb_extra)
        self.northd = Northd(self.directory, self.nb, self.sb, release)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.nb)
            stack.enter_context(self.sb)
            self.nbctl("init")
            self.sbctl("init")
            stack.enter_context(self.northd)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def nbctl(self, *args: str) -> str:
        """ovn-nbctl on the Northbound; --wait=sb waits for northd."""
        tool = self.release.command("ovn-nbctl")
        return run_tool(*tool, "--no-leader-only", f"--db={self.nb.remote}", "-t60", *args)

    def sbctl(self, *args: str) -> str:
        """ovn-sbctl on the Southbound."""
        tool = self.release.command("ovn-sbctl")
        return run_tool(*tool, "--no-leader-only", f"--db={self.sb.remote}", "-t60", *args)

    def sync(self) -> None:
        """Return once northd has translated everything."""
        self.nbctl("--wait=sb", "sync")
