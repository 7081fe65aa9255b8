# SPDX-License-Identifier: Apache-2.0
"""A JSON-RPC session that reconnects, with our own framing and parsing.

The Southbound cache runs one.  Back-off and probes are python-ovs' Reconnect,
sockets its Stream and our own (remote.py, tls.py); ovs.jsonrpc.Session cannot be used
because its parser is what makes python-ovs too slow for a Southbound.
"""

from __future__ import annotations

import errno
import random
import ssl
from collections.abc import Sequence
from typing import Any, Final

import ovs.poller
import ovs.reconnect
import ovs.stream
import ovs.timeval
import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb import framing
from ovn_bpf_controller.ovsdb.remote import open_stream, parse

vlog = ovs.vlog.Vlog("ovsdb_session")

Message = dict[str, Any]

#: Bytes asked of a socket at once, and taken in by one run().
CHUNK: Final = 1 << 20
RUN_BYTES: Final = 16 << 20
#: Milliseconds.
DEFAULT_PROBE: Final = 5000
PATIENT_PROBE: Final = 60_000


def _is_valid(remote: str) -> bool:
    try:
        parse(remote)
    except DatabaseError as error:
        vlog.warn(str(error))
        return False
    return True


class Session:
    """One connection at a time to any of several remotes, in shuffled order.

    remotes: connection methods, see remote.py.
    probe_interval: milliseconds, 0 for none; never used on unix: sockets.
    epoch changes whenever a connection is made or lost: the owner compares it
    with the value it saw to know that requests before it have no answer.
    """

    def __init__(
        self,
        remotes: Sequence[str],
        probe_interval: int = DEFAULT_PROBE,
        limit: int = framing.MAX_MESSAGE,
    ) -> None:
        self.epoch = 0
        self.connected = False
        self.has_ever_connected = False
        self.last_error = ""
        self._limit = limit
        self._probe_interval = probe_interval
        self._patient = False
        self._stream: Any = None
        self._framer = framing.Framer(limit)
        self._output = bytearray()
        self._more = False
        self._dropping = False
        self._fsm = ovs.reconnect.Reconnect(ovs.timeval.msec())
        self._remotes: list[str] = []
        self._requested: list[str] = []
        self._next = 0
        self.set_remotes(remotes)

    # --- configuration ---

    @property
    def remote(self) -> str:
        """The remote that is connected or tried."""
        return str(self._fsm.get_name())

    def set_remotes(self, remotes: Sequence[str]) -> None:
        """Use these from now on; a connection to one that stays is kept.

        A malformed one is logged and left out: it may have been configured by hand.
        """
        if sorted(remotes) == self._requested:
            return
        self._requested = sorted(remotes)
        self._remotes = [remote for remote in remotes if _is_valid(remote)]
        kept = self.remote if self._stream is not None and self.remote in remotes else ""
        random.shuffle(self._remotes)
        self._next = 0
        now = ovs.timeval.msec()
        if not self._remotes:
            self._disconnect()
            self._fsm.disable(now)
            return
        self._fsm.set_backoff_free_tries(len(self._remotes))
        if not kept:
            if self._stream is not None:
                self.force_reconnect(backoff=False)
            else:
                self._pick()
        self._fsm.enable(now)

    def set_probe_interval(self, interval: int) -> None:
        """Milliseconds; 0 turns probes off, less than a second counts as one."""
        self._probe_interval = interval
        self._apply_probe()

    def set_patient(self, patient: bool) -> None:
        """Whether the server is at something long, such as writing its whole contents.

        It answers nothing meanwhile, and a probe of 5 s would end what can only start
        again: a large database would never be loaded over TCP.
        """
        self._patient = patient
        self._apply_probe()

    def _apply_probe(self) -> None:
        interval = 0 if self.remote.startswith("unix:") else self._probe_interval
        if interval and self._patient:
            interval = max(interval, PATIENT_PROBE)
        self._fsm.set_probe_interval(interval)

    def _pick(self) -> None:
        if self._remotes:
            self._fsm.set_name(self._remotes[self._next % len(self._remotes)])
            self._next += 1
            self._apply_probe()

    # --- life ---

    def force_reconnect(self, backoff: bool = True) -> None:
        """Drop the connection and try the next remote; backoff=False: without delay."""
        if not backoff:
            self._fsm.set_backoff_free_tries(len(self._remotes) + 1)
        # Activity would put the state machine back to "active", and the connection
        # would stay: until it is dropped, nothing is read from it nor finished.
        self._dropping = self._stream is not None
        self._fsm.force_reconnect(ovs.timeval.msec())

    def fail(self, reason: str) -> None:
        """Drop the connection because the peer sent nonsense; tried again with back-off."""
        if self._stream is None:
            return
        if reason != self.last_error:
            vlog.warn(f"{self.remote}: {reason}")
        else:
            vlog.dbg(f"{self.remote}: {reason}")
        self.last_error = reason
        self._fsm.disconnected(ovs.timeval.msec(), errno.EPROTO)
        self._disconnect()

    def close(self) -> None:
        """Close for good."""
        self._disconnect()
        self._fsm.disable(ovs.timeval.msec())

    def run(self) -> list[Message]:
        """Advance, without blocking; returns what the server sent, echo left out.

        The messages belong to the epoch before the call.
        """
        messages: list[Message] = []
        if not self._dropping:
            messages = self._receive() if self.connected else []
            if self._stream is not None and not self.connected:
                self._finish_connect()
            if self._output:
                self._flush_backlog()
        action = self._fsm.run(ovs.timeval.msec())
        if action == ovs.reconnect.CONNECT:
            self._connect()
        elif action == ovs.reconnect.DISCONNECT:
            self._fsm.disconnected(ovs.timeval.msec(), 0)
            self._disconnect()
        elif action == ovs.reconnect.PROBE:
            self.send({"id": "echo", "method": "echo", "params": []})
        return messages

    def wait(self, poller: ovs.poller.Poller) -> None:
        """Have the poller wake when run() has something to do."""
        if self._stream is not None:
            if not self.connected:
                self._stream.connect_wait(poller)
            else:
                if self._more:
                    poller.immediate_wake()
                self._stream.recv_wait(poller)
                if self._output:
                    self._stream.send_wait(poller)
        self._fsm.wait(poller, ovs.timeval.msec())

    def _connect(self) -> None:
        self._disconnect()
        name = self.remote
        now = ovs.timeval.msec()
        try:
            error, stream = open_stream(name)
        except (OSError, ValueError, TypeError, DatabaseError) as problem:
            # ssl's errors, and those that python-ovs lets through.
            self._note(f"cannot connect: {problem}")
            error, stream = errno.EPROTO, None
        if error:
            self._fsm.connect_failed(now, error)
            self._pick()
            return
        self._stream = stream
        self._fsm.connecting(now)

    def _finish_connect(self) -> None:
        try:
            error = self._stream.connect()
        except (OSError, ssl.SSLError, DatabaseError) as problem:
            self._note(f"cannot connect: {problem}")
            error = errno.EPROTO
        if error == errno.EAGAIN:
            return
        if error:
            self._fsm.connect_failed(ovs.timeval.msec(), error)
            self._stream.close()
            self._stream = None
            self._pick()
            return
        self._fsm.connected(ovs.timeval.msec())
        self.connected = self.has_ever_connected = True
        self.epoch += 1

    def _note(self, text: str) -> None:
        """Log at WARN what is new, at DBG what repeats."""
        log = vlog.dbg if text == self.last_error else vlog.warn
        log(f"{self.remote}: {text}")
        self.last_error = text

    def _disconnect(self) -> None:
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        self._dropping = False
        if self.connected:
            self.connected = False
            self.epoch += 1
        self._framer = framing.Framer(self._limit)
        self._output.clear()
        self._more = False
        self._pick()

    # --- bytes ---

    def send(self, message: Message) -> bool:
        """Queue a message; False if there is no connection."""
        if not self.connected:
            return False
        self._output += framing.dumps(message)
        self._flush()
        return True

    def _flush(self) -> None:
        while self._output:
            sent = self._stream.send(bytes(self._output[:CHUNK]))
            if sent <= 0:
                if sent not in (0, -errno.EAGAIN):
                    self._lost(-sent)
                return
            del self._output[:sent]

    def _flush_backlog(self) -> None:
        """Send what would not go before; only that shows that the peer lives.

        What goes at once may only fill a buffer on the way to a peer that has stalled.
        """
        backlog = len(self._output)
        self._flush()
        if self.connected and len(self._output) < backlog:
            self._fsm.activity(ovs.timeval.msec())

    def _lost(self, error: int) -> None:
        self._fsm.disconnected(ovs.timeval.msec(), error)
        self._disconnect()

    def _receive(self) -> list[Message]:
        messages: list[Message] = []
        taken = 0
        while taken < RUN_BYTES:
            error, data = self._stream.recv(CHUNK)
            self._fsm.receive_attempted(ovs.timeval.msec())
            if error == errno.EAGAIN:
                break
            if error or not data:
                self._lost(error or ovs.reconnect.EOF)
                return messages
            taken += len(data)
            self._fsm.activity(ovs.timeval.msec())
            if not self._take(data, messages):
                return messages
        self._more = taken >= RUN_BYTES
        return messages

    def _take(self, data: bytes, messages: list[Message]) -> bool:
        """Parse what is complete into messages; False once the connection is lost."""
        try:
            self._framer.feed(data)
            while (message := self._framer.next()) is not None:
                if not isinstance(message, dict):
                    raise DatabaseError(f"not JSON-RPC: a {type(message).__name__}")
                if message.get("method") == "echo":
                    reply = {
                        "id": message.get("id"),
                        "result": message.get("params"),
                        "error": None,
                    }
                    if not self.send(reply):
                        return False
                elif message.get("id") != "echo":
                    messages.append(message)
        except DatabaseError as error:
            self.fail(str(error))
            return False
        return True
