# SPDX-License-Identifier: Apache-2.0
"""dhcp_relay_req_chk and dhcp_relay_resp_chk: DHCPv4 on its way to a server and back.

A request gets the relay's address, a reply its client's (RFC 2131, RFC 1542); flows
do the routing.  What is no such message has answer 0, and they drop it.  Behaviour:
pinctrl.c of ovn-controller 24.09.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.slowpath.checksums import checksum
from ovn_bpf_controller.slowpath.dhcpv4 import COOKIE, HEADER, parse
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.frames import UDP, Datagram, datagram
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_REQUEST, _REPLY = 1, 2
_OFFER, _ACK = 2, 5
_MASK, _TYPE, _SERVER = 1, 53, 54
_HOPS, _FLAGS, _YIADDR, _GIADDR, _CHADDR = 3, 10, 16, 24, 28
_BROADCAST: Final = 0x80
_EVERYBODY: Final = b"\xff\xff\xff\xff"


def request(punt: Punt, argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
    """See duty.Handler: always one packet, with the answer."""
    yield from _checked(punt, lambda frame: _relayed(frame, _address(argument, "relay")))


def reply(punt: Punt, argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
    """See duty.Handler: always one packet, with the answer."""
    relay, server = _address(argument, "relay"), _address(argument, "server")
    yield from _checked(punt, lambda frame: _returned(frame, relay, server))


def _checked(punt: Punt, change: Callable[[bytes], bytes]) -> Iterator[Punt]:
    try:
        frame = change(punt.frame)
    except RejectedError:
        yield replace(punt, answer=0)
        raise
    yield replace(punt, frame=frame, answer=1)


def _address(argument: Mapping[str, Any], name: str) -> bytes:
    return int(argument[name]).to_bytes(4, "big")


def _relayed(frame: bytes, relay: bytes) -> bytes:
    udp, _ = _message(frame, _REQUEST)
    if any(udp.payload[_GIADDR : _GIADDR + 4]):
        raise RejectedError("DHCP message that is relayed already")
    message = bytearray(udp.payload)
    message[_HOPS] = (message[_HOPS] + 1) & 0xFF
    message[_GIADDR : _GIADDR + 4] = relay
    return _with(udp, bytes(message))


def _returned(frame: bytes, relay: bytes, server: bytes) -> bytes:
    udp, said = _message(frame, _REPLY)
    message = udp.payload
    yours, giaddr = message[_YIADDR : _YIADDR + 4], message[_GIADDR : _GIADDR + 4]
    if giaddr != relay:
        raise RejectedError("DHCP reply for another relay")
    if said.get(_SERVER) != server:
        raise RejectedError("DHCP reply of another server")
    mask = said.get(_MASK, b"")
    if (
        said[_TYPE][0] in (_OFFER, _ACK)
        and len(mask) == 4
        and _net(yours, mask) != _net(giaddr, mask)
    ):
        raise RejectedError("DHCP address of another subnet")
    to_all = message[_FLAGS] & _BROADCAST
    sent = _with(udp, message, ip4_dst=_EVERYBODY if to_all else yours)
    return message[_CHADDR : _CHADDR + 6] + sent[6:]


def _message(frame: bytes, op: int) -> tuple[Datagram, Mapping[int, bytes]]:
    """A DHCPv4 message over Ethernet, and its options.  Raises RejectedError."""
    udp = datagram(frame)
    message = udp.payload
    if udp.version != 4 or len(message) < HEADER + len(COOKIE):
        raise RejectedError("no DHCP message")
    if message[HEADER : HEADER + 4] != COOKIE or message[1:3] != b"\x01\x06":
        raise RejectedError("no DHCP message")
    if message[0] != op:
        raise RejectedError("DHCP message in the wrong direction")
    said = parse(message[HEADER + 4 :])
    if len(said.get(_TYPE, b"")) != 1 or not said[_TYPE][0]:
        raise RejectedError("DHCP message without a type")
    return udp, said


def _net(address: bytes, mask: bytes) -> bytes:
    return bytes(a & m for a, m in zip(address, mask, strict=True))


def _with(udp: Datagram, message: bytes, ip4_dst: bytes | None = None) -> bytes:
    """The frame with another message of the same length; a checksum stays one."""
    ip = bytearray(udp.frame[udp.l3 : udp.l4])
    if ip4_dst is not None:
        ip[16:20] = ip4_dst
        ip[10:12] = bytes(2)
        ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
    head = bytearray(udp.frame[udp.l4 : udp.l4 + UDP])
    if any(head[6:8]):
        head[6:8] = bytes(2)
        pseudo = bytes(ip[12:20]) + struct.pack("!HH", 17, len(head) + len(message))
        total = checksum(pseudo + bytes(head) + message)
        head[6:8] = (total or 0xFFFF).to_bytes(2, "big")
    rest = udp.frame[udp.l4 + UDP + len(message) :]
    return udp.frame[: udp.l3] + bytes(ip) + bytes(head) + message + rest
