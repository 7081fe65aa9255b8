# SPDX-License-Identifier: Apache-2.0
"""--detach, --monitor, --user and --pidfile (lib/daemon-unix.c).

cli.controller calls start() before it makes the agent and complete() when the
agent is ready; start() returns in the daemon alone.  Not ovs.daemon: its parent
exits with 0 when the child was killed before it was ready, its monitor keeps a
rotated log open and prints to the terminal, and it has no --user.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time

import ovs.fatal_signal
import ovs.timeval

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.process import log
from ovn_bpf_controller.process.dirs import PROGRAM
from ovn_bpf_controller.process.identity import become, find_user, set_comm
from ovn_bpf_controller.process.options import DaemonOptions
from ovn_bpf_controller.process.pidfile import PidFile

_log = log.Logger("daemon_unix")

# daemon.man documents this list; anything else ends the monitor too.
_CRASHES = {
    signal.SIGABRT,
    signal.SIGALRM,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGPIPE,
    signal.SIGSEGV,
    signal.SIGXCPU,
    signal.SIGXFSZ,
}

_RESTART_INTERVAL = 10.0  # Seconds between restarts of a daemon that crashes.


class Daemon:
    """The life of the process up to its main loop, and its end."""

    def __init__(self, options: DaemonOptions) -> None:
        self._options = options
        self._ready_fd = -1
        self._completed = False
        self._pidfile: PidFile | None = None

    def start(self) -> None:
        """Change user, fork as asked, take the pidfile; return in the daemon.

        The parents leave by SystemExit: 0 when the daemon has called complete(),
        the daemon's own status if it exited before, 1 if it was killed.
        Raises StartupError.
        """
        if self._options.user:
            user = find_user(self._options.user)
            if log.file_name():
                os.chown(log.file_name(), user.uid, user.gid)
            become(user)
        if self._options.detach:
            pid = self._fork("could not detach from foreground session")
            if pid:
                sys.exit(0)
            os.setsid()
        if self._options.monitor:
            notify, self._ready_fd = self._ready_fd, -1
            pid = self._fork("could not initiate process monitoring")
            if pid:
                _notify(notify)
                if self._options.detach:
                    _close_standard_fds()
                self._monitor(pid)
            elif notify >= 0:
                os.close(notify)
        set_comm(PROGRAM)
        if self._options.pidfile:
            self._pidfile = PidFile(self._options.pidfile, self._options.overwrite_pidfile)

    def complete(self) -> None:
        """Tell the waiting parent that we are ready and leave its terminal."""
        if self._completed:
            return
        self._completed = True
        _notify(self._ready_fd)
        self._ready_fd = -1
        if self._options.detach:
            if self._options.chdir:
                os.chdir("/")
            _close_standard_fds()

    def close(self) -> None:
        """Remove the pidfile."""
        if self._pidfile:
            self._pidfile.close()

    def _fork(self, failure: str) -> int:
        """Fork.  In the child 0; in the parent, once the child is ready, its pid."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            if self._ready_fd >= 0:
                os.close(self._ready_fd)
            self._ready_fd = writer
            ovs.timeval.postfork()
            return 0
        os.close(writer)
        # What is registered for removal at exit now belongs to the child.
        ovs.fatal_signal.fork()
        ready = os.read(reader, 1)
        os.close(reader)
        if not ready:
            _, status = os.waitpid(pid, 0)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status):
                sys.exit(os.WEXITSTATUS(status))
            _log.err(f"fork child died before signaling startup ({_describe(status)})")
            raise StartupError(failure)
        return pid

    def _monitor(self, pid: int) -> None:
        """Wait for the daemon; start it again if it crashed.  Returns in a new one."""
        set_comm("monitor")
        last_restart = 0.0
        crashes = 0
        while True:
            name = log.file_name()
            # logrotate talks to the daemon only: do not hold a rotated file open.
            log.close_file()
            _, status = os.waitpid(pid, 0)
            if name:
                log.open_file(name)
            if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) in _CRASHES):
                _log.info(f"pid {pid} died, {_describe(status)}, exiting")
                sys.exit(0)
            crashes += 1
            if os.WCOREDUMP(status):
                # One core tells enough; more would fill the disk.
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            told = f"{crashes} crashes: pid {pid} died, {_describe(status)}"
            _throttle(last_restart, told)
            last_restart = time.monotonic()
            _log.err(f"{told}, restarting")
            pid = self._fork("could not restart the daemon")
            if not pid:
                return


def _throttle(last_restart: float, told: str) -> None:
    wait = last_restart + _RESTART_INTERVAL - time.monotonic()
    if last_restart and wait > 0:
        _log.warn(f"{told}, waiting until 10 seconds since last restart")
        time.sleep(wait)


def _notify(fd: int) -> None:
    """Say "ready" on a pipe from _fork(), if there is one."""
    if fd >= 0:
        try:
            os.write(fd, b"\0")
        except BrokenPipeError:
            _log.warn("the parent went away before startup was complete")
        os.close(fd)


def _describe(status: int) -> str:
    """A wait(2) status in words, as lib/process.c puts it."""
    core = ", core dumped" if os.WCOREDUMP(status) else ""
    if os.WIFEXITED(status):
        return f"exit status {os.WEXITSTATUS(status)}"
    return f"killed ({signal.strsignal(os.WTERMSIG(status))}){core}"


def _close_standard_fds() -> None:
    """Let go of the terminal or ssh session that started us."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    if null > 2:
        os.close(null)
