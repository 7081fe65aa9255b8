# SPDX-License-Identifier: Apache-2.0
"""The control socket that ovn-appctl and ovn-bpf-ctl talk to (lib/unixctl.c).

process.main_loop owns the server; the agent registers its commands through the
Commands protocol.  It stands on ovs.jsonrpc and ovs.stream, not on
ovs.unixctl.server: that one omits the final newline clients rely on, dies of an
exception in a command, and its `version` ends in a number that ovn-ctl misreads.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from typing import Any, Protocol

import ovs.jsonrpc
import ovs.stream

from ovn_bpf_controller.errors import OvnBpfError, StartupError
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("unixctl")
_rate = RateLimit(5, 5)
ANY = 1 << 30
"""max_args of a command that takes any number."""


class CommandError(OvnBpfError):
    """A command cannot be carried out; the text goes to the client."""


def unsigned(text: str) -> int:
    """An argument of 32 bits; CommandError, in OVN's words, if it is none."""
    if not (text.isascii() and text.isdigit()) or int(text) > 0xFFFFFFFF:
        raise CommandError("unsigned integer required")
    return int(text)


class Request:
    """One command from a client, to be answered exactly once, now or later."""

    def __init__(self, connection: _Connection, request_id: Any, args: list[str]) -> None:
        self.args = args
        self._connection = connection
        self._id = request_id
        self.answered = False

    def reply(self, text: str = "") -> None:
        """Tell the client that it was done."""
        self._send(ovs.jsonrpc.Message.create_reply(_line(text), self._id))

    def error(self, text: str) -> None:
        """Tell the client that it failed, and why."""
        self._send(ovs.jsonrpc.Message.create_error(_line(text), self._id))

    def _send(self, message: Any) -> None:
        if not self.answered:
            self.answered = True
            self._connection.answer(message)


Handler = Callable[[Request], str | None]
"""Returns the reply, or None after it answered or kept the request to answer
later.  CommandError becomes an error reply."""


class Commands(Protocol):
    """Where the agent registers what it answers."""

    def register(
        self, name: str, usage: str, min_args: int, max_args: int, handler: Handler
    ) -> None:
        """Add a command; usage is for list-commands."""


@dataclass(frozen=True, slots=True)
class _Command:
    usage: str
    min_args: int
    max_args: int
    handler: Handler


class Registry:
    """The commands by name."""

    def __init__(self) -> None:
        self._commands: dict[str, _Command] = {}
        self.register("list-commands", "", 0, 0, lambda _request: self.listing())

    def register(
        self, name: str, usage: str, min_args: int, max_args: int, handler: Handler
    ) -> None:
        """See Commands."""
        self._commands[name] = _Command(usage, min_args, max_args, handler)

    def listing(self) -> str:
        """The text of list-commands."""
        lines = [f"  {name:<23} {self._commands[name].usage}" for name in sorted(self._commands)]
        return "\n".join(["The available commands are:", *lines])

    def dispatch(self, name: str, request: Request) -> None:
        """Answer request; whatever goes wrong costs this request only."""
        command = self._commands.get(name)
        if command is None:
            problem = (
                f'"{name}" is not a valid command (use "list-commands" to see a list of '
                "valid commands)"
            )
        elif len(request.args) < command.min_args:
            problem = f'"{name}" command requires at least {command.min_args} arguments'
        elif len(request.args) > command.max_args:
            problem = f'"{name}" command takes at most {command.max_args} arguments'
        elif not all(isinstance(arg, str) for arg in request.args):
            problem = f'"{name}" command has non-string argument'
        else:
            _carry_out(name, command, request)
            return
        request.error(problem)


def _carry_out(name: str, command: _Command, request: Request) -> None:
    try:
        reply = command.handler(request)
    except OvnBpfError as error:
        request.error(str(error))
    except Exception as error:
        # A bug in one command must not take the chassis down.
        _log.exception(f"{name}: {error}")
        request.error(f"{name}: internal error, see the log")
    else:
        if reply is not None:
            request.reply(reply)


class _Rpc(ovs.jsonrpc.Connection):  # type: ignore[misc]
    """Encodes with C's encoder: a reply may have many megabytes, and python-ovs goes
    through it character by character.  ASCII alone: what the socket does not take at
    once, python-ovs cuts off by characters for bytes."""

    def send(self, msg: Any) -> int:
        """As the parent's."""
        if not self.status:
            waits = bool(self.output)
            self.output += json.dumps(msg.to_json())
            if not waits:
                self.run()
        return int(self.status)


class _Connection:
    """One client.  It gets the next request only when the last is answered."""

    def __init__(self, stream: Any, registry: Registry) -> None:
        self._rpc = _Rpc(stream)
        self._registry = registry
        self._pending: Request | None = None

    def run(self) -> bool:
        """Serve what has arrived; False when the connection is over."""
        self._rpc.run()
        for _ in range(10):
            if self._rpc.get_status() or self._rpc.get_backlog() or self._pending:
                break
            error, message = self._rpc.recv()
            if message is None:
                return error in (0, errno.EAGAIN)
            self._process(message)
        return not self._rpc.get_status()

    def _process(self, message: Any) -> None:
        if message.type != ovs.jsonrpc.Message.T_REQUEST:
            kind = ovs.jsonrpc.Message.type_to_string(message.type)
            _rate.warn(_log, f"{self._rpc.name}: received unexpected {kind} message")
            self._rpc.error(errno.EINVAL)
            return
        _log.dbg(f"received request {message.method}{message.params}, id={message.id}")
        self._pending = Request(self, message.id, list(message.params))
        self._registry.dispatch(message.method, self._pending)

    def answer(self, message: Any) -> None:
        """Send a reply; the request that it answers is over."""
        self._pending = None
        self._rpc.send(message)

    def wait(self, poller: Any) -> None:
        """Wake poller when run() has something to do."""
        self._rpc.wait(poller)
        # While a request is open nothing is read, and a client that hung up would
        # otherwise wake the poller for ever.
        if not self._rpc.get_backlog() and not self._pending:
            self._rpc.recv_wait(poller)

    def close(self) -> None:
        if self._rpc.stream is not None:
            self._rpc.close()


class Server:
    """The listening socket and its clients."""

    def __init__(self, path: str, registry: Registry) -> None:
        """Listen on path (absolute).  Raises StartupError."""
        self.path = path
        self._registry = registry
        self._connections: list[_Connection] = []
        error, self._listener = ovs.stream.PassiveStream.open(f"punix:{path}")
        if error:
            raise StartupError(
                f"{path}: could not initialize control socket ({os.strerror(error)})"
            )
        # As lib/socket-util-unix.c: the group may talk to us.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(path, 0o770 & ~mask)

    def run(self) -> None:
        """Take new clients and serve all."""
        for _ in range(10):
            error, stream = self._listener.accept()
            if error:
                if error != errno.EAGAIN:
                    _rate.warn(_log, f"{self.path}: accept failed: {os.strerror(error)}")
                break
            self._connections.append(_Connection(stream, self._registry))
        for connection in list(self._connections):
            if not connection.run():
                connection.close()
                self._connections.remove(connection)

    def wait(self, poller: Any) -> None:
        """Wake poller when run() has something to do."""
        self._listener.wait(poller)
        for connection in self._connections:
            connection.wait(poller)

    def close(self) -> None:
        """Flush replies as far as the sockets take them, and remove the socket."""
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._listener.close()


def _line(text: str) -> str:
    """C clients print replies as they come, so they must end their line."""
    return text if not text or text.endswith("\n") else f"{text}\n"
