# SPDX-License-Identifier: Apache-2.0
"""The state of logging and the way of a message to its destinations.

process.log gives it a face, process.log_control the operator's commands.  One
object for the process: vlog is global in the C daemons too.
"""

from __future__ import annotations

import os
import threading
import time

from ovn_bpf_controller.process.log_format import Record, compile_pattern
from ovn_bpf_controller.process.log_modules import ALIASES, KNOWN
from ovn_bpf_controller.process.log_syslog import SocketSyslogger, Syslogger, make_syslogger

LEVELS = ("OFF", "EMER", "ERR", "WARN", "INFO", "DBG")
DESTINATIONS = ("SYSLOG", "CONSOLE", "FILE")
OFF, EMER, ERR, WARN, INFO, DBG = range(6)
SYSLOG_PRIORITY = (1, 1, 3, 4, 5, 7)
SYSLOG, CONSOLE, FILE = range(3)
DEFAULT_PATTERNS = (
    "ovs|%05N|%c%T|%p|%m",
    "%D{%Y-%m-%dT%H:%M:%SZ}|%05N|%c%T|%p|%m",
    "%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m",
)


class Module:
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


class Core:
    """The state of logging, one for the process."""

    def __init__(self) -> None:
        self.default_levels = [INFO, INFO, INFO]
        self.modules = {name: Module(name, [INFO] * 3) for name in KNOWN}
        self.patterns = list(DEFAULT_PATTERNS)
        self.render = [compile_pattern(pattern) for pattern in self.patterns]
        self.syslogger: Syslogger | None = None
        self.target: SocketSyslogger | None = None
        self.facility = 3
        self.file_name = ""
        self.file_fd = -1
        self.lock = threading.RLock()
        self.local = threading.local()
        self.numbers: dict[str, int] = {}

    def module(self, name: str) -> Module:
        name = ALIASES.get(name, name)
        module = self.modules.get(name)
        if module is None:
            module = self.modules[name] = Module(name, list(self.default_levels))
        return module

    def log(
        self, module: Module, level: int, message: str, console: bool = True, thread: str = ""
    ) -> None:
        """Write message to the destinations that want it; console False: not there.

        thread: the one that it is said to be of; the caller's if "".

        Each of its lines becomes a record: what a database or the verifier said can
        neither break nor forge the lines of a log that others parse.
        """
        if len(lines := message.splitlines()) > 1:
            for line in filter(str.strip, lines):
                self.log(module, level, line, console, thread)
            return
        to_syslog = module.levels[SYSLOG] >= level
        to_console = console and module.levels[CONSOLE] >= level
        to_file = module.levels[FILE] >= level and self.file_fd >= 0
        if not (to_syslog or to_console or to_file):
            return
        seq = self._next(thread)
        value = self.facility * 8 + SYSLOG_PRIORITY[level]
        record = Record(module.name, LEVELS[level], value, message, time.time_ns(), seq, thread)
        with self.lock:
            if to_console:
                _write(2, self.render[CONSOLE](record))
            if to_syslog:
                self._to_syslog(record)
            if to_file and self.file_fd >= 0:
                _write(self.file_fd, self.render[FILE](record))

    def _next(self, thread: str) -> int:
        """Each thread's messages are numbered by themselves."""
        if thread:
            self.numbers[thread] = self.numbers.get(thread, 0) + 1
            return self.numbers[thread]
        self.local.seq = getattr(self.local, "seq", 0) + 1
        return int(self.local.seq)

    def _to_syslog(self, record: Record) -> None:
        if self.syslogger is None:
            self.syslogger = make_syslogger("libc")
        for line in self.render[SYSLOG](record).splitlines():
            self.syslogger.send(record, line)
        if self.target:
            self.target.send(record, f"\ufeff{record.message}")


def _write(fd: int, line: str) -> None:
    try:
        os.write(fd, f"{line}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        # A full disk or a closed terminal: there is nowhere left to say so.
        return


core = Core()
