# SPDX-License-Identifier: Apache-2.0
"""A guest that floods the slow path, and another that asks it in the meantime.

What the first sends, and the other if nothing else is said, are information requests of
DHCPv6, which only the slow path answers.  For tests that show that nobody suffers, and
measures of how long answers take.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from scapy.layers import dhcp6
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP
from scapy.layers.inet6 import UDP, IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, traffic

OPTIONS = {"server_id": "c0:ff:ee:00:00:01", "dns_server": "fd00::53"}
NEXT_HOP = 253  # for experiments: RFC 3692
_SO_TIMESTAMPNS = 35  # asm-generic/socket.h; Python does not name it
_TIMESPEC = struct.Struct("@qq")
_TRID = 14 + 40 + 8 + 1  # where the transaction's number is in a frame
_XID = 14 + 20 + 8 + 4  # the same of DHCPv4
_FLOODER = """
import socket, sys, time
frame, end, sent = bytes.fromhex(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
    out.bind(("eth0", 0))
    print("flooding", flush=True)
    begun = time.monotonic()
    while time.monotonic() < end:
        for _ in range(64):
            out.send(frame)
        sent += 64
    print(sent, time.monotonic() - begun)
"""


def serve(bed: Sandbox, *ports: str) -> None:
    """Lets the slow path answer these ports."""
    dhcp.serve6(bed, OPTIONS, *ports)


def request(mac: str, number: int) -> bytes:
    """A frame of a guest, the number in it."""
    header = IPv6(src="fe80::77", dst="ff02::1:2", hlim=1) / UDP(sport=546, dport=547, chksum=0)
    message = dhcp6.DHCP6_InfoRequest(trid=0) / dhcp6.DHCP6OptClientId(
        duid=dhcp6.DUID_LL(lladdr=mac)
    )
    made = bytearray(bytes(Ether(src=mac, dst="33:33:00:01:00:02") / header / message))
    made[_TRID : _TRID + 3] = number.to_bytes(3, "big")
    return bytes(made)


class Flood:
    """How it went, once the block has ended.  sent: frames in `seconds`."""

    sent = 0
    seconds = 0.0

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.sent / self.seconds


@contextmanager
def flooding(bed: Sandbox, source: str, seconds: float) -> Iterator[Flood]:
    """A guest sends as fast as it can for so long, beginning now."""
    frame = request(bed.ports[source].mac, 0).hex()
    flooder = bed.ports[source].start(sys.executable, "-c", _FLOODER, frame, str(seconds))
    flood = Flood()
    try:
        assert flooder.stdout is not None
        assert flooder.stdout.readline() == "flooding\n"
        yield flood
        printed, _ = flooder.communicate(timeout=60 + seconds)
        sent, lasted = printed.split()
        flood.sent, flood.seconds = int(sent), float(lasted)
    finally:
        if flooder.poll() is None:
            flooder.kill()
            flooder.communicate()


@dataclass(frozen=True)
class Question:
    """What a guest asks.  frame: by number.  request, answer: whether a frame is the one
    of that number."""

    frame: Callable[[int], bytes]
    request: Callable[[bytes, int], bool]
    answer: Callable[[bytes, int], bool]


def dhcpv6(mac: str) -> Question:
    """Only the slow path answers it."""

    def begins(kind: int) -> Callable[[bytes, int], bool]:
        return lambda data, number: (
            data[_TRID - 1 : _TRID + 3] == bytes((kind,)) + number.to_bytes(3, "big")
        )

    return Question(lambda number: request(mac, number), begins(11), begins(7))


def dhcpv4(mac: str) -> Question:
    """A discovery; needs dhcp.serve()."""
    header = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67, chksum=0)
    bootp = BOOTP(op=1, xid=0, chaddr=bytes.fromhex(mac.replace(":", "")))
    made = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / header / bootp
    whole = bytes(made / DHCP(options=[("message-type", "discover"), "end"]))

    def frame(number: int) -> bytes:
        return whole[:_XID] + number.to_bytes(4, "big") + whole[_XID + 4 :]

    def says(op: int) -> Callable[[bytes, int], bool]:
        begins = bytes((op, 1, 6, 0))
        return lambda data, number: data[_XID - 4 : _XID + 4] == begins + number.to_bytes(4, "big")

    return Question(frame, says(1), says(2))


def arp(mac: str, source: str, target: str) -> Question:
    """Who has the target?  The number is not in the frame: late answers count as early."""
    question = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=mac, psrc=source, pdst=target
    )

    def is_arp(op: int) -> Callable[[bytes, int], bool]:
        return lambda data, _number: data[12:14] == b"\x08\x06" and data[20:22] == bytes((0, op))

    return Question(lambda _number: bytes(question), is_arp(1), is_arp(2))


def next_hop(mac: str, version: int) -> Question:
    """A packet to an address that nobody knows: the answer is the question for it.  Needs
    flows that ask for the addresses of packets of the protocol NEXT_HOP."""
    header, first, kind, at = {
        4: (IP(src="198.18.0.1", proto=NEXT_HOP), "198.19.0.0", b"\x08\x06", 14 + 24),
        6: (IPv6(src="fd99::1", nh=NEXT_HOP), "fd98::", b"\x86\xdd", 14 + 40 + 8),
    }[version]

    def target(number: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        return ipaddress.ip_address(first) + number

    def frame(number: int) -> bytes:
        header.dst = str(target(number))
        return bytes(Ether(src=mac, dst="c0:ff:ee:00:00:01") / header / b"to a next hop")

    def asks(data: bytes, number: int) -> bool:
        wanted = target(number).packed
        return data[12:14] == kind and data[at : at + len(wanted)] == wanted

    return Question(frame, lambda data, number: data == frame(number), asks)


def latencies(bed: Sandbox, source: str, seconds: float, pause: float = 0.02) -> list[float]:
    """Seconds that each answer to a guest takes; infinite for one that does not come."""
    port = bed.ports[source]
    return asked(port.netns, "eth0", dhcpv6(port.mac), seconds, pause)


def asked(
    namespace: str,
    device: str,
    question: Question,
    seconds: float,
    pause: float = 0.02,
    least: int = 1,
) -> list[float]:
    """The same of any question, from a device.  least: questions, however long it takes."""
    found: list[float] = []
    end = time.monotonic() + seconds
    with traffic.Wire(namespace, device) as out, Stamps(namespace, device) as stamps:
        while time.monotonic() < end or len(found) < least:
            number = len(found) + 1
            begun = time.monotonic()
            out.send(question.frame(number))
            found.append(stamps.between(question, number))
            time.sleep(max(0.0, pause - (time.monotonic() - begun)))
    return found


class Stamps:
    """The kernel's times of frames of a device, in both directions.

    So it does not count how long whoever asks has to wait for a processor.
    """

    def __init__(self, namespace: str, device: str) -> None:
        with netns.entered(namespace):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            self._socket.bind((device, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def __enter__(self) -> Stamps:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def between(self, question: Question, number: int) -> float:
        """Seconds from a question to its answer, infinite if that does not come in time."""
        deadline = time.monotonic() + traffic.ARRIVES
        at = 0
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data, control, _, _ = self._socket.recvmsg(1 << 11, 64)
            except TimeoutError:
                break
            [(_, _, stamp)] = control
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            now = seconds * 1_000_000_000 + nanoseconds
            if question.request(data, number):
                at = now
            elif question.answer(data, number):
                return float(now - at) / 1e9
        return float("inf")


def resident(pid: int) -> int:
    """Bytes of memory that a process has in RAM."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


def processes(bed: Sandbox, chassis: str) -> dict[str, int]:
    """The agent's pid and the slow path's."""
    pids = {"agent": bed.chassis[chassis].agent_pid() or 0}
    pids["slow path"] = int((bed.chassis[chassis].root / "ovn-slowpath.pid").read_text())
    return pids


def garbled(mac: str) -> bytes:
    """A request with an option that is longer than the message."""
    frame = bytearray(request(mac, 1))
    frame[_TRID + 5 : _TRID + 7] = b"\xff\xff"
    return bytes(frame)
