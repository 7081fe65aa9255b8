# SPDX-License-Identifier: Apache-2.0
"""vlog: levels per module and destination, files that read like ovn-controller's.

Every module logs through `Logger(name)` or `ovs.vlog.Vlog(name)`, which install()
points here, so python-ovs's own messages share the file and the sequence.  Why
not ovs.vlog's output: it pads fields with blanks, counts from 0, knows no rate
limits, refuses loggers made after start, and writes a traceback as loose lines.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import ovs.vlog

from ovn_bpf_controller.process.log_format import Record, compile_pattern
from ovn_bpf_controller.process.log_modules import ALIASES, KNOWN
from ovn_bpf_controller.process.log_syslog import (
    FACILITIES,
    SocketSyslogger,
    Syslogger,
    make_syslogger,
    make_target,
)

LEVELS = ("OFF", "EMER", "ERR", "WARN", "INFO", "DBG")
DESTINATIONS = ("SYSLOG", "CONSOLE", "FILE")
OFF, EMER, ERR, WARN, INFO, DBG = range(6)
_SYSLOG_PRIORITY = (1, 1, 3, 4, 5, 7)
_SYSLOG, _CONSOLE, _FILE = range(3)
_DEFAULT_PATTERNS = (
    "ovs|%05N|%c%T|%p|%m",
    "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m",
    "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m",
)


class _Module:
    """What one module logs where."""

    __slots__ = ("name", "levels", "max_level", "rate_limited")

    def __init__(self, name: str, levels: list[int]) -> None:
        self.name = name
        self.levels = levels
        self.max_level = max(levels)
        self.rate_limited = True

    def set_level(self, destination: int, level: int) -> None:
        self.levels[destination] = level
        self.max_level = max(self.levels)


class _Core:
    """The state of logging, one for the process."""

    def __init__(self) -> None:
        self.default_levels = [INFO, INFO, INFO]
        self.modules = {name: _Module(name, [INFO] * 3) for name in KNOWN}
        self.patterns = list(_DEFAULT_PATTERNS)
        self.render = [compile_pattern(pattern) for pattern in self.patterns]
        self.syslogger: Syslogger | None = None
        self.target: SocketSyslogger | None = None
        self.facility = 3
        self.file_name = ""
        self.file_fd = -1
        self.lock = threading.RLock()
        self.local = threading.local()

    def module(self, name: str) -> _Module:
        name = ALIASES.get(name, name)
        module = self.modules.get(name)
        if module is None:
            module = self.modules[name] = _Module(name, list(self.default_levels))
        return module

    def log(self, module: _Module, level: int, message: str, console: bool = True) -> None:
        """Write message to the destinations that want it; console False: not there."""
        to_syslog = module.levels[_SYSLOG] >= level
        to_console = console and module.levels[_CONSOLE] >= level
        to_file = module.levels[_FILE] >= level and self.file_fd >= 0
        if not (to_syslog or to_console or to_file):
            return
        self.local.seq = getattr(self.local, "seq", 0) + 1
        value = self.facility * 8 + _SYSLOG_PRIORITY[level]
        record = Record(module.name, LEVELS[level], value, message, time.time_ns(), self.local.seq)
        with self.lock:
            if to_console:
                _write(2, self.render[_CONSOLE](record))
            if to_syslog:
                self._to_syslog(record)
            if to_file and self.file_fd >= 0:
                _write(self.file_fd, self.render[_FILE](record))

    def _to_syslog(self, record: Record) -> None:
        if self.syslogger is None:
            self.syslogger = make_syslogger(os.environ.get("OVS_SYSLOG_METHOD") or "libc")
        for line in self.render[_SYSLOG](record).splitlines():
            self.syslogger.send(record, line)
        if self.target:
            self.target.send(record, f"\ufeff{record.message}")


def _write(fd: int, line: str) -> None:
    try:
        os.write(fd, f"{line}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        # A full disk or a closed terminal: there is nowhere left to say so.
        return


_core = _Core()


class Logger:
    """A vlog module.  Same methods as ovs.vlog.Vlog, which is why they take text."""

    __slots__ = ("name", "_module")

    def __init__(self, name: str) -> None:
        self._module = _core.module(name.lower())
        self.name = self._module.name

    def log(self, level: int, message: str) -> None:
        """Log at a level given as number (EMER … DBG)."""
        if self._module.max_level >= level:
            _core.log(self._module, level, message)

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
        for line in [message, *_traceback_lines()]:
            self.log(ERR, line)

    def is_enabled(self, level: int) -> bool:
        """Whether a message of level would go anywhere."""
        return self._module.max_level >= level

    def fatal_exception(self, message: str) -> None:
        """Log message and traceback at EMER, but never on the console."""
        for line in [message, *_traceback_lines()]:
            _core.log(self._module, EMER, line, console=False)

    def fatal(self, message: str) -> None:
        """Log at EMER, but not on the console: the caller prints it there itself."""
        _core.log(self._module, EMER, message, console=False)


def _traceback_lines() -> Iterator[str]:
    for text in traceback.format_exc().splitlines():
        if text.strip():
            yield text


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
        module = _core.module(logger.name)
        if module.max_level < level:
            return
        if module.rate_limited and not self._withdraw():
            return
        now = time.monotonic()
        if module.rate_limited and self._dropped:
            _core.log(
                module,
                level,
                f"Dropped {self._dropped} log messages in last {now - self._first_drop:.0f} "
                f"seconds (most recently, {now - self._last_drop:.0f} seconds ago) "
                "due to excessive rate",
            )
            self._dropped = 0
        _core.log(module, level, message)

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


_jsonrpc_rate = RateLimit(5, 5)


def _log_for_ovs(vlog: Logger, level: int, message: str, kwargs: dict[str, object]) -> None:
    """What ovs.vlog.Vlog's methods do, with two levels and limits as the C library has them."""
    module = _core.module(vlog.name)
    if module.name == "reconnect" and level == WARN and " attempt failed (" in message:
        # Waiting for a database is nothing to warn of, and OVN's tests fail on warnings.
        level = INFO
    if module.max_level < level:
        return
    if module.name == "jsonrpc" and level == WARN:
        _jsonrpc_rate.warn(vlog, message)
        return
    _core.log(module, level, message)
    for line in _traceback_lines() if kwargs.get("exc_info") else ():
        _core.log(module, level, line)


