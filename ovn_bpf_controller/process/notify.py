# SPDX-License-Identifier: Apache-2.0
"""sd_notify(3) without libsystemd: a datagram to $NOTIFY_SOCKET.

process.main_loop tells systemd when the agent is ready, what it waits for, and
when it stops; without the variable nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time

from ovn_bpf_controller.process.log import Logger

_log = Logger("daemon")


def notify(*assignments: str) -> None:
    """Send assignments such as READY=1 or STATUS=…; a failure is logged only."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    # A leading @ stands for the NUL of an abstract socket.
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        _log.warn(f"cannot notify systemd at {path}: {error.strerror}")


class Watchdog:
    """Tells systemd that the loop goes round (WatchdogSec=, sd_watchdog_enabled(3))."""

    def __init__(self) -> None:
        """Reads the environment: without WATCHDOG_USEC for this process it does nothing."""
        pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
        limit = os.environ.get("WATCHDOG_USEC", "") if pid == str(os.getpid()) else ""
        self._period = int(limit) / 2e6 if limit.isdigit() else 0.0
        self._next = 0.0

    def run(self) -> None:
        """Sends WATCHDOG=1 when half of the limit is over."""
        if self._period and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._period
            notify("WATCHDOG=1")

    def timeout(self) -> int | None:
        """Milliseconds until run() has something to do, None when it never has."""
        if not self._period:
            return None
        return max(0, round((self._next - time.monotonic()) * 1000))
