# SPDX-License-Identifier: Apache-2.0
"""Packets between a sandbox's guests, and eyes on its wires.

One packet a question: nothing here retries, because the first packet after a
change must already obey it.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from string import Template
from types import TracebackType

from ovn_bpf_controller.sandbox import netns, ping
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import beds

# How long a packet that should arrive may take on a loaded machine, and how long
# to wait for one that should not.
ARRIVES = 2.0
ABSENT = 0.25


def answers(bed: Sandbox, source: str, target: str, version: int = 4) -> bool:
    """Whether one echo request from a port to another is answered."""
    return not bed.unanswered([(source, target)], (version,), ARRIVES)


def silent(bed: Sandbox, source: str, target: str, version: int = 4) -> bool:
    """Whether one echo request stays without an answer."""
    return bool(bed.unanswered([(source, target)], (version,), ABSENT))


def obeyed(bed: Sandbox, holds: Callable[[], bool]) -> bool:
    """Whether a change that --wait=hv has waited for is obeyed.

    At once by our agent.  Where Open vSwitch forwards, a cached flow lives on until
    its revalidator comes by, which no acknowledgement waits for: 5 s there.
    """
    deadline = time.monotonic() + (5.0 if bed.topology.mixed else 0.0)
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
        sender.sendto(token, (address, port))
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
    return not delivers(bed, source, target, port, version, ABSENT)


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
    """Sees every frame of one device while the block runs."""

    def __init__(self, namespace: str, device: str) -> None:
        with netns.entered(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.bind((device, 0))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, ping.SO_RCVBUFFORCE, 32 << 20)

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
        seen = []
        while True:
            try:
                seen.append(self._socket.recv(1 << 17))
            except BlockingIOError:
                return seen

    def first(self, wanted: Callable[[bytes], bool], seconds: float) -> bytes | None:
        """The next frame that is wanted, or None after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            for frame in self.frames():
                if wanted(frame):
                    return frame
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._socket], [], [], left)[0]:
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
        client = ["iperf3", "-J", "-c", address, "--connect-timeout", "3000"]
        report = json.loads(bed.ports[source].run(*client, *(options or ("-t", "1"))))
        return float(report["end"]["sum_received"]["bits_per_second"])
    finally:
        server.kill()
        server.communicate()


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
