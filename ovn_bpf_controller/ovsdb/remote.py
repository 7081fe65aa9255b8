# SPDX-License-Identifier: Apache-2.0
"""Connection methods: unix:PATH, tcp:HOST[:PORT], ssl:HOST[:PORT] (ovsdb(7)).

The session opens its streams here.  python-ovs takes addresses only, unless
libunbound's Python module is installed, and lets a bad port through as
OverflowError: so the text is checked here, and names are resolved in a thread,
since getaddrinfo() blocks and the agent's loop must not.
"""

from __future__ import annotations

import errno
import random
import socket
import threading
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import ovs.poller
import ovs.stream

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb import tls
from ovn_bpf_controller.plaindata import dataclass

#: IANA's port for OVSDB, as jsonrpc's streams default to it.
DEFAULT_PORT: Final = 6640


@dataclass(frozen=True, slots=True)
class Remote:
    """A parsed connection method.  host: an address, or a name if named is true."""

    kind: str
    path: str = ""
    host: str = ""
    port: int = 0
    named: bool = False


def parse(text: str) -> Remote:
    """DatabaseError unless text is a connection method."""
    kind, _, rest = text.partition(":")
    if kind not in ("unix", "tcp", "ssl") or not rest:
        raise DatabaseError(f"{text!r} is not a valid OVSDB remote")
    if kind == "unix":
        return Remote(kind, path=rest)
    host, port = _host_port(text, rest)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise DatabaseError(f"{text!r} is not a valid OVSDB remote: bad port {port!r}")
    try:
        ip_address(host)
    except ValueError:
        return Remote(kind, host=host, port=int(port), named=True)
    return Remote(kind, host=host, port=int(port))


def _host_port(text: str, rest: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise DatabaseError(f"{text!r} is not a valid OVSDB remote: unmatched bracket")
        return host, tail[1:] if tail else str(DEFAULT_PORT)
    host, colon, port = rest.rpartition(":")
    return (host, port) if colon else (rest, str(DEFAULT_PORT))


def open_stream(text: str) -> tuple[int, Any]:
    """(errno, stream) as ovs.stream.Stream.open.

    DatabaseError or OSError if the remote or the TLS files are bad.
    """
    remote = parse(text)
    if remote.named:
        return 0, ResolvingStream(remote)
    return _open_address(remote, remote.host)


def _open_address(remote: Remote, host: str) -> tuple[int, Any]:
    if remote.kind == "unix":
        error, stream = ovs.stream.Stream.open(f"unix:{remote.path}")
        return error, stream
    address = f"[{host}]:{remote.port}" if ":" in host else f"{host}:{remote.port}"
    if remote.kind == "ssl":
        return tls.open_stream(address, remote.host if remote.named else "")
    error, stream = ovs.stream.Stream.open(f"tcp:{address}")
    return error, stream


class ResolvingStream:
    """A stream to a host name; connect() goes on once a thread has resolved it."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._inner: Any = None
        self._addresses: list[str] = []
        self._problem = ""
        self._done, ours = socket.socketpair()
        self._done.setblocking(False)
        threading.Thread(target=self._resolve, args=(ours,), daemon=True).start()

    def _resolve(self, done: socket.socket) -> None:
        # Closing our end is the signal, whatever happened.
        with done:
            try:
                found = socket.getaddrinfo(
                    self._remote.host, self._remote.port, type=socket.SOCK_STREAM
                )
                self._addresses = [str(address[4][0]) for address in found]
            except (OSError, UnicodeError) as error:
                self._problem = str(error)

    def connect(self) -> int:
        """As ovs.stream.Stream.connect; DatabaseError if the name cannot be resolved."""
        if self._inner is None:
            try:
                self._done.recv(1)
            except BlockingIOError:
                return errno.EAGAIN
            if not self._addresses:
                raise DatabaseError(f"cannot resolve {self._remote.host}: {self._problem}")
            error, self._inner = _open_address(self._remote, random.choice(self._addresses))
            if error:
                return error
        return int(self._inner.connect())

    def connect_wait(self, poller: ovs.poller.Poller) -> None:
        """Wake when connect() can go on."""
        if self._inner is None:
            poller.fd_wait(self._done, ovs.poller.POLLIN)
        else:
            self._inner.connect_wait(poller)

    def close(self) -> None:
        """Close; a thread that still resolves ends by itself."""
        self._done.close()
        if self._inner is not None:
            self._inner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # recv, send and their waits: only used once connect() has succeeded.
        method: Callable[..., Any] = getattr(self._inner, name)
        return method