def install() -> None:
    """Send everything logged through ovs.vlog.Vlog here; may be called again."""

    def logging_method(level: int) -> Callable[..., None]:
        return lambda vlog, message, **kwargs: _log_for_ovs(vlog, level, str(message), kwargs)

    def enabled_method(level: int) -> Callable[[Logger], bool]:
        return lambda vlog: _core.module(vlog.name).max_level >= level

    def init(vlog: Logger, name: str) -> None:
        vlog.name = _core.module(name.lower()).name

    for level, name in enumerate(LEVELS):
        if level != OFF:
            setattr(ovs.vlog.Vlog, name.lower(), logging_method(level))
            setattr(ovs.vlog.Vlog, f"{name.lower()}_is_enabled", enabled_method(level))
    ovs.vlog.Vlog.__init__ = init


def set_levels(spec: str | None) -> str:
    """Apply a -v or vlog/set argument; None means everything at dbg.

    Returns "" or what is wrong with it, in vlog's words.
    """
    words = (spec or "").replace(",", " ").replace(":", " ").replace("\t", " ").split()
    if words and words[0].upper() == "PATTERN":
        return _set_pattern(spec or "", words)
    if words and words[0].upper() == "FACILITY":
        return _set_facility((spec or "")[len("FACILITY") + 1 :])
    module, destination, level = None, None, None
    for word in words:
        upper, lower = word.upper(), word.lower()
        if upper == "ANY":
            continue
        if upper in DESTINATIONS:
            if destination is not None:
                return "cannot specify multiple destinations"
            destination = DESTINATIONS.index(upper)
        elif upper in LEVELS:
            if level is not None:
                return "cannot specify multiple levels"
            level = LEVELS.index(upper)
        elif lower in _core.modules:
            if module is not None:
                return "cannot specify multiple modules"
            module = _core.modules[lower]
        else:
            return f'no destination, level, or module "{word}"'
    _set_level(module, destination, DBG if level is None else level)
    return ""


