# SPDX-License-Identifier: Apache-2.0
"""The ways to hand a line to a syslog daemon (--syslog-method, --syslog-target).

process.log sends its "syslog" destination here.  Losing a line because no daemon
listens must never cost more than the line, so errors of sending end here.
"""

from __future__ import annotations

import socket
import syslog
from typing import Protocol

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.process.dirs import PROGRAM
from ovn_bpf_controller.process.log_format import Record, compile_pattern

FACILITIES = {
    "kern": 0,
    "user": 1,
    "mail": 2,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "lpr": 6,
    "news": 7,
    "uucp": 8,
    "clock": 9,
    "ftp": 11,
    "ntp": 12,
    "audit": 13,
    "alert": 14,
    "clock2": 15,
} | {f"local{n}": 16 + n for n in range(8)}
"""Facility names of vlog/set FACILITY:…, as RFC 5424 numbers them."""


class Syslogger(Protocol):
    """prefix: the pattern put before each line, for vlog/list-pattern."""

    prefix: str

    def send(self, record: Record, line: str) -> None:
        """Send line, which has no newline."""


class NullSyslogger:
    """--syslog-method=null."""

    prefix = ""

    def send(self, record: Record, line: str) -> None:
        """Throw the line away, as was asked."""


class LibcSyslogger:
    """--syslog-method=libc, the default: syslog(3)."""

    prefix = "<%B> %D{%h %e %T} %E %A:"

    def __init__(self) -> None:
        syslog.openlog(PROGRAM, syslog.LOG_NDELAY, syslog.LOG_DAEMON)

    def send(self, record: Record, line: str) -> None:
        """syslog(3) reports no errors; a NUL in the line would raise."""
        syslog.syslog(record.syslog_value, line.replace("\0", "\\0"))


class SocketSyslogger:
    """--syslog-method=unix:FILE or udp:IP:PORT: datagrams, without libc."""

    prefix = "<%B> %D{%h %e %T} %E %A:"

    def __init__(self, family: int, address: str | tuple[str, int], prefix: str = "") -> None:
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._address = address
        self.prefix = prefix or self.prefix
        self._render = compile_pattern(self.prefix)

    def send(self, record: Record, line: str) -> None:
        """One datagram; cut to what every syslog daemon takes."""
        data = f"{self._render(record)} {line}".encode("utf-8", "replace")[:8192]
        try:
            self._socket.sendto(data, self._address)
        except OSError:
            # Nobody listens, or too slowly: logging that would only come back here.
            return


def make_syslogger(method: str) -> Syslogger:
    """The sender for --syslog-method; StartupError if there is no such method."""
    kind, _, rest = method.partition(":")
    if method == "null":
        return NullSyslogger()
    if method == "libc":
        return LibcSyslogger()
    if kind == "unix" and rest:
        return SocketSyslogger(socket.AF_UNIX, rest)
    if kind == "udp" and rest:
        return SocketSyslogger(*_address(rest))
    raise StartupError(f"unsupported syslog method '{method}'")


def make_target(target: str) -> SocketSyslogger:
    """The sender for --syslog-target=HOST:PORT, in RFC 5424's form."""
    prefix = "<%B>1 %D{%Y-%m-%dT%H:%M:%S.###Z} %E %A %P %c -"
    return SocketSyslogger(*_address(target), prefix=prefix)


def _address(text: str) -> tuple[int, tuple[str, int]]:
    """HOST:PORT or [IPV6]:PORT as (family, address); the port defaults to 514."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "514"
    host = host.strip("[]")
    try:
        return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))
    except ValueError:
        raise StartupError(f"{text}: bad syslog port") from None
