# SPDX-License-Identifier: Apache-2.0
"""vlog's message patterns (ovs-appctl(8), "vlog/set PATTERN:…").

process.log compiles a pattern once and formats every record with it.  python-ovs
has patterns too, but pads each field with blanks and counts from 0, so its files
do not read like ovn-controller's.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from functools import lru_cache

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.process.dirs import PROGRAM

_START_NS = time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Record:
    """One log message.  when_ns: wall clock; seq: per thread, from 1.  thread: whose it
    is said to be, "" for the one that runs.
    """

    module: str
    level: str
    syslog_value: int
    message: str
    when_ns: int
    seq: int
    thread: str = ""


Formatter = Callable[[Record], str]

_FIELD = re.compile(r"%(-?)(0?)(\d*)(.)(?:(?<=[cdD])\{([^}]*)\}?)?", re.DOTALL)


def compile_pattern(pattern: str) -> Formatter:
    """The function that renders a record by pattern; an unknown %x renders as x."""
    parts: list[str | Formatter] = []
    end = 0
    for match in _FIELD.finditer(pattern):
        parts.append(pattern[end : match.start()])
        parts.append(_field(*match.groups()))
        end = match.end()
    parts.append(pattern[end:].removesuffix("%"))

    def render(record: Record) -> str:
        return "".join(part if isinstance(part, str) else part(record) for part in parts)

    return render


def _field(left: str, zero: str, width: str, letter: str, braces: str | None) -> Formatter:
    get = _getter(letter, braces)
    size = int(width or 0)
    if not size:
        return get
    if left:
        return lambda record: get(record).ljust(size, "0" if zero else " ")
    return lambda record: get(record).rjust(size, "0" if zero else " ")


def _getter(letter: str, braces: str | None) -> Formatter:
    if letter in "dD":
        utc = letter == "D"
        template = "%Y-%m-%d %H:%M:%S.###" if braces is None else braces
        return lambda record: _timestamp(template, record.when_ns, utc)
    return _GETTERS.get(letter, lambda _record: letter)


def _thread(record: Record) -> str:
    if record.thread:
        return record.thread
    thread = threading.current_thread()
    return "" if thread is threading.main_thread() else thread.name


_GETTERS: dict[str, Formatter] = {
    "A": lambda _record: PROGRAM,
    "B": lambda record: str(record.syslog_value),
    "c": lambda record: record.module,
    "E": lambda _record: socket.gethostname(),
    "m": lambda record: record.message.rstrip("\n"),
    "N": lambda record: str(record.seq),
    "n": lambda _record: "\n",
    "p": lambda record: record.level,
    "P": lambda _record: str(os.getpid()),
    "r": lambda _record: str((time.monotonic_ns() - _START_NS) // 1_000_000),
    "t": lambda record: _thread(record) or "main",
    "T": lambda record: f"({_thread(record)})" if _thread(record) else "",
}


def _timestamp(template: str, when_ns: int, utc: bool) -> str:
    """strftime, with each run of # replaced by as many digits of the second."""
    text = _seconds(template, when_ns // 1_000_000_000, utc)
    if "#" not in text:
        return text
    fraction = f"{when_ns % 1_000_000_000:09d}"
    return re.sub("#+", lambda run: fraction[: len(run.group())], text)


@lru_cache(maxsize=8)
def _seconds(template: str, seconds: int, utc: bool) -> str:
    return time.strftime(template, time.gmtime(seconds) if utc else time.localtime(seconds))
