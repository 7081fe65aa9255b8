# SPDX-License-Identifier: Apache-2.0
"""Tap devices of a test's own, with the header by which a guest offloads work.

What is read from one is what a wire would carry: it offers the kernel no offloads,
so checksums are summed and super-frames cut up before they are handed over.  What
is written may leave both to the device (struct virtio_net_hdr).
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import time
from pathlib import Path

from pyroute2 import IPRoute

_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_HEADER = struct.Struct("=BBHHHH")  # flags, gso_type, hdr_len, gso_size, csum_start, _offset
_NEEDS_CSUM, _TCPV4, _TCPV6, _UDP_L4 = 1, 1, 4, 5

DEADLINE = 30.0  # seconds that a frame may take


class Tap:
    """A tap device that is up.  close() removes it."""

    def __init__(self, name: str) -> None:
        """Makes it in the network namespace of this thread.  Raises OSError."""
        self.name = name
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(self._fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
        fcntl.ioctl(self._fd, _TUNSETOFFLOAD, 0)
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        self.ifindex = socket.if_nametoindex(name)
        with IPRoute() as netlink:
            netlink.link("set", index=self.ifindex, state="up")

    def fileno(self) -> int:
        """To wait for what comes out."""
        return self._fd

    def close(self) -> None:
        os.close(self._fd)

    def send(self, frame: bytes) -> None:
        """A frame whose checksums are what they are."""
        os.write(self._fd, _HEADER.pack(0, 0, 0, 0, 0, 0) + frame)

    def send_offloaded(self, frame: bytes, l4: int, *, gso: int = 0, proto: int = 6) -> None:
        """A TCP or UDP frame that leaves its transport checksum to the device.

        l4: offset of the transport header, whose checksum field holds the sum of the
        pseudo header.  gso: bytes of payload in each segment that it is to become.
        """
        at = 16 if proto == socket.IPPROTO_TCP else 6
        kind = 0
        if gso:
            ip6 = frame[12:14] == b"\x86\xdd"
            kind = _UDP_L4 if proto == socket.IPPROTO_UDP else _TCPV6 if ip6 else _TCPV4
        size = l4 + ((frame[l4 + 12] >> 4) * 4 if proto == socket.IPPROTO_TCP else 8)
        os.write(self._fd, _HEADER.pack(_NEEDS_CSUM, kind, size, gso, l4, at) + frame)

    def received(self, count: int) -> list[bytes]:
        """The next frames that come out; fails when fewer come in time."""
        frames: list[bytes] = []
        end = time.monotonic() + DEADLINE
        while len(frames) < count:
            ready, _, _ = select.select([self._fd], [], [], max(end - time.monotonic(), 0))
            assert ready, f"{len(frames)} of {count} frames in {DEADLINE} s: {frames}"
            data = os.read(self._fd, 1 << 17)
            flags, kind, *_ = _HEADER.unpack_from(data)
            assert not flags & _NEEDS_CSUM
            assert kind == 0
            frames.append(data[_HEADER.size :])
        return frames

    def empty(self) -> bool:
        """True if no frame waits."""
        return not select.select([self._fd], [], [], 0)[0]
