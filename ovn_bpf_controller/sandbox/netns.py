# SPDX-License-Identifier: Apache-2.0
"""Named network namespaces: make, enter, list their processes, delete.

The sandbox uses iproute2 rather than netlink of its own, so that what it does
can be repeated at a prompt, and `ip netns exec` sees what it made.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovn_bpf_controller.errors import SandboxError

_RUN = Path("/run/netns")
_CLONE_NEWNET = 0x40000000

# `ip netns exec` gives the command a mount namespace with a fresh /sys; the
# bpffs of the chassis goes where every BPF tool looks for it.
_BIND_BPFFS = 'mount --bind "$0" /sys/fs/bpf && exec "$@"'


def run(argv: Sequence[str], text: str | None = None) -> str:
    """Standard output of `argv`; SandboxError with its complaint when it fails."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complaint = (done.stderr or done.stdout).strip().replace("\n", "; ")
        raise SandboxError(f"{' '.join(argv[:6])}: {complaint or f'exit {done.returncode}'}")
    return done.stdout


def add(name: str) -> None:
    """Make namespace `name` with loopback up and no address autoconfiguration."""
    run(["ip", "netns", "add", name])
    with entered(name):  # /proc/sys/net shows the namespace of the reading thread
        for scope in ("all", "default"):
            for key in ("accept_dad", "accept_ra", "dad_transmits"):
                _write_sysctl(Path(f"/proc/sys/net/ipv6/conf/{scope}/{key}"), "0")
    ip(name, "link set lo up")


def _write_sysctl(path: Path, value: str) -> None:
    if path.exists():
        path.write_text(value)


def delete(name: str) -> None:
    """Remove `name`; no error when it is not there."""
    if (_RUN / name).exists():
        run(["ip", "netns", "del", name])


def exists(name: str) -> bool:
    return (_RUN / name).exists()


def ip(name: str, *commands: str) -> None:
    """Run iproute2 commands ("link set lo up", …) in `name`, stopping at the first error."""
    run(["ip", "-n", name, "-batch", "-"], "\n".join(commands) + "\n")


def argv(name: str, command: Sequence[str], bpffs: Path | None = None) -> list[str]:
    """What runs `command` in `name` (as the same process), with `bpffs` at /sys/fs/bpf."""
    enter = ["ip", "netns", "exec", name]
    if bpffs is not None:
        enter += ["sh", "-c", _BIND_BPFFS, str(bpffs)]
    return [*enter, *command]


def pids(names: Iterable[str]) -> list[int]:
    """Processes whose network namespace is one of `names`."""
    wanted = set()
    for name in names:
        try:
            status = os.stat(_RUN / name)
        except FileNotFoundError:
            continue
        wanted.add((status.st_dev, status.st_ino))
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            status = os.stat(f"/proc/{entry}/ns/net")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # ended meanwhile, or outside our container: not the sandbox's
        if (status.st_dev, status.st_ino) in wanted:
            found.append(int(entry))
    return found


@contextmanager
def entered(name: str) -> Iterator[None]:
    """This thread is in namespace `name` inside the block; sockets made there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(_RUN / name, os.O_RDONLY)
        try:
            _setns(libc, there, name)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(libc, home, "home")
    finally:
        os.close(home)


def _setns(libc: ctypes.CDLL, descriptor: int, name: str) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET) < 0:
        error = ctypes.get_errno()
        raise SandboxError(f"cannot enter network namespace {name}: {os.strerror(error)}")
