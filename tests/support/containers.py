# SPDX-License-Identifier: Apache-2.0
"""Containers in guests: logical ports behind a parent's, told apart by VLAN tags.

Frames are made and read here, as not every kernel has VLAN devices.
"""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import servers, traffic

_PACKET_AUXDATA, _SOL_PACKET = 8, 263  # linux/if_packet.h
_OUTGOING = 4
_TCI_VALID = 1 << 4  # TP_STATUS_VLAN_VALID


@dataclass(frozen=True)
class Container:
    """A container and where its frames come and go."""

    vm: str
    tag: int
    mac: str
    addresses: dict[int, str]


class Inside:
    """A container's end of its parent's device while the block runs."""

    def __init__(self, bed: Sandbox, container: Container) -> None:
        self.container = container
        self._bed = bed
        with netns.entered(bed.ports[container.vm].netns):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind(("eth0", 0))
        self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)

    def __enter__(self) -> Inside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def send(self, packet: Packet, to: str) -> None:
        """An IP packet or ARP, tagged."""
        link = Ether(src=self.container.mac, dst=to) / Dot1Q(vlan=self.container.tag)
        self._socket.send(bytes(link / packet))

    def asks(self, packet: Packet, to: str, layer: type[Packet]) -> Any:
        """What comes of a packet, which is sent again where it may be lost."""
        for wait in traffic.tries(self._bed):
            self.send(packet, to)
            if (found := self.receive(layer, wait)) is not None:
                return found
        return None

    def receive(self, layer: type[Packet], seconds: float = servers.ARRIVES) -> Any:
        """The next frame to this container that has the layer; None after `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data, notes, _, source = self._socket.recvmsg(65536, 256)
            except TimeoutError:
                return None
            if source[2] == _OUTGOING:  # of the parent's own
                continue
            frame = Ether(data)
            if frame.dst == self.container.mac and layer in frame:
                assert _tag(notes) == self.container.tag
                return frame
        return None


def _tag(notes: list[tuple[int, int, bytes]]) -> int | None:
    """The VLAN that the kernel took out of a frame."""
    for level, kind, data in notes:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", data)
            return tci & 0xFFF if status & _TCI_VALID else None
    return None
