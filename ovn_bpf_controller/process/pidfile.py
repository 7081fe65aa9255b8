# SPDX-License-Identifier: Apache-2.0
"""The locked pidfile, which is also what keeps a second instance away.

process.daemon takes it in the final process.  The lock is fcntl's, because
ovs-appctl and the C daemons ask for its owner with F_GETLK.  ovs.daemon can do
this too, but reports a refusal without the program's name and only as ERR.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

import ovs.fatal_signal

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.process.log import Logger

_log = Logger("daemon_unix")

# struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid, padding.
_FLOCK = struct.Struct("@hhqqi4x")


class PidFile:
    """A pidfile that this process holds; it is removed at exit or by close()."""

    def __init__(self, path: str, overwrite: bool) -> None:
        """Create and lock path with our pid in it.

        overwrite: replace a pidfile although a running process holds it.
        Raises StartupError, in lib/daemon-unix.c's words.
        """
        self.path = path
        # All instances share the temporary file: its lock decides who may look.
        tmp = f"{path}.tmp{os.getpid()}" if overwrite else f"{path}.tmp"
        self._fd = _open(tmp)
        _lock(tmp, self._fd)
        ovs.fatal_signal.add_file_to_unlink(tmp)
        if not overwrite:
            _check_already_running(path)
        try:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, f"{os.getpid()}\n".encode())
            os.rename(tmp, path)
        except OSError as error:
            raise StartupError(f"{path}: write failed ({error.strerror})") from error
        ovs.fatal_signal.remove_file_to_unlink(tmp)
        ovs.fatal_signal.add_file_to_unlink(path)

    def close(self) -> None:
        """Remove the file and give the lock up."""
        if self._fd >= 0:
            ovs.fatal_signal.unlink_file_now(self.path)
            # Last: closing any descriptor of the file ends the lock.
            os.close(self._fd)
            self._fd = -1


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StartupError(f"{path}: create failed ({error.strerror})") from error


def _lock(path: str, fd: int) -> None:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise StartupError(f"{path}: fcntl(F_SETLK) failed ({error.strerror})") from error


def _check_already_running(path: str) -> None:
    """Remove a stale pidfile; raise StartupError if a process holds it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartupError(f"{path}: pidfile check failed ({error.strerror}), aborting") from error
    try:
        pid = holder(fd)
        if pid:
            raise StartupError(f"{path}: already running as pid {pid}, aborting")
        _remove_stale(path, fd)
    except OSError as error:
        raise StartupError(f"{path}: pidfile check failed ({error.strerror}), aborting") from error
    finally:
        os.close(fd)


def holder(fd: int) -> int:
    """The pid that has the file locked, or 0."""
    query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, query))
    return 0 if kind == fcntl.F_UNLCK else pid


def _remove_stale(path: str, fd: int) -> None:
    """Unlink path, but only while we hold its lock and it is still that file."""
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    named, ours = os.stat(path), os.fstat(fd)
    if (named.st_ino, named.st_dev) != (ours.st_ino, ours.st_dev):
        raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
    os.unlink(path)
    _log.dbg(f"{path}: deleted stale pidfile")
