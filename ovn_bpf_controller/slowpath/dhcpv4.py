# SPDX-License-Identifier: Apache-2.0
"""put_dhcp_opts: a DHCP request becomes the reply that the flow's options make.

The flow turns addresses and ports round by itself and sends it; here only the
message is made (RFC 2131, RFC 2132; behaviour: ovn-controller's pinctrl.c).  What
is no request of ours goes on unchanged, with answer 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.slowpath import dhcp_options
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.frames import datagram
from ovn_bpf_controller.slowpath.knowledge import Knowledge

HEADER: Final = 236  # bytes in front of the cookie
COOKIE: Final = bytes((99, 130, 83, 99))
_REQUEST, _REPLY = 1, 2
_DISCOVER, _OFFER, _REQUESTED, _ACK, _NAK, _INFORM = 1, 2, 3, 5, 6, 8
_PAD, _END = 0, 255
_REQUESTED_IP, _TYPE, _ETHERBOOT = 50, 53, 175
_BOOTFILE, _BOOTFILE_ALT, _NEXT_SERVER = 67, 254, 253
_FIRST: Final = (_BOOTFILE, _BOOTFILE_ALT, _NEXT_SERVER)
# What a DHCPINFORM must not be told (RFC 2131, section 3.4).
_OF_LEASE: Final = (1, 51, 58, 59)
_BROADCAST: Final = 0x8000


def handle(punt: Punt, argument: Mapping[str, Any], known: Knowledge) -> Iterator[Punt]:
    """See service.Handler: always one packet, with the answer."""
    try:
        frame = _answer(punt.frame, argument["options"], known)
    except RejectedError:
        yield replace(punt, answer=0)
        raise
    yield replace(punt, frame=frame, answer=1)


def _answer(frame: bytes, options: Sequence[Sequence[Any]], known: Knowledge) -> bytes:
    udp = datagram(frame)
    request = udp.payload
    if len(request) < HEADER + len(COOKIE) or request[HEADER : HEADER + 4] != COOKIE:
        raise RejectedError("no DHCP message")
    if request[0] != _REQUEST:
        raise RejectedError("DHCP message that is no request")
    asked = parse(request[HEADER + 4 :])
    yours = offer(options)
    kind = _kind(asked, request, yours)
    inform = asked[_TYPE] == bytes((_INFORM,))
    every = said(options, known.dhcp_options)
    told = said_to(every, ipxe=_ETHERBOOT in asked, inform=inform)
    header = bytearray(request[:HEADER])
    header[0] = _REPLY
    if kind == _NAK:
        header[16:24] = bytes(8)
        told = []
    elif inform:
        header[16:20] = bytes(4)
    else:
        header[16:20] = yours.to_bytes(4, "big")
        header[20:24] = next_server(told) or header[20:24]
    message = bytes(header) + COOKIE + bytes((_TYPE, 1, kind)) + b"".join(told)
    message += bytes(4) + bytes((_END,)) + bytes(4)
    flags = int.from_bytes(header[10:12], "big")
    return udp.answer(message, ip4_dst=0xFFFFFFFF if flags & _BROADCAST else yours)


def parse(data: bytes) -> dict[int, bytes]:
    """Options by code; the first of each counts.  What is cut off does not."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            break
        found.setdefault(data[at], data[at + 2 : at + 2 + data[at + 1]])
        at += 2 + data[at + 1]
    return found


def _kind(asked: Mapping[int, bytes], request: bytes, offer: int) -> int:
    """The type of the reply.  Raises RejectedError when there is to be none."""
    kind = asked.get(_TYPE, b"")
    if len(kind) != 1:
        raise RejectedError("DHCP message without a type")
    if kind[0] == _DISCOVER:
        return _OFFER
    if kind[0] == _INFORM:
        return _ACK
    if kind[0] != _REQUESTED:
        raise RejectedError("DHCP message that is not to be answered")
    wanted = asked.get(_REQUESTED_IP, b"")
    if len(wanted) != 4 or not any(wanted):
        wanted = request[12:16]  # ciaddr: a renewal
    return _ACK if struct.unpack("!I", wanted)[0] == offer else _NAK


def offer(options: Sequence[Sequence[Any]]) -> int:
    """The address that is given.  Raises RejectedError if the flow says none."""
    for name, values in options:
        if name == "offerip":
            return int(values[0][1])
    raise RejectedError("flow without offerip")


def next_server(said: Sequence[bytes]) -> bytes | None:
    """Where the client boots from, of said()."""
    return next((option[2:6] for option in said if option[0] == _NEXT_SERVER), None)


def said(options: Sequence[Sequence[Any]], known: Mapping[str, tuple[int, str]]) -> list[bytes]:
    """The options of a flow on the wire, in its order behind those of booting, as
    ovn-controller has it.  known: Knowledge.dhcp_options.  Raises RejectedError."""
    found = []
    for name, values in options:
        if name == "offerip":
            continue
        code, kind = known.get(name, (0, ""))
        if not kind:
            raise RejectedError("option that DHCP_Options does not have")
        found.append(dhcp_options.encode(code, kind, values))
    found.sort(key=lambda option: _FIRST.index(option[0]) if option[0] in _FIRST else len(_FIRST))
    return found


def said_to(said: Sequence[bytes], *, ipxe: bool, inform: bool) -> list[bytes]:
    """What a client gets of them behind the reply's type.

    An iPXE client gets the bootfile, another one the alternative if there is one, both as
    option 67.  inform: a client that has its address.
    """
    found = list(said)
    codes = [option[0] for option in found]
    if _BOOTFILE_ALT in codes:
        dropped = None
        if _BOOTFILE in codes:
            dropped = _BOOTFILE_ALT if ipxe else _BOOTFILE
        found = [option for option in found if option[0] != dropped]
        found = [
            bytes((_BOOTFILE,)) + option[1:] if option[0] == _BOOTFILE_ALT else option
            for option in found
        ]
    return [option for option in found if not inform or option[0] not in _OF_LEASE]
