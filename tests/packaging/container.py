# SPDX-License-Identifier: Apache-2.0
"""A Debian 12 host with a real systemd: systemd-nspawn over a cached root.

Its writes go to an overlay that ends with it.  The kernel is this machine's, the
network its own.  nspawn must be ended by SIGTERM, or mounts stay behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm import cache

SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "procps", "netbase", "logrotate"),
    *("openvswitch-switch", "ovn-common", "ovn-central", "ovn-host"),
    *("iproute2", "iputils-ping", "iperf3"),
    # What our package depends on: there is no network to fetch it by.
    *("libbpf1", "python3", "python3-cffi-backend", "python3-openvswitch", "python3-pyroute2"),
    *("python3-prometheus-client", "sosreport"),
)
# For those who go back; it cannot be installed beside ours.
OTHERS = "ovn-host"
_DOWNLOAD = f'cd "$1/root" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get download -qq {OTHERS}'
BOOT_SECONDS = 60.0


def root() -> Path:
    """The root that containers are laid over, made when missing."""

    def make(part: Path) -> None:
        subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"),
                '--aptopt=APT::Install-Recommends "false"',
                f"--include={','.join(PACKAGES)}",
                f"--customize-hook={_DOWNLOAD}",
                *(SUITE, str(part / "tree")),
            ],
            check=True,
        )

    return cache.entry(f"nspawn-{cache.digest(SUITE, *PACKAGES, OTHERS)}", make) / "tree"


class Container:
    """One running host.  run() executes in it."""

    def __init__(self, tree: Path, log: Path) -> None:
        self.tree = tree
        command = [
            *("systemd-nspawn", "-q", "--register=no", "--keep-unit", "--private-network"),
            *("--kill-signal=SIGRTMIN+3", "--capability=all"),
            *("--system-call-filter=bpf perf_event_open", "--console=read-only"),
            *("-D", str(tree), "--boot"),
        ]
        with log.open("wb") as out:
            self._nspawn = subprocess.Popen(
                command,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._init = 0

    def boot(self) -> None:
        """Waits until systemd has started everything."""
        self.wait(self._booted, "systemd to come up", BOOT_SECONDS)
        # nspawn hides it behind a read-only tmpfs.
        self.run("mount", "-o", "remount,rw", "/sys")
        self.run("mkdir", "-p", "/sys/fs/bpf")
        self.run("mount", "-t", "bpf", "bpf", "/sys/fs/bpf")

    def _booted(self) -> bool:
        assert self._nspawn.poll() is None, "systemd-nspawn ended"
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        found = children.read_text().split()
        if not found:
            return False
        self._init = int(found[0])
        state = self.call("systemctl", "is-system-running").stdout.strip()
        return state in ("running", "degraded")

    def call(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, whatever comes of it."""
        enter = ["nsenter", "-t", str(self._init), "-a", "--root", "env", "-C", "/"]
        return subprocess.run(
            [*enter, *command],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def run(self, *command: str, timeout: float = 120) -> str:
        """Output of a command inside that must succeed."""
        done = self.call(*command, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def spawn(self, *command: str) -> subprocess.Popen[str]:
        """A command inside that goes on, to be talked with; the caller waits for it."""
        enter = ["nsenter", "-t", str(self._init), "-a", "--root", "env", "-C", "/"]
        pipe = subprocess.PIPE
        return subprocess.Popen([*enter, *command], cwd="/", stdin=pipe, stdout=pipe, text=True)

    @staticmethod
    def wait(condition: object, what: str, seconds: float = 30.0) -> None:
        """Until condition() holds."""
        assert callable(condition)
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it as `poweroff` would."""
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(30)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()


@contextmanager
def host(work: Path) -> Iterator[Container]:
    """A booted container whose files are kept under `work`, which must be empty."""
    lower = root()
    for name in ("upper", "work", "tree"):
        (work / name).mkdir()
    options = f"lowerdir={lower},upperdir={work / 'upper'},workdir={work / 'work'}"
    tree = work / "tree"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(tree)], check=True)
    try:
        container = Container(tree, work / "boot.log")
        try:
            container.boot()
            yield container
        finally:
            container.stop()
    finally:
        subprocess.run(["umount", str(tree)], check=True)
        shutil.rmtree(work / "upper")
