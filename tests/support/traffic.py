# SPDX-License-Identifier: Apache-2.0
"""Packets between a sandbox's guests, and eyes on its wires.

One packet a question where our chassis forward: the first one after a change must
already obey it, and none may be lost.  A bed with Open vSwitch's user space is asked
again, as a real client would: that one loses packets while it changes its flows, and
goes on with what it has cached for a while.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from string import Template
from types import TracebackType

from ovn_bpf_controller.sandbox import netns, ping
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import beds

_SO_TIMESTAMPNS = 35  # asm-generic/socket.h

# How long a packet that should arrive may take on a loaded machine, and how long
# to wait for one that should not.
ARRIVES = 10.0
ABSENT = 0.25
# After how long a packet that Open vSwitch may have lost is sent once more, and how
# long it may obey what it has cached: its revalidator comes by each half second, later
# where a processor is wanting.
AGAIN = 1.0
OBEYED = 30.0


def answers(bed: Sandbox, source: str, target: str, version: int = 4) -> bool:
    """Whether one echo request from a port to another is answered."""
    seconds = OBEYED if bed.topology.mixed else ARRIVES
    return not bed.unanswered([(source, target)], (version,), seconds)


def silent(bed: Sandbox, source: str, target: str, version: int = 4) -> bool:
    """Whether one echo request stays without an answer."""
    return obeyed(bed, lambda: bool(bed.unanswered([(source, target)], (version,), ABSENT)))


def tries(bed: Sandbox, seconds: float = ARRIVES) -> Iterator[float]:
    """For what sends a packet and waits for something: how long to wait, try by try.

    One try of `seconds`, or where Open vSwitch forwards as many as a client would make.
    """
    if not bed.topology.mixed or seconds < AGAIN:
        yield seconds
        return
    for _ in range(int(max(seconds, OBEYED) / AGAIN)):
        yield AGAIN


def obeyed(bed: Sandbox, holds: Callable[[], bool]) -> bool:
    """Whether a change that --wait=hv has waited for is obeyed.

    At once by our agent.  Where Open vSwitch forwards, a cached flow lives on until
    its revalidator comes by, which no acknowledgement waits for.
    """
    deadline = time.monotonic() + (OBEYED if bed.topology.mixed else 0.0)
    while not (held := holds()) and time.monotonic() < deadline:
        continue
    return held


def delivers(
    bed: Sandbox, source: str, target: str, port: int, version: int = 4, seconds: float = ARRIVES
) -> bool:
    """Whether one UDP datagram from a guest reaches `port` of another within `seconds`."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    address = bed.ports[target].guest.address(version)
    token = os.urandom(16)
    with netns.entered(bed.ports[target].netns):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with netns.entered(bed.ports[source].netns):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((address, port))
        for wait in tries(bed, seconds):
            sender.sendto(token, (address, port))
            if _received(receiver, token, wait):
                return True
    return False


def _received(receiver: socket.socket, token: bytes, seconds: float) -> bool:
    """Whether a datagram comes; others before it are not looked at."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        receiver.settimeout(left)
        try:
            if receiver.recv(64) == token:
                return True
        except TimeoutError:
            return False
    return False


def blocked(bed: Sandbox, source: str, target: str, port: int, version: int = 4) -> bool:
    """Whether one UDP datagram does not arrive."""
    return obeyed(bed, lambda: not delivers(bed, source, target, port, version, ABSENT))


def output(command: list[str]) -> str:
    """What a command prints, however it ends."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def acquaint(bed: Sandbox, *names: str) -> None:
    """Write every guest's address into the neighbour tables of the others.

    For tests whose subject is not ARP or ND.
    """
    chosen = names or tuple(bed.ports)
    for name in chosen:
        commands = []
        for other in chosen:
            guest = bed.ports[other].guest
            for version in (4, 6):
                address = guest.address(version)
                if other != name and address is not None:
                    commands.append(
                        f"neigh replace {address} lladdr {guest.mac} dev eth0 nud permanent"
                    )
        netns.ip(bed.ports[name].netns, *commands)


