# SPDX-License-Identifier: Apache-2.0
"""Conversations between guests: each end's socket in its namespace, one thread.

For tests of translated addresses: a connection tells whom its server saw, and both
ends stay at hand, so that a test may go on talking after it has changed something.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ovn_bpf_controller.sandbox import netns, ping, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

SECONDS = 10.0  # for what should arrive; never waited for when it does
ABSENT = 0.25  # for what should not
PORT = 4242


def address(bed: Sandbox, guest: str, version: int) -> str:
    """A guest's address of IP version 4 or 6."""
    port = bed.ports[guest]
    return port.ip4 if version == 4 else port.ip6


def warm(bed: Sandbox, *pairs: tuple[str, str]) -> None:
    """Ping until guests reach each other, where Open vSwitch's tunnels carry it.

    A busy one loses packets before its tunnel has a neighbour; ours must not, so that
    nothing is sent there.
    """
    if bed.topology.mixed:
        process.wait_until(lambda: bed.unanswered([*pairs]) == [], 60, "way through")


def pings(bed: Sandbox, source: str, *addresses: str) -> bool:
    """Whether one echo request from a guest to each address is answered.

    As traffic.answers(), asked again where Open vSwitch forwards.
    """
    probes = [ping.Probe(bed.ports[source].netns, address) for address in addresses]
    again = traffic.AGAIN if bed.topology.mixed else float("inf")
    return ping.unanswered(probes, SECONDS, again) == []


def all_of_three(bed: Sandbox, source: str, address: str) -> bool:
    """Whether none of three echo requests is lost, the first of which may have to wait.

    Where Open vSwitch forwards, which may lose some: whether three come through at last.
    """
    command = ("ping", "-n", "-q", "-c", "3", "-i", "0.3", "-W", "20", address)
    argv = bed.ports[source].argv(*command)
    done = "3 packets transmitted, 3 received"
    return traffic.obeyed(bed, lambda: done in traffic.output(argv))


def unanswered(bed: Sandbox, source: str, address: str) -> bool:
    """Whether one echo request stays without an answer for a while."""
    probe = ping.Probe(bed.ports[source].netns, address)
    return traffic.obeyed(bed, lambda: ping.unanswered([probe], ABSENT) != [])


def open_socket(bed: Sandbox, guest: str, kind: socket.SocketKind, version: int) -> socket.socket:
    """A socket in a guest that gives up after SECONDS."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(bed.ports[guest].netns):
        made = socket.socket(family, kind)
    made.settimeout(SECONDS)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


class Pair:
    """Two sockets that are closed together."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.seen = ("", 0)  # the client's (address, port) as the server sees it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def exchange(self) -> None:
        """Something fresh each way; TimeoutError when it does not arrive."""
        raise NotImplementedError


