# SPDX-License-Identifier: Apache-2.0
"""The few rtnetlink requests that every agent makes, in struct and socket alone.

underlay asks for devices, routes and neighbours, datapath for the tunnel device.
Importing pyroute2 and decoding devices with it was a fifth of what a cold start
costs; it still makes and changes other things, where a change is rare (rtnetlink(7)).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.plaindata import NamedTuple

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTR: Final = struct.Struct("=HH")  # struct nlattr
_IFINFO: Final = struct.Struct("=BxHiII")  # struct ifinfomsg
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NDMSG: Final = struct.Struct("=BxxxiHBB")
_INT: Final = struct.Struct("=i")

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_CREATE, _REPLACE, _EXCLUSIVE = 0x400, 0x100, 0x200
_IFF_UP: Final = 1
RTM_NEWLINK, RTM_DELLINK, _GETLINK = 16, 17, 18
_GETROUTE, _NEWNEIGH, _GETNEIGH = 26, 28, 30

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_IFALIAS = 18, 20
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_METRICS = 1, 2, 4, 5, 7, 8
_RTA_VIA = 18
_RTAX_MTU = 2
_NDA_DST, _NDA_LLADDR, _NDA_FLAGS_EXT = 1, 2, 15
_NTF_USE, _NTF_EXT_MANAGED = 0x01, 0x01
_NUD_INCOMPLETE, _NUD_FAILED = 0x01, 0x20
_KIND: Final = 0x3FFF  # of an attribute's type, without its flags
_RECEIVE: Final = 1 << 17

Attributes = dict[int, bytes]


class Refused(DataPlaneError):
    """The kernel answered with an error; code: errno."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


class Link(NamedTuple):
    """A device.  mac: text, "" if it has none.  data: IFLA_INFO_DATA, by type."""

    ifindex: int
    flags: int
    name: str
    mac: str
    mtu: int
    master: int
    alias: str
    kind: str
    data: Attributes


class Route(NamedTuple):
    """The way to an address; what is not said is 0 or ""."""

    ifindex: int
    gateway: str
    source: str
    mtu: int


class Neighbour(NamedTuple):
    """mac: empty while it is not resolved.  managed: the kernel keeps it resolved."""

    mac: bytes
    managed: bool


def attributes(data: bytes, start: int = 0) -> Attributes:
    """Attributes from byte `start` on; a broken rest is left out."""
    found: Attributes = {}
    while start + _ATTR.size <= len(data):
        length, kind = _ATTR.unpack_from(data, start)
        if length < _ATTR.size or start + length > len(data):
            break
        found[kind & _KIND] = data[start + _ATTR.size : start + length]
        start += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message; a broken rest is left out."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind = _HEADER.unpack_from(data, offset)[:2]
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def link(payload: bytes) -> Link:
    """What an RTM_NEWLINK or RTM_DELLINK says."""
    _, _, ifindex, flags, _ = _IFINFO.unpack_from(payload)
    found = attributes(payload, _IFINFO.size)
    info = attributes(found.get(_IFLA_LINKINFO, b""))
    return Link(
        ifindex,
        flags,
        _text(found.get(_IFLA_IFNAME, b"")),
        found.get(_IFLA_ADDRESS, b"").hex(":"),
        number(found.get(_IFLA_MTU, b"")),
        number(found.get(_IFLA_MASTER, b"")),
        _text(found.get(_IFLA_IFALIAS, b"")),
        _text(info.get(_IFLA_INFO_KIND, b"")),
        attributes(info.get(_IFLA_INFO_DATA, b"")),
    )


