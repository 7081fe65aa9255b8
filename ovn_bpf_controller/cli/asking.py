# SPDX-License-Identifier: Apache-2.0
"""One control command to the running agent, and its answer.

ovn-bpf-ctl and ovn-bpf-trace ask here; the protocol is OVS's (lib/unixctl.c).  An
answer may have many megabytes (all flows of a large chassis), which python-ovs' own
client reads character by character.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable

import ovs.daemon
import ovs.dirs
import ovs.socket_util
import ovs.unixctl

from ovn_bpf_controller.errors import DatabaseError, OvnBpfError, StartupError
from ovn_bpf_controller.ovsdb.framing import Framer, dumps
from ovn_bpf_controller.process.dirs import Dirs
from ovn_bpf_controller.process.progress import Progress

_CHUNK = 1 << 20
_PATIENCE = 0.5  # seconds until somebody at a terminal wants to know more
PROGRESS = "ovn-bpf/progress"


class Refused(OvnBpfError):
    """The agent answered with an error."""


def transact(target: str, command: str, args: list[str]) -> str:
    """The agent's answer to one control command.  Raises StartupError and Refused.

    target: a control socket, or the name of a pidfile in $OVN_RUNDIR.  What takes long
    is told on a terminal meanwhile.
    """
    progress = Progress()
    ticks = _ticks(target, progress) if progress and command != PROGRESS else None
    try:
        return _transact(target, command, args, ticks)
    finally:
        progress.show("")


def _ticks(target: str, progress: Progress) -> Callable[[], None]:
    """What shows how far the agent is."""

    def tick() -> None:
        try:
            lines = transact(target, PROGRESS, []).splitlines()
        except Refused:  # an older agent
            lines = []
        progress.show(lines[0] if lines else "waiting for the agent")

    return tick


def _transact(target: str, command: str, args: list[str], tick: Callable[[], None] | None) -> str:
    ovs.dirs.RUNDIR = Dirs.from_environment(os.environ).ovn_rundir
    error, path = ovs.unixctl.socket_name_from_target(target)
    if error:
        raise StartupError(f"{path} ({os.strerror(error)}); is ovn-bpf-controller running?")
    # Its path may be longer than an address of a socket can be.
    error, connection = ovs.socket_util.make_unix_socket(socket.SOCK_STREAM, False, None, path)
    if error:
        raise StartupError(f"cannot connect to {path} ({os.strerror(error)})")
    with connection:
        try:
            reply = _ask(connection, command, args, tick)
        except (OSError, DatabaseError) as problem:
            raise StartupError(f"{path}: transaction error ({problem})") from problem
    if reply.get("error") is not None:
        raise Refused(str(reply["error"]))
    return str(reply["result"])


def _ask(
    connection: socket.socket, command: str, args: list[str], tick: Callable[[], None] | None
) -> dict[str, object]:
    """The reply.  DatabaseError for what is no JSON, ConnectionError if none comes."""
    connection.sendall(dumps({"id": 0, "method": command, "params": args}))
    framer = Framer()
    while True:
        if tick is not None and not select.select([connection], [], [], _PATIENCE)[0]:
            tick()
            continue
        data = connection.recv(_CHUNK)
        if not data:
            raise ConnectionError("the agent ended")
        framer.feed(data)
        reply = framer.next()
        if isinstance(reply, dict) and "result" in reply:
            return reply