class Tcp(Pair):
    """A TCP connection from `client` to (address, port), which guest `server` accepts.

    at: the port that the server listens on, if it is not the same.  Raises
    TimeoutError or ConnectionError when there is no connection.
    """

    def __init__(
        self,
        bed: Sandbox,
        client: str,
        server: str,
        address: str,
        port: int = PORT,
        *,
        at: int = 0,
        source_port: int = 0,
    ) -> None:
        version = 6 if ":" in address else 4
        dialler = open_socket(bed, client, socket.SOCK_STREAM, version)
        try:
            with open_socket(bed, server, socket.SOCK_STREAM, version) as listener:
                listener.bind(("", at or port))
                listener.listen()
                dialler.bind(("", source_port))
                dialler.connect((address, port))
                accepted, peer = listener.accept()
        except BaseException:
            dialler.close()
            raise
        accepted.settimeout(SECONDS)
        super().__init__(dialler, accepted)
        self.seen = peer[:2]

    def exchange(self) -> None:
        for source, target in ((self.client, self.server), (self.server, self.client)):
            text = os.urandom(32)
            source.sendall(text)
            heard = b""
            while len(heard) < len(text):
                more = target.recv(len(text) - len(heard))
                assert more, "the other end closed the connection"
                heard += more
            assert heard == text

    def stream(self, size: int) -> None:
        """Send `size` bytes each way, one way after the other, and check them there."""
        for source, target in ((self.client, self.server), (self.server, self.client)):
            text = random.Random(size).randbytes(size)
            sender = threading.Thread(target=source.sendall, args=(text,), daemon=True)
            sender.start()
            heard = bytearray()
            while len(heard) < size:
                more = target.recv(1 << 18)
                assert more, "the other end closed the connection"
                heard += more
            sender.join()
            assert heard == text

    def finish(self) -> None:
        """End the connection in order, the client first."""
        self.client.shutdown(socket.SHUT_WR)
        assert self.server.recv(1) == b""
        self.server.close()
        assert self.client.recv(1) == b""
        self.client.close()

    def reset(self) -> None:
        """End the connection from the client's side by RST, which the server must see."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()
        try:
            self.server.recv(1)
        except ConnectionResetError:
            return
        raise AssertionError("the server's connection was not reset")


class Udp(Pair):
    """Datagrams from `client` to (address, port), where guest `server` takes them.

    The first exchange has been made; arguments and errors as Tcp has them.
    """

    def __init__(
        self,
        bed: Sandbox,
        client: str,
        server: str,
        address: str,
        port: int = PORT,
        *,
        at: int = 0,
        source_port: int = 0,
    ) -> None:
        version = 6 if ":" in address else 4
        self._bed = bed
        super().__init__(
            open_socket(bed, client, socket.SOCK_DGRAM, version),
            open_socket(bed, server, socket.SOCK_DGRAM, version),
        )
        try:
            self.server.bind(("", at or port))
            self.client.bind(("", source_port))
            self.client.connect((address, port))
            self.exchange()
        except BaseException:
            self.close()
            raise

    def exchange(self, size: int = 32) -> None:
        """One datagram of `size` bytes each way; the answer goes to whom the server saw."""
        text, answer = os.urandom(size), os.urandom(size)
        peer = self._hand_over(text, self.server, lambda: self.client.send(text))
        self.seen = peer[:2]
        self._hand_over(answer, self.client, lambda: self.server.sendto(answer, peer))

    def _hand_over(
        self, text: bytes, target: socket.socket, send: Callable[[], object]
    ) -> tuple[str, int]:
        """Send a datagram, again where it may be lost (traffic.tries); whom the target saw."""
        for wait in traffic.tries(self._bed, SECONDS):
            send()
            target.settimeout(wait)
            try:
                # What came twice is there before what comes next.
                while (heard := target.recvfrom(65536))[0] != text:
                    assert self._bed.topology.mixed, "another datagram than the one sent"
                target.settimeout(SECONDS)
                peer: tuple[str, int] = heard[1]
                return peer
            except TimeoutError:
                continue
        raise TimeoutError(f"no datagram arrived in {SECONDS} s")


def refused(bed: Sandbox, client: str, address: str, port: int = 9) -> bool:
    """Whether the client's kernel believes the ICMP error for a port where nobody listens."""
    with open_socket(bed, client, socket.SOCK_DGRAM, 6 if ":" in address else 4) as sender:
        sender.connect((address, port))
        for wait in traffic.tries(bed, SECONDS):
            sender.settimeout(wait)
            try:
                sender.send(b"nobody listens")
                sender.recv(64)
            except ConnectionRefusedError:
                return True
            except TimeoutError:
                continue
    return False


def tcp(bed: Sandbox, client: str, server: str, address: str) -> str:
    """The client's address as the server of a short TCP connection sees it."""
    with Tcp(bed, client, server, address) as connection:
        connection.exchange()
        return connection.seen[0]


def udp(bed: Sandbox, client: str, server: str, address: str) -> str:
    """The client's address as the server of one datagram, which it answers, sees it."""
    with Udp(bed, client, server, address) as flow:
        return flow.seen[0]
