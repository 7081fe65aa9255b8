# SPDX-License-Identifier: Apache-2.0
"""One control command to the running agent, and its answer.

ovn-bpf-ctl and ovn-bpf-trace ask here; the protocol is OVS's (lib/unixctl.c).  An
answer may have many megabytes (all flows of a large chassis), which python-ovs' own
client reads character by character.
"""

from __future__ import annotations

import os
import socket

import ovs.daemon
import ovs.dirs
import ovs.socket_util
import ovs.unixctl

from ovn_bpf_controller.errors import DatabaseError, OvnBpfError, StartupError
from ovn_bpf_controller.ovsdb.framing import Framer, dumps
from ovn_bpf_controller.process.dirs import Dirs

_CHUNK = 1 << 20


class Refused(OvnBpfError):
    """The agent answered with an error."""


def transact(target: str, command: str, args: list[str]) -> str:
    """The agent's answer to one control command.  Raises StartupError and Refused.

    target: a control socket, or the name of a pidfile in $OVN_RUNDIR.
    """
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
            reply = _ask(connection, command, args)
        except (OSError, DatabaseError) as problem:
            raise StartupError(f"{path}: transaction error ({problem})") from problem
    if reply.get("error") is not None:
        raise Refused(str(reply["error"]))
    return str(reply["result"])


def _ask(connection: socket.socket, command: str, args: list[str]) -> dict[str, object]:
    """The reply.  DatabaseError for what is no JSON, ConnectionError if none comes."""
    connection.sendall(dumps({"id": 0, "method": command, "params": args}))
    framer = Framer()
    while data := connection.recv(_CHUNK):
        framer.feed(data)
        reply = framer.next()
        if isinstance(reply, dict) and "result" in reply:
            return reply
    raise ConnectionError("the agent ended")
