# SPDX-License-Identifier: Apache-2.0
"""Daemons of a sandbox: start, find by pidfile, stop, and waiting for conditions.

Daemons are started without --detach, so their pid is the one that the kernel
gave us; whoever made the sandbox may end and leave them running.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.process.pidfile import holder

POLL_SECONDS = 0.02


def spawn(argv: Sequence[str], output: Path, env: Mapping[str, str] | None = None) -> int:
    """Start `argv` in a session of its own, output appended to `output`; returns its pid.

    env is added to ours.  Raises SandboxError when the program cannot be run.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        return os.posix_spawnp(
            argv[0], list(argv), {**environment(), **(env or {})}, file_actions=actions, setsid=True
        )
    except OSError as error:
        raise SandboxError(f"cannot run {argv[0]}: {error.strerror}") from error


def environment() -> dict[str, str]:
    """Our environment, in which `python -m` finds this package wherever it lies."""
    home = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{home}:{path}" if path else home}


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once condition() holds; SandboxError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SandboxError(f"no {what} after {seconds:g} s")
        time.sleep(POLL_SECONDS)


def accepts(path: Path) -> bool:
    """Does somebody listen on this unix socket?  Its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def read_pid(pidfile: Path) -> int | None:
    """The living process that `pidfile` names, or None.

    Whoever was killed leaves its file behind, and the kernel gives its number to somebody
    else before long: only a file that is still locked is believed.
    """
    try:
        with pidfile.open("rb") as file:
            pid = int(file.read())
            return pid if alive(pid) and _locked(file.fileno()) else None
    except (FileNotFoundError, ValueError):
        return None


def _locked(descriptor: int) -> bool:
    """By fcntl(), as OVS's daemons and the agent do, or by flock(), as the slow path does."""
    if holder(descriptor):
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def alive(pid: int) -> bool:
    """Whether `pid` runs; a zombie does not, and is reaped if it is our child."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    if state == "Z":
        reap(pid)
    return state not in "ZX"


def stop(pid: int, number: signal.Signals = signal.SIGTERM, seconds: float = 30.0) -> int | None:
    """Send a signal and wait for the end of `pid`; its exit status as wait_gone() has it.

    Raises SandboxError when it stays.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        signal.pidfd_send_signal(descriptor, number)
        return wait_gone(descriptor, pid, seconds)
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)


def wait_dead(pid: int, seconds: float = 30.0) -> None:
    """Wait for `pid`, which ends by itself."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        wait_gone(descriptor, pid, seconds)
    finally:
        os.close(descriptor)


def wait_gone(descriptor: int, pid: int, seconds: float) -> int | None:
    """Wait for the end of the process that pidfd `descriptor` refers to.

    Returns its exit status, negative for a signal; None if it is not our child.
    """
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if not poller.poll(seconds * 1000):
        raise SandboxError(f"process {pid} still runs after {seconds:g} s")
    return reap(pid)


def reap(pid: int) -> int | None:
    """Collect `pid` if it is a dead child of ours; init does it otherwise."""
    try:
        waited, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if waited else None
