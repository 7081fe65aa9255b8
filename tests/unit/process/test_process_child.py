# SPDX-License-Identifier: Apache-2.0
"""process.child: what becomes of a process that the agent starts, and what it inherits."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.process.child import Child

PATIENCE = 60.0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def start(ends: tuple[socket.socket, socket.socket], code: str) -> Child:
    """Python code that finds its end in `sock`, and has said so when this returns."""
    ours, theirs = ends
    number = theirs.fileno()
    text = f"import os, signal, socket, time; sock = socket.socket(fileno={number})\n{code}"
    child = Child([sys.executable, "-S", "-c", text], os.environ, number)
    theirs.close()
    ours.settimeout(PATIENCE)
    return child


def status(child: Child) -> int:
    deadline = time.monotonic() + PATIENCE
    while (ended := child.ended()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return ended


def test_how_it_ended(ends: tuple[socket.socket, socket.socket]) -> None:
    child = start(ends, "sock.send(b'.'); sock.recv(1); os._exit(3)")
    assert ends[0].recv(1) == b"."
    assert child.ended() is None
    ends[0].send(b".")
    assert [status(child), child.ended()] == [3, 3]
    child.end(PATIENCE)  # there is nothing to end any more


def test_a_signal_that_ended_it(ends: tuple[socket.socket, socket.socket]) -> None:
    child = start(ends, "time.sleep(1e6)")
    os.kill(child.pid, signal.SIGKILL)
    assert status(child) == -signal.SIGKILL


def test_it_is_asked_to_end(ends: tuple[socket.socket, socket.socket]) -> None:
    child = start(
        ends,
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7)); sock.send(b'.'); time.sleep(1e6)",
    )
    ends[0].recv(1)
    child.end(PATIENCE)
    assert child.ended() == 7


def test_it_is_made_to_end(ends: tuple[socket.socket, socket.socket]) -> None:
    child = start(
        ends, "signal.signal(signal.SIGTERM, signal.SIG_IGN); sock.send(b'.'); time.sleep(1e6)"
    )
    ends[0].recv(1)
    child.end(0.05)
    assert child.ended() == -signal.SIGKILL


@pytest.mark.parametrize("asked", [True, False])
def test_without_sigchld(ends: tuple[socket.socket, socket.socket], asked: bool) -> None:
    """As in a process whose parent ignored it: nobody is left to be waited for."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = start(ends, "sock.send(b'.'); sock.recv(1)")
        ends[0].recv(1)
        assert child.ended() is None
        if asked:
            child.end(PATIENCE)
        else:
            ends[0].close()
        assert status(child) == 0
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_it_inherits(ends: tuple[socket.socket, socket.socket]) -> None:
    """A session, its end of the socket and nothing to read; the rest it closes."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)  # as what somebody left open for the agent
    code = (
        "import sys; sys.path.insert(0, os.environ['ROOT'])\n"
        "from ovn_bpf_controller.process.child import close_others\n"
        "close_others(sock.fileno())\n"
        "told = os.readlink('/proc/self/fd/0'), os.getsid(0) == os.getpid(), sorted(\n"
        "    int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}'))\n"
        "sock.send(repr(told).encode()); sock.recv(1)"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
    os.environ["ROOT"] = root
    try:
        number = ends[1].fileno()
        child = start(ends, code)
        os.close(writer)
        assert ends[0].recv(1000) == repr(("/dev/null", True, [0, 1, 2, number])).encode()
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b""  # nobody holds the other end
        child.end(PATIENCE)
    finally:
        del os.environ["ROOT"]
        os.close(reader)


def test_what_is_not_there(ends: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(FileNotFoundError):
        Child(["/no/such/program"], os.environ, ends[1].fileno())