class Rtnetlink:
    """Questions to the network namespace of the thread that makes it.

    Refused is raised where the kernel answers with an error.
    """

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._number = 0

    def __enter__(self) -> Rtnetlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()

    def links(self) -> list[Link]:
        """Every device."""
        request = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        return [link(payload) for payload in self._ask(_GETLINK, _DUMP, request)]

    def add_link(self, name: str, kind: str, mtu: int, data: Mapping[int, bytes]) -> None:
        """Makes a device that is up.  data: IFLA_INFO_DATA, by type."""
        settings = b"".join(_attribute(each, value) for each, value in data.items())
        info = _attribute(_IFLA_INFO_KIND, kind.encode()) + _attribute(_IFLA_INFO_DATA, settings)
        request = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, _IFF_UP, _IFF_UP)
        request += _attribute(_IFLA_IFNAME, name.encode() + b"\0")
        request += _attribute(_IFLA_MTU, struct.pack("=I", mtu)) + _attribute(_IFLA_LINKINFO, info)
        self._ask(RTM_NEWLINK, _ACK | _CREATE | _EXCLUSIVE, request)

    def set_up(self, ifindex: int, alias: str = "") -> None:
        """Brings a device up; alias: for operators, "" keeps the one it has."""
        request = _IFINFO.pack(socket.AF_UNSPEC, 0, ifindex, _IFF_UP, _IFF_UP)
        if alias:
            request += _attribute(_IFLA_IFALIAS, alias.encode())
        self._ask(RTM_NEWLINK, _ACK, request)

    def delete_link(self, ifindex: int) -> None:
        """Takes a device away."""
        self._ask(RTM_DELLINK, _ACK, _IFINFO.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0))

    def route(self, remote: str, local: str = "") -> Route | None:
        """How a packet to `remote` (from `local`) would leave."""
        dst = ip_address(remote).packed
        request = _RTMSG.pack(_family(remote), 8 * len(dst), 0, 0, 0, 0, 0, 0, 0)
        request += _attribute(_RTA_DST, dst)
        if local:
            src = ip_address(local).packed
            request = bytes([request[0], request[1], 8 * len(src)]) + request[3:]
            request += _attribute(_RTA_SRC, src)
        for payload in self._ask(_GETROUTE, 0, request):
            found = attributes(payload, _RTMSG.size)
            metrics = attributes(found.get(_RTA_METRICS, b""))
            return Route(
                number(found.get(_RTA_OIF, b"")),
                _address(found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]),
                _address(found.get(_RTA_PREFSRC, b"")),
                number(metrics.get(_RTAX_MTU, b"")),
            )
        return None

    def neighbour(self, ifindex: int, address: str) -> Neighbour | None:
        """One entry of the neighbour table, None if there is none (Linux 5.0)."""
        request = _NDMSG.pack(_family(address), ifindex, 0, 0, 0)
        request += _attribute(_NDA_DST, ip_address(address).packed)
        try:
            answers = self._ask(_GETNEIGH, 0, request)
        except Refused:
            return None
        for payload in answers:
            state = _NDMSG.unpack_from(payload)[2]
            found = attributes(payload, _NDMSG.size)
            managed = number(found.get(_NDA_FLAGS_EXT, b"")) & _NTF_EXT_MANAGED
            resolved = not state & (_NUD_INCOMPLETE | _NUD_FAILED)
            return Neighbour(found.get(_NDA_LLADDR, b"") if resolved else b"", bool(managed))
        return None

    def manage(self, ifindex: int, address: str) -> None:
        """Has the kernel resolve a neighbour and keep it so (Linux 5.16)."""
        request = _NDMSG.pack(_family(address), ifindex, 0, _NTF_USE, 0)
        request += _attribute(_NDA_DST, ip_address(address).packed)
        request += _attribute(_NDA_FLAGS_EXT, struct.pack("=I", _NTF_EXT_MANAGED))
        self._ask(_NEWNEIGH, _ACK | _CREATE | _REPLACE, request)

    def _ask(self, kind: int, flags: int, request: bytes) -> list[bytes]:
        """Payloads of the answer."""
        self._number += 1
        length = _HEADER.size + len(request)
        self._socket.send(_HEADER.pack(length, kind, _REQUEST | flags, self._number, 0) + request)
        found: list[bytes] = []
        while True:
            data = self._socket.recv(_RECEIVE)
            if _HEADER.unpack_from(data)[3] != self._number:
                continue  # of a question that an error cut short
            for answer, payload in messages(data):
                if answer == _NLMSG_ERROR:
                    code = -_INT.unpack_from(payload)[0]
                    if code:
                        raise Refused(code)
                    return found
                if answer == _NLMSG_DONE:
                    return found
                found.append(payload)
            if not flags & (_DUMP | _ACK):
                return found


def number(data: bytes) -> int:
    """An attribute of 1, 2 or 4 bytes; 0 if there is none."""
    return int.from_bytes(data[:4], "little" if _LITTLE else "big")


_LITTLE: Final = struct.pack("=H", 1) == struct.pack("<H", 1)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _address(data: bytes) -> str:
    return str(ip_address(data)) if len(data) in (4, 16) else ""


def _family(address: str) -> int:
    return socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET


def _attribute(kind: int, data: bytes) -> bytes:
    length = _ATTR.size + len(data)
    return _ATTR.pack(length, kind) + data.ljust((len(data) + 3) & ~3, b"\0")
