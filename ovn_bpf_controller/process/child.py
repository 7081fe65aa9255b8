# SPDX-License-Identifier: Apache-2.0
"""A process that the agent starts: the slow path (slowpath.supervisor).

What subprocess.Popen does of it, without its imports, which are a fiftieth of all of
ours: the agent asks for no pipes and no text.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping
from contextlib import suppress


class Child:
    """One process, a session of its own, that reads nothing."""

    def __init__(self, command: list[str], env: Mapping[str, str], fd: int) -> None:
        """command: the path of a program, and its arguments.  fd: inherited, beside the
        standard ones; what else is inheritable the program is to close (close_others).

        Raises OSError.
        """
        os.set_inheritable(fd, True)
        nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        self.pid = os.posix_spawn(command[0], command, env, file_actions=[nothing], setsid=True)
        self._status: int | None = None

    def ended(self) -> int | None:
        """None while it runs, then its exit status, or the number of the signal that
        ended it, negative."""
        if self._status is None:
            self._reap(os.WNOHANG)
        return self._status

    def end(self, patience: float) -> None:
        """Asks it to end, makes it end after so many seconds, and waits."""
        if self.ended() is not None:
            return
        with suppress(ProcessLookupError):  # it has ended since
            handle = os.pidfd_open(self.pid)
            try:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                poller = select.poll()
                poller.register(handle, select.POLLIN)
                if not poller.poll(patience * 1000):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
        self._reap(0)

    def _reap(self, options: int) -> None:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            # Who started us ignores SIGCHLD, and so do we: nobody knows how it ended.
            self._status = 0
            return
        if pid:
            self._status = os.waitstatus_to_exitcode(status)


def close_others(fd: int) -> None:
    """In the process: all but the standard descriptors and `fd`, before it opens any."""
    os.closerange(3, fd)
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
