# SPDX-License-Identifier: Apache-2.0
"""ICMP echo from many namespaces at once, and streams that count what is lost.

A socket belongs to the namespace that it was made in, whoever uses it: one
thread pings a whole matrix, and tells loss at the millisecond, where a ping(8)
for each pair would load the machine that it measures.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import netns

_ECHO = {4: (8, 0), 6: (128, 129)}  # (request, reply) types
_COUNT = struct.Struct("!Q")
_identifiers = itertools.count(os.getpid())
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python does not name it
_RECEIVE_BUFFER = 4 << 20
_STRAGGLERS = 10.0  # seconds that the last reply of a stream may take


@dataclass(frozen=True)
class Probe:
    """One echo request from namespace `netns` to `address`."""

    netns: str
    address: str


class Echo:
    """A raw ICMP socket in `source`, for echo exchanges with `address`.

    payload: its bytes, which begin with the sequence number whole: the header's
    would come round after a minute of requests at every millisecond.
    """

    def __init__(self, source: str, address: str, payload: int = 56) -> None:
        version = ipaddress.ip_address(address).version
        self.request, self.reply = _ECHO[version]
        self.address = address
        self.identifier = next(_identifiers) & 0xFFFF
        self._header = version == 4
        self._padding = bytes(i & 0xFF for i in range(payload - _COUNT.size))
        with netns.entered(source):
            self.socket = (
                socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
                if version == 4
                else socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            )
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, _RECEIVE_BUFFER)

    def send(self, sequence: int) -> bool:
        """Send request `sequence`; False when the guest has no way to the address now."""
        payload = _COUNT.pack(sequence) + self._padding
        said = (self.identifier, sequence & 0xFFFF)
        head = struct.pack("!BBHHH", self.request, 0, 0, *said)
        if self._header:  # the kernel fills the sum for ICMPv6 only
            head = struct.pack("!BBHHH", self.request, 0, _sum(head + payload), *said)
        try:
            self.socket.sendto(head + payload, (self.address, 0))
        except (BlockingIOError, OSError):
            return False
        return True

    def replies(self) -> list[int]:
        """Sequence numbers of the replies that have arrived since the last call."""
        numbers: list[int] = []
        while True:
            try:
                packet, _ = self.socket.recvfrom(65535)
            except BlockingIOError:
                return numbers
            except OSError:
                continue  # a pending ICMP error of an earlier request
            if self._header:
                packet = packet[(packet[0] & 15) * 4 :]
            kind, _, _, identifier, _ = struct.unpack_from("!BBHHH", packet)
            ours = identifier == self.identifier and len(packet) >= 8 + _COUNT.size
            if kind == self.reply and ours:
                numbers.append(*_COUNT.unpack_from(packet, 8))

    def close(self) -> None:
        self.socket.close()


def _sum(data: bytes) -> int:
    words = struct.unpack(f"!{len(data) // 2}H", data if len(data) % 2 == 0 else data + b"\0")
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def unanswered(probes: Sequence[Probe], seconds: float, again: float = float("inf")) -> list[Probe]:
    """Send one request for each probe; those without a reply `seconds` later.

    again: seconds after which those without a reply are asked once more, as ping(8)
    does; never unless given.
    """
    waiting: dict[int, tuple[Probe, Echo]] = {}
    poller = select.poll()
    try:
        for probe in probes:
            echo = Echo(probe.netns, probe.address)
            waiting[echo.socket.fileno()] = (probe, echo)
            poller.register(echo.socket, select.POLLIN)
        begun = due = time.monotonic()
        sequence = 0
        while waiting and (left := begun + seconds - time.monotonic()) > 0:
            if time.monotonic() >= due:
                due += again
                sequence += 1
                for _, echo in waiting.values():
                    echo.send(sequence)
            wait = min(left, due - time.monotonic())
            for descriptor, _ in poller.poll(max(0.0, wait) * 1000):
                if waiting[descriptor][1].replies():
                    poller.unregister(descriptor)
                    waiting.pop(descriptor)[1].close()
        return [probe for probe, _ in waiting.values()]
    finally:
        for _, echo in waiting.values():
            echo.close()


class Stream:
    """Echo requests at a fixed interval in a thread, until the block ends.

    Afterwards sent, lost and longest_gap (seconds without any reply) tell what
    happened; late replies count as answered.
    """

    def __init__(self, source: str, address: str, interval: float = 0.001) -> None:
        self._echo = Echo(source, address)
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ping", daemon=True)
        self._answered: dict[int, float] = {}
        self._sent_at: list[float] = []

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._echo.close()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._echo.socket, select.POLLIN)
        due = time.monotonic()
        while not self._stop.is_set():
            now = time.monotonic()
            if now >= due:
                self._sent_at.append(now)
                self._echo.send(len(self._sent_at) - 1)
                due = max(due + self._interval, now - 1)
            # Also where requests are late: what comes of them is asked for meanwhile.
            if poller.poll(max(0.0, due - now) * 1000):
                self._collect()
        deadline = time.monotonic() + _STRAGGLERS
        while len(self._sent_at) - 1 not in self._answered and time.monotonic() < deadline:
            poller.poll(100)
            self._collect()
        while self.lost and poller.poll(200):  # those that others overtook
            self._collect()

    def _collect(self) -> None:
        now = time.monotonic()
        for sequence in self._echo.replies():
            self._answered.setdefault(sequence, now)

    @property
    def sent(self) -> int:
        return len(self._sent_at)

    @property
    def answered(self) -> int:
        return len(self._answered)

    @property
    def lost(self) -> int:
        return self.sent - self.answered

    def answered_since(self, first: int) -> int:
        """How many requests are answered of those from number `first` on.

        With `sent` before: of those that will be sent from now on.
        """
        return sum(sequence >= first for sequence in list(self._answered))

    @property
    def longest_gap(self) -> float:
        """The longest time in seconds from one answered request to the next."""
        times = [self._sent_at[sequence] for sequence in sorted(self._answered)]
        if not times:
            raise SandboxError("no ping of the stream was answered")
        edges = [self._sent_at[0], *times, self._sent_at[-1]]
        return max(later - earlier for earlier, later in itertools.pairwise(edges))

    def wait_sent(self, count: int, seconds: float = 60.0) -> None:
        """Return once `count` more requests have gone out."""
        goal = self.sent + count
        deadline = time.monotonic() + seconds
        while self.sent < goal:
            if time.monotonic() > deadline:
                raise SandboxError(f"the ping stream is stuck at {self.sent} of {goal}")
            time.sleep(self._interval)
