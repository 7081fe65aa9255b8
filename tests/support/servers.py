# SPDX-License-Identifier: Apache-2.0
"""TCP and UDP servers and clients of guests, for tests of connections.

All servers of a module run in one thread of the test's process; a socket belongs
to the namespace that it was made in.  A server says its guest's name and whom it
sees, so a test knows what load balancing and NAT made of a connection.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

#: Seconds that an answer may take on a loaded machine, and that one is waited for
#: which should not come.
ARRIVES = 10.0
ABSENT = 0.3
#: Servers answer everything; a test that needs a silent one makes its own.
BOTH = ("tcp", "udp")
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - in a guest's own namespace


@dataclass(frozen=True)
class Seen:
    """Who answered, and the address and port of the client as the server saw them."""

    server: str
    address: str
    port: int


class Servers:
    """Answers in the guests of a sandbox while the block runs."""

    def __init__(self, bed: Sandbox) -> None:
        self._bed = bed
        self._selector = selectors.DefaultSelector()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stop_r, self._stop_w = os.pipe()
        self._selector.register(self._stop_r, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="servers", daemon=True)

    def __enter__(self) -> Servers:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.write(self._stop_w, b"x")
        self._thread.join(60)
        for one in self._open:
            one.close()
        self._selector.close()
        os.close(self._stop_r)
        os.close(self._stop_w)

    def serve(self, guest: str, *ports: int, protocols: Sequence[str] = BOTH) -> None:
        """Answer on `ports` of every address of a guest, IPv4 and IPv6."""
        for version in (4, 6):
            for port in ports:
                if "tcp" in protocols:
                    self._listen(guest, version, port)
                if "udp" in protocols:
                    self._receive(guest, version, port)

    def _listen(self, guest: str, version: int, port: int) -> None:
        listener = self._bound(guest, version, socket.SOCK_STREAM, port)
        listener.listen(256)
        self._watch(listener, lambda one: self._accept(guest, one))

    def _receive(self, guest: str, version: int, port: int) -> None:
        receiver = self._bound(guest, version, socket.SOCK_DGRAM, port)
        self._watch(receiver, lambda one: _answer(guest, one))

    def _bound(self, guest: str, version: int, kind: socket.SocketKind, port: int) -> socket.socket:
        with netns.entered(self._bed.ports[guest].netns):
            one = socket.socket(_FAMILIES[version], kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((_ANY[version], port))
        one.setblocking(False)
        return one

    def _watch(self, one: socket.socket, react: Callable[[socket.socket], bool]) -> None:
        with self._lock:
            self._open.add(one)
        self._selector.register(one, selectors.EVENT_READ, react)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if not key.data(one):
                    self._selector.unregister(one)
                    with self._lock:
                        self._open.discard(one)
                    one.close()

    def _accept(self, guest: str, listener: socket.socket) -> bool:
        try:
            one, peer = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return True  # the client has given up
        one.setblocking(False)
        try:
            one.send(_greeting(guest, peer))
        except OSError:  # so has this one, later
            one.close()
            return True
        self._watch(one, _echo)
        return True


def _greeting(guest: str, peer: tuple[str, int]) -> bytes:
    return f"{guest} {peer[0]} {peer[1]}\n".encode()


def _answer(guest: str, receiver: socket.socket) -> bool:
    """One UDP datagram."""
    try:
        data, peer = receiver.recvfrom(65536)
        receiver.sendto(_greeting(guest, peer) + data, peer)
    except OSError:
        return True  # an ICMP error about an earlier answer
    return True


def _echo(one: socket.socket) -> bool:
    """What a client of TCP has sent; False at its end."""
    try:
        data = one.recv(65536)
        return bool(data) and one.send(data) > 0
    except OSError:
        return False


def _understood(line: bytes) -> Seen:
    server, address, port = line.decode().split()
    return Seen(server, address, int(port))


class Connection:
    """A TCP connection of a guest to a server, `seen` being what the server told.

    Raises ConnectionRefusedError for a reset, TimeoutError when nobody answers
    within `seconds`, OSError for what ICMP errors tell.
    """

    def __init__(
        self,
        bed: Sandbox,
        source: str,
        address: str,
        port: int,
        source_port: int = 0,
        seconds: float = ARRIVES,
    ) -> None:
        self._heard = b""
        self._socket = _client(bed, source, address, socket.SOCK_STREAM, source_port)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect((address, port))
            self.seen = _understood(self._line())
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _line(self) -> bytes:
        while b"\n" not in self._heard:
            more = self._socket.recv(4096)
            if not more:
                raise ConnectionResetError("the server has closed the connection")
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    @property
    def port(self) -> int:
        """The client's own port."""
        port: int = self._socket.getsockname()[1]
        return port

    def says(self, seconds: float = ARRIVES) -> bool:
        """Whether data goes there and back once more."""
        token = os.urandom(8).hex().encode()
        self._socket.settimeout(seconds)
        self._socket.sendall(token + b"\n")
        try:
            while self._line() != token:  # an earlier one that came late
                continue
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        """Close by a reset: nothing lingers on either side."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def _client(
    bed: Sandbox, source: str, address: str, kind: socket.SocketKind, port: int
) -> socket.socket:
    family = _FAMILIES[6 if ":" in address else 4]
    with netns.entered(bed.ports[source].netns):
        one = socket.socket(family, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port:
        one.bind((_ANY[6 if ":" in address else 4], port))
    return one


def visit(
    bed: Sandbox,
    source: str,
    address: str,
    port: int,
    protocol: str = "tcp",
    source_port: int = 0,
    seconds: float = ARRIVES,
) -> Seen | None:
    """Ask a server once; None when nothing comes back within `seconds`.

    UDP: one datagram, so a first packet that is lost shows, unless Open vSwitch may
    have lost it (traffic.tries).  Raises ConnectionRefusedError when told so by a reset
    or an ICMP error.
    """
    if protocol == "tcp":
        try:
            connection = Connection(bed, source, address, port, source_port, seconds)
        except TimeoutError:
            return None
        # By a reset where the port is used again, because it must be free then.
        connection.abort() if source_port else connection.close()
        return connection.seen
    with _client(bed, source, address, socket.SOCK_DGRAM, source_port) as one:
        one.connect((address, port))
        for wait in traffic.tries(bed, seconds):
            one.settimeout(wait)
            one.send(b"?")
            try:
                return _understood(one.recv(4096).partition(b"\n")[0])
            except TimeoutError:
                continue
    return None


def unheard(bed: Sandbox, source: str, address: str, port: int, protocol: str = "tcp") -> bool:
    """Whether nobody answers."""
    return visit(bed, source, address, port, protocol, seconds=ABSENT) is None


def refused(bed: Sandbox, source: str, address: str, port: int, protocol: str = "tcp") -> bool:
    """Whether the client is told at once that nobody will answer."""
    try:
        visit(bed, source, address, port, protocol)
    except ConnectionRefusedError:
        return True
    return False


def reached(
    bed: Sandbox,
    source: str,
    address: str,
    port: int,
    wanted: set[str],
    protocol: str = "tcp",
) -> set[str]:
    """The servers that answer, asked until all wanted ones have.

    At most 64 times: with four of equal weight one is missed with odds of 4e-8,
    with three that have 5, 5 and 6 of 16 buckets with 8e-11.
    """
    found: set[str] = set()
    for _ in range(64):
        answer = visit(bed, source, address, port, protocol)
        if answer is None:
            found.add("nobody")
            break
        found.add(answer.server)
        if found >= wanted:
            break
    return found