class Wire:
    """Sees every frame of one device from when it is made until the block ends."""

    def __init__(self, namespace: str, device: str) -> None:
        with netns.entered(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.bind((device, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, ping.SO_RCVBUFFORCE, 32 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._seen: deque[tuple[float, bytes]] = deque()

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """For select()."""
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """Out of the device, as if its host had sent it."""
        self._socket.send(frame)

    def frames(self) -> list[bytes]:
        """What has passed since the last call."""
        self._read()
        seen = [frame for _, frame in self._seen]
        self._seen.clear()
        return seen

    def first(self, wanted: Callable[[bytes], bool], seconds: float) -> bytes | None:
        """The next frame that is wanted, or None after `seconds`."""
        found = self.moment(wanted, seconds)
        return found[1] if found else None

    def moment(self, wanted: Callable[[bytes], bool], seconds: float) -> tuple[float, bytes] | None:
        """The same with the time when the kernel saw it, in seconds of the wall clock.

        Frames behind it stay for the next call; those before it do not.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._read()
            while self._seen:
                stamp, frame = self._seen.popleft()
                if wanted(frame):
                    return stamp, frame
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
                return None

    def _read(self) -> None:
        while True:
            try:
                frame, notes, _, _ = self._socket.recvmsg(1 << 17, 64)
            except BlockingIOError:
                return
            [stamp] = [data for _, kind, data in notes if kind == _SO_TIMESTAMPNS]
            seconds, nanoseconds = struct.unpack("qq", stamp)
            self._seen.append((seconds + nanoseconds / 1e9, frame))


def asked(bed: Sandbox, wire: Wire, frame: bytes, wanted: Callable[[bytes], bool]) -> bytes | None:
    """What comes of a frame that the host of a wire sends; see tries()."""
    return came(bed, wire, lambda: wire.send(frame), wanted)


def came(
    bed: Sandbox, wire: Wire, send: Callable[[], None], wanted: Callable[[bytes], bool]
) -> bytes | None:
    """What is seen on a wire of something that is sent; None if nothing is in time."""
    for wait in tries(bed):
        send()
        if (found := wire.first(wanted, wait)) is not None:
            return found
    return None


def geneve(frame: bytes) -> bool:
    """Whether an Ethernet frame is Geneve over IPv4 or IPv6 without options."""
    kind = frame[12:14]
    if kind == b"\x08\x00" and frame[23] == 17:
        start = 14 + (frame[14] & 15) * 4
    elif kind == b"\x86\xdd" and frame[20] == 17:
        start = 54
    else:
        return False
    return int.from_bytes(frame[start + 2 : start + 4], "big") == 6081


def underlay_port(bed: Sandbox, chassis: str) -> str:
    """The bridge port, in the underlay's namespace, of a chassis."""
    return f"hv{bed.chassis[chassis].addresses.number}"


def send_raw(bed: Sandbox, source: str, frame: bytes) -> None:
    """Send an Ethernet frame from a guest's eth0."""
    with netns.entered(bed.ports[source].netns):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with raw:
        raw.bind(("eth0", 0))
        raw.send(frame)


def send_udp(bed: Sandbox, source: str, address: str, port: int, data: bytes = b"x") -> None:
    """Send a datagram from a guest to any IPv4 or IPv6 address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.entered(bed.ports[source].netns):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with sender:
        sender.sendto(data, (address, port))


def throughput(bed: Sandbox, source: str, target: str, version: int, *options: str) -> float:
    """TCP bits per second that iperf3 finds between two guests, over one second."""
    address = bed.ports[target].guest.address(version)
    assert address is not None
    server = bed.ports[target].start("iperf3", "-s", "-1", "--forceflush", "-B", address)
    try:
        assert server.stdout is not None
        while "listening" not in server.stdout.readline():
            assert server.poll() is None, "iperf3 server ended"
        client = ["iperf3", "-J", "-c", address, "--connect-timeout", "30000"]
        report = json.loads(bed.ports[source].run(*client, *(options or ("-t", "1"))))
        return float(report["end"]["sum_received"]["bits_per_second"])
    finally:
        server.kill()
        server.communicate()


def carries(bed: Sandbox, source: str, target: str, version: int, least: float) -> bool:
    """Whether TCP gets more than `least` bits per second in one of some seconds.

    Which a connection that creeps, for its checksums or sizes are wrong, never does;
    one that shares two processors with other tests may not in each.
    """
    return any(throughput(bed, source, target, version) > least for _ in range(10))


TWO_CHASSIS = """
underlay: $underlay
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw0, chassis: hv2, port_security: true}
"""


def two_chassis(kind: str, underlay: str) -> Iterator[Sandbox]:
    """For fixtures: one switch over two chassis of a kind, with either underlay."""
    text = Template(TWO_CHASSIS).substitute(agent=beds.AGENTS[kind], underlay=underlay)
    with Sandbox(parse(text)) as sandbox:
        yield sandbox
