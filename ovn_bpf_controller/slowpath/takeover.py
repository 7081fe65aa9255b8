# SPDX-License-Identifier: Apache-2.0
"""From one slow-path process to the next: which one has the pidfile, and ends the other.

A process that knows nothing yet answers nothing, so it takes over only after the agent's
first lesson; what an earlier agent left goes on until then.  The pidfile is locked by the
process that it names, as long as that lives.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the agent has no use for it
    from ovn_bpf_controller.slowpath.knowledge import Knowledge, Teacher


def taught(teacher: Teacher, knowledge: Knowledge) -> bool:
    """Waits for the first lesson; False when the agent has gone without one."""
    poller = select.poll()
    poller.register(teacher.fd, select.POLLIN)
    while teacher.fd >= 0 and not knowledge.lesson:
        poller.poll()
        teacher.run()
    return bool(knowledge.lesson)


def succeed(pidfile: Path) -> None:
    """Ends the process that the pidfile names, and puts this one there instead.

    The lock is held until this process ends.  Raises OSError.
    """
    lock = os.open(f"{pidfile}.new", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(lock, f"{os.getpid()}\n".encode())
    end(pidfile)
    os.rename(f"{pidfile}.new", pidfile)


def end(pidfile: Path) -> None:
    """Asks the process that holds the pidfile, if there is one, to end.  Raises OSError."""
    earlier = _running(pidfile)
    if earlier:
        with suppress(ProcessLookupError):  # it has ended since we looked
            os.kill(earlier, signal.SIGTERM)


def _running(pidfile: Path) -> int:
    """The process that holds the pidfile, or 0."""
    try:
        with pidfile.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except (OSError, ValueError):
        return 0
    return 0
