# SPDX-License-Identifier: Apache-2.0
"""vlog: levels per module and destination, files that read like ovn-controller's.

Every module logs through `Logger(name)` or `ovs.vlog.Vlog(name)`, which
process.log_ovs points here, so python-ovs's own messages share the file and the
sequence.  Why not ovs.vlog's output: it pads fields with blanks, counts from 0, knows
no rate limits, refuses loggers made after start, and writes a traceback as loose lines.
"""

from __future__ import annotations

import os
import time

from ovn_bpf_controller.process.log_core import DBG, EMER, ERR, INFO, WARN, core


class Logger:
    """A vlog module.  Same methods as ovs.vlog.Vlog, which is why they take text.

    thread: of ovn-controller's, whose messages these are said to be.
    """

    __slots__ = ("name", "_module", "_thread")

    def __init__(self, name: str, thread: str = "") -> None:
        self._module = core.module(name.lower())
        self.name = self._module.name
        self._thread = thread

    def log(self, level: int, message: str) -> None:
        """Log at a level given as number (EMER … DBG)."""
        if self._module.max_level >= level:
            core.log(self._module, level, message, thread=self._thread)

    def emer(self, message: str) -> None:
        """Log what ends the process."""
        self.log(EMER, message)

    def err(self, message: str) -> None:
        """Log a failure."""
        self.log(ERR, message)

    def warn(self, message: str) -> None:
        """Log what an operator should look at."""
        self.log(WARN, message)

    def info(self, message: str) -> None:
        """Log a change worth knowing."""
        self.log(INFO, message)

    def dbg(self, message: str) -> None:
        """Log for developers."""
        self.log(DBG, message)

    def exception(self, message: str) -> None:
        """Log message and the current exception's traceback at ERR, a record a line."""
        self.log(ERR, f"{message}\n{_trace()}")

    def is_enabled(self, level: int) -> bool:
        """Whether a message of level would go anywhere."""
        return self._module.max_level >= level

    def fatal_exception(self, message: str) -> None:
        """Log message and traceback at EMER, but never on the console."""
        self.fatal(f"{message}\n{_trace()}")

    def fatal(self, message: str) -> None:
        """Log at EMER, but not on the console: the caller prints it there itself."""
        core.log(self._module, EMER, message, console=False)


def _trace() -> str:
    import traceback  # seldom needed, and the slow path logs too

    return traceback.format_exc()


_log = Logger("vlog")


class RateLimit:
    """A token bucket per call site, like VLOG_RATE_LIMIT_INIT(rate, burst).

    rate: messages per minute.  burst: how many at once after a quiet time.
    """

    def __init__(self, rate: int, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled = time.monotonic()
        self._dropped = 0
        self._first_drop = self._last_drop = 0.0

    def log(self, logger: Logger, level: int, message: str) -> None:
        """Log unless the rate is exceeded; say first how many were dropped before."""
        module = core.module(logger.name)
        if module.max_level < level:
            return
        if module.rate_limited and not self._withdraw():
            return
        now = time.monotonic()
        if module.rate_limited and self._dropped:
            core.log(
                module,
                level,
                f"Dropped {self._dropped} log messages in last {now - self._first_drop:.0f} "
                f"seconds (most recently, {now - self._last_drop:.0f} seconds ago) "
                "due to excessive rate",
            )
            self._dropped = 0
        core.log(module, level, message)

    def _withdraw(self) -> bool:
        now = time.monotonic()
        earned = (now - self._filled) * self._rate / 60
        self._tokens = min(self._burst, self._tokens + earned)
        self._filled = now
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        if not self._dropped:
            self._first_drop = now
        self._last_drop = now
        self._dropped += 1
        return False

    def err(self, logger: Logger, message: str) -> None:
        """Log at ERR."""
        self.log(logger, ERR, message)

    def warn(self, logger: Logger, message: str) -> None:
        """Log at WARN."""
        self.log(logger, WARN, message)

    def info(self, logger: Logger, message: str) -> None:
        """Log at INFO."""
        self.log(logger, INFO, message)

    def dbg(self, logger: Logger, message: str) -> None:
        """Log at DBG."""
        self.log(logger, DBG, message)


def open_file(name: str) -> OSError | None:
    """Log to the file called name from now on; the error if it cannot be opened.

    Nothing happens if it is open already under this name and inode.
    """
    # The daemon changes its directory, and reopens under the same name later.
    name = os.path.abspath(name)
    try:
        # 0660 and O_APPEND as in lib/vlog.c: logrotate and several writers.
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o660)
    except OSError as error:
        _log.warn(f"failed to open {name} for logging: {error.strerror}")
        return error
    if core.file_fd >= 0 and os.path.sameopenfile(fd, core.file_fd):
        os.close(fd)
        return None
    if core.file_fd >= 0:
        _log.info("closing log file")
    with core.lock:
        close_file()
        core.file_name, core.file_fd = name, fd
    _log.info(f"opened log file {name}")
    return None


def close_file() -> None:
    """Stop writing to the log file until it is reopened."""
    with core.lock:
        if core.file_fd >= 0:
            os.close(core.file_fd)
            core.file_fd = -1


def reopen_file() -> OSError | None:
    """Open the log file again after logrotate renamed it."""
    return open_file(core.file_name) if core.file_name else None


def file_name() -> str:
    """The log file's name, or "" if --log-file was not given."""
    return core.file_name
