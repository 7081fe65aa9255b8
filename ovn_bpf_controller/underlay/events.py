# SPDX-License-Identifier: Apache-2.0
"""What the kernel says by itself about devices, routes and neighbours.

A bare netlink socket, because a poll loop needs a file descriptor and a read that
never blocks; what the messages say is rtnetlink's to read.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from typing import Any

from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.rtnetlink import RTM_DELLINK, RTM_NEWLINK, Link, link, messages

_NDMSG = struct.Struct("=BBHi")  # struct ndmsg, as far as ndm_ifindex

_NEWADDR, _DELADDR = 20, 21
_NEWROUTE, _DELROUTE = 24, 25
_NEWNEIGH, _DELNEIGH = 28, 29

_RTNLGRP_LINK, _RTNLGRP_NEIGH = 1, 3
_RTNLGRP_IPV4_IFADDR, _RTNLGRP_IPV4_ROUTE = 5, 7
_RTNLGRP_IPV6_IFADDR, _RTNLGRP_IPV6_ROUTE = 9, 11
_GROUPS = (
    _RTNLGRP_LINK,
    _RTNLGRP_NEIGH,
    _RTNLGRP_IPV4_IFADDR,
    _RTNLGRP_IPV4_ROUTE,
    _RTNLGRP_IPV6_IFADDR,
    _RTNLGRP_IPV6_ROUTE,
)
_RECEIVE = 1 << 17
_BUFFER = 4 << 20


@dataclass(slots=True)
class Batch:
    """What has happened since the last drain().

    links: devices as RTM_NEWLINK has them (True) or RTM_DELLINK, in order.  routes: routes
    or addresses changed.  neighbours: ifindexes whose neighbours changed.  lost:
    the socket overflowed; everything must be read again.
    """

    links: list[tuple[bool, Link]] = field(default_factory=list)
    routes: bool = False
    neighbours: set[int] = field(default_factory=set)
    lost: bool = False


class NetlinkEvents:
    """A subscription in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, sum(1 << (group - 1) for group in _GROUPS)))

    def drain(self) -> Batch:
        """Everything that has arrived; never blocks."""
        batch = Batch()
        while True:
            try:
                data = self._socket.recv(_RECEIVE)
            except BlockingIOError:
                return batch
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                batch.lost = True
                continue
            for kind, payload in messages(data):
                _sort(batch, kind, payload)

    def wait(self, poller: Any) -> None:
        """Wake an ovs.poller.Poller when something arrives."""
        poller.fd_wait(self._socket.fileno(), select.POLLIN)

    def close(self) -> None:
        self._socket.close()


def _sort(batch: Batch, kind: int, payload: bytes) -> None:
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        batch.links.append((kind == RTM_NEWLINK, link(payload)))
    elif kind in (_NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE):
        batch.routes = True
    elif kind in (_NEWNEIGH, _DELNEIGH) and len(payload) >= _NDMSG.size:
        batch.neighbours.add(_NDMSG.unpack_from(payload)[3])
