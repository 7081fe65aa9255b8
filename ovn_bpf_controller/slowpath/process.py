# SPDX-License-Identifier: Apache-2.0
"""The life of the slow path's process, which __main__ begins: opens what the agent
pinned, waits for its first lesson, takes over and serves.  It ends by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ovn_bpf_controller.datapath.maps import pinned
from ovn_bpf_controller.datapath.punts import Punts
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.process.child import close_others
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.slowpath import takeover
from ovn_bpf_controller.slowpath.all_duties import duties as all_duties
from ovn_bpf_controller.slowpath.knowledge import Knowledge, Teacher
from ovn_bpf_controller.slowpath.service import Service

COMM = "ovn-slowpath"
NICE = -15  # before guests, and before the agent, which ovn-ctl starts with -10


def main(argv: list[str]) -> int:
    """Serves until SIGTERM; returns the exit status.  argv: see __main__."""
    plane, programs, number, pidfile = Path(argv[0]), Path(argv[1]), int(argv[2]), Path(argv[3])
    close_others(number)
    _introduce()
    _hurry()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal, for the agent
    try:
        # Opened anew, not inherited: the kernel forgets our rings with these files.
        maps = {
            name: pinned(plane / "maps" / name)
            for name in ("ovn_punts", "ovn_resume_ctl", "ovn_macs")
        }
        resume = pinned(programs / "ovn_resume")
        duties = all_duties(maps)
        hears = {name: parse for duty in duties for name, parse in duty.hears().items()}
        knowledge = Knowledge(hears=hears)
        teacher = Teacher(number, knowledge)
        if not takeover.taught(teacher, knowledge):
            return 0
        wake, stopping = _stop_by_signal()
        punts = Punts(maps, resume, plane)
        takeover.succeed(pidfile)
    except (OvnBpfError, OSError, ValueError) as error:
        sys.stderr.write(f"ovn-slowpath: {error}\n")
        return 1
    Service(punts, teacher, knowledge, duties).run(stopping, wake)
    return 0


def _stop_by_signal() -> tuple[int, Callable[[], bool]]:
    """From here on SIGTERM ends what has begun: a descriptor that becomes readable then,
    and whether it has come."""
    come = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal come
        come = True

    wake, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, stop)
    return wake, lambda: come


def _introduce() -> None:
    """By the name that ps shows; not process.identity's way, which loads ctypes."""
    try:
        Path("/proc/self/comm").write_text(COMM)
    except OSError as error:
        Logger("slowpath").dbg(f"no name of its own: {error}")


def _hurry() -> None:
    """Somebody waits for each answer, and none takes long; not allowed, it goes on."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    except PermissionError as error:
        Logger("slowpath").dbg(f"no priority over others: {error}")