def _set_level(module: _Module | None, destination: int | None, level: int) -> None:
    for wanted in range(3) if destination is None else [destination]:
        if module is None:
            _core.default_levels[wanted] = level
        for each in [module] if module else _core.modules.values():
            each.set_level(wanted, level)


def _set_pattern(spec: str, words: list[str]) -> str:
    if len(words) < 2:
        return "missing destination"
    name = words[1].upper()
    if name not in (*DESTINATIONS, "ANY"):
        return f'unknown destination "{words[1]}"'
    # The pattern is the rest as it stands, after one separator.
    pattern = spec[spec.index(words[1], len("PATTERN")) + len(words[1]) + 1 :]
    for index, destination in enumerate(DESTINATIONS):
        if name in (destination, "ANY"):
            _core.patterns[index] = pattern or _DEFAULT_PATTERNS[index]
            _core.render[index] = compile_pattern(_core.patterns[index])
    return ""


def _set_facility(name: str) -> str:
    if name.lower() not in FACILITIES:
        return "invalid facility"
    _core.facility = FACILITIES[name.lower()]
    return ""


def set_syslog_method(method: str) -> None:
    """--syslog-method; only the first counts.  Raises StartupError."""
    syslogger = make_syslogger(method)
    if _core.syslogger is None:
        _core.syslogger = syslogger


def set_syslog_target(target: str) -> None:
    """--syslog-target.  Raises StartupError."""
    _core.target = make_target(target)


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
    if _core.file_fd >= 0 and os.path.sameopenfile(fd, _core.file_fd):
        os.close(fd)
        return None
    if _core.file_fd >= 0:
        _log.info("closing log file")
    with _core.lock:
        close_file()
        _core.file_name, _core.file_fd = name, fd
    _log.info(f"opened log file {name}")
    return None


def close_file() -> None:
    """Stop writing to the log file until it is reopened."""
    with _core.lock:
        if _core.file_fd >= 0:
            os.close(_core.file_fd)
            _core.file_fd = -1


def reopen_file() -> OSError | None:
    """Open the log file again after logrotate renamed it."""
    return open_file(_core.file_name) if _core.file_name else None


def file_name() -> str:
    """The log file's name, or "" if --log-file was not given."""
    return _core.file_name


def set_rate_limits(names: list[str], enable: bool) -> str:
    """Honour or ignore rate limits of modules (all if none named); "" or an error."""
    for name in names or ["any"]:
        if name.lower() == "any":
            for module in _core.modules.values():
                module.rate_limited = enable
        elif name.lower() in _core.modules:
            _core.modules[name.lower()].rate_limited = enable
        else:
            return "unknown module"
    return ""


def list_levels() -> str:
    """The text of vlog/list."""
    lines = [
        "                 console    syslog    file",
        "                 -------    ------    ------",
    ]
    for name, module in sorted(_core.modules.items()):
        syslog, console, file = (LEVELS[level] for level in module.levels)
        limits = "" if module.rate_limited else "    (rate limiting disabled)"
        lines.append(f"{name:<16}  {console:>4}       {syslog:>4}       {file:>4}{limits}")
    return "\n".join(lines)


def list_patterns() -> str:
    """The text of vlog/list-pattern."""
    lines = [
        "         prefix                            format",
        "         ------                            ------",
    ]
    for index, destination in enumerate(DESTINATIONS):
        prefix = "none"
        if index == _SYSLOG and _core.syslogger:
            prefix = _core.syslogger.prefix
        lines.append(f"{destination:<7}  {prefix:<32}  {_core.patterns[index]}")
    return "\n".join(lines)
