# SPDX-License-Identifier: Apache-2.0
"""sd_notify(3) without libsystemd: a datagram to $NOTIFY_SOCKET.

process.main_loop tells systemd when the agent is ready, what it waits for, and
when it stops; without the variable nothing is sent.
"""

from __future__ import annotations

import os
import socket

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
