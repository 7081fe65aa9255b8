# SPDX-License-Identifier: Apache-2.0
"""The list of what a sandbox makes outside its directory, and its undoing.

Each line is written before the thing is made, so cleanup() after a SIGKILL at
any point misses nothing.  Processes are not listed: they are those found in the
listed namespaces, which no recycled pid can fool, and tools run on the sandbox.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.layout import Layout

_MNT_DETACH = 2
_KILL_SECONDS = 30.0
# What a killed maker was waiting for: one waits on for a database that is gone, one
# would make a namespace after the list was worked off.
_TOOLS = {"ip", "ovn-nbctl", "ovn-sbctl", "ovs-vsctl", "ovsdb-tool"}


class Manifest:
    """Append-only record in the sandbox directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, layout: Layout) -> Manifest:
        """Claim the directory.  Raises SandboxError when it is in use or not empty."""
        layout.root.mkdir(parents=True, exist_ok=True)
        if layout.manifest.exists():
            raise SandboxError(f"{layout.root}: a sandbox is already up (or was left; use down)")
        if any(layout.root.iterdir()):
            raise SandboxError(f"{layout.root}: not empty and not a sandbox")
        try:
            layout.manifest.touch(exist_ok=False)
        except FileExistsError:
            raise SandboxError(f"{layout.root}: a sandbox is just being made here") from None
        return cls(layout.manifest)

    def add_netns(self, name: str) -> None:
        self._add("netns", name)

    def add_mount(self, path: Path) -> None:
        self._add("mount", str(path))

    def _add(self, kind: str, what: str) -> None:
        with self._path.open("a") as stream:
            stream.write(f"{kind} {what}\n")

    def entries(self) -> list[tuple[str, str]]:
        """(kind, what) in order of making, without repetitions."""
        seen: dict[tuple[str, str], None] = {}
        for line in self._path.read_text().splitlines():
            kind, _, what = line.partition(" ")
            if what:
                seen[kind, what] = None
        return list(seen)


def cleanup(layout: Layout) -> bool:
    """Undo everything the manifest names, then the directory; False if there was none.

    Works beside a dead or a living `up`, and again after an interrupted cleanup.
    Raises SandboxError when a process will not die or the directory is no sandbox.
    """
    if not layout.root.exists():
        return False
    if not layout.manifest.exists():
        if any(layout.root.iterdir()):
            raise SandboxError(f"{layout.root}: not a sandbox, leaving it alone")
        layout.root.rmdir()
        return False
    entries = Manifest(layout.manifest).entries()
    names = [what for kind, what in entries if kind == "netns"]
    kill_all(lambda: _tools(layout))
    kill_all(lambda: netns.pids(names))
    for kind, what in reversed(entries):
        if kind == "mount":
            unmount(what)
    for name in names:
        netns.delete(name)
    # The manifest goes last: without it a second try would refuse the directory.
    for child in layout.root.iterdir():
        if child == layout.manifest:
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()
    layout.manifest.unlink()
    layout.root.rmdir()
    return True


def _tools(layout: Layout) -> list[int]:
    """Running command-line tools whose arguments name something of the sandbox."""
    marks = (os.fsencode(f"{layout.root}/"), layout.netns_prefix.encode())
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            command = Path(f"/proc/{entry}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        program = os.fsdecode(command.partition(b"\0")[0])
        if os.path.basename(program) in _TOOLS and any(mark in command for mark in marks):
            found.append(int(entry))
    return found


def kill_all(find: Callable[[], Iterable[int]]) -> None:
    """SIGKILL the processes that find() finds, and what they start meanwhile, until none is left.

    Raises SandboxError when one stays for 30 s.
    """
    while _kill(find):
        pass


def _kill(find: Callable[[], Iterable[int]]) -> bool:
    """One round: whether there were any."""
    pidfds: dict[int, int] = {}
    try:
        for pid in find():
            try:
                pidfds[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        # A number may have passed on to a stranger before it was held: look once more.
        theirs = [pid for pid in find() if pid in pidfds]
        for pid in theirs:
            try:
                signal.pidfd_send_signal(pidfds[pid], signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + _KILL_SECONDS
        for pid in theirs:
            process.wait_gone(pidfds[pid], pid, max(0.0, deadline - time.monotonic()))
        return bool(theirs)
    finally:
        for pidfd in pidfds.values():
            os.close(pidfd)


def mount_bpffs(path: Path) -> None:
    """Mount a BPF file system on `path`, an existing directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(path), b"bpf", 0, b"mode=0700") < 0:
        error = ctypes.get_errno()
        raise SandboxError(f"mount bpf on {path}: {os.strerror(error)}")


def unmount(path: str) -> None:
    """Unmount `path` if anything is mounted there; its pins go with it."""
    if os.path.ismount(path):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(path), _MNT_DETACH) < 0:
            error = ctypes.get_errno()
            raise SandboxError(f"umount {path}: {os.strerror(error)}")
