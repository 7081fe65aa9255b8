# SPDX-License-Identifier: Apache-2.0
"""dns_lookup: a query becomes the response that the Southbound's DNS rows give.

Only the message is made here (RFC 1035); the flow turns it round and sends it.
What the rows do not know goes on unchanged, to the server that it was meant for.
Behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import ipaddress
import random
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.frames import datagram
from ovn_bpf_controller.slowpath.knowledge import Knowledge

HEADER: Final = 12
_A, _PTR, _AAAA, _ANY = 1, 12, 28, 255
_IN: Final = 1
_TTL: Final = 3600
_RESPONSE: Final = 0x8000
_REFUSED: Final = 5
_NAME_BYTES: Final = 255
# Where the question's name begins: answers point there.
_POINTER: Final = (0xC000 | HEADER).to_bytes(2, "big")


def handle(punt: Punt, _argument: Mapping[str, Any], known: Knowledge) -> Iterator[Punt]:
    """See service.Handler: always one packet, with the answer."""
    names = known.dns.get(punt.words[lib.OW_DP], {})
    try:
        frame = _answer(punt.frame, names)
    except RejectedError:
        yield replace(punt, answer=0)
        raise
    yield replace(punt, frame=frame, answer=1)


def _answer(frame: bytes, names: Mapping[str, tuple[str, bool]]) -> bytes:
    udp = datagram(frame)
    query = udp.payload
    if len(query) < HEADER:
        raise RejectedError("truncated DNS message")
    number, flags, questions = struct.unpack_from("!HHH", query)
    if flags & _RESPONSE:
        raise RejectedError("DNS response")
    if questions != 1:
        raise RejectedError("DNS query with other than one question")
    name, end = question(query)
    if end + 4 > len(query):
        raise RejectedError("truncated DNS message")
    [kind] = struct.unpack_from("!H", query, end)
    if kind not in (_A, _PTR, _AAAA, _ANY):
        raise RejectedError("DNS query of another type")
    found = names.get(name.lower())
    if found is None:
        raise RejectedError("DNS name unknown here")
    value, owned = found
    records = _records(kind, value)
    if not records:
        if not owned or kind not in (_A, _AAAA):
            raise RejectedError("DNS name without such an address")
        flags |= _REFUSED
    header = struct.pack("!HHHHHH", number, flags | _RESPONSE, 1, len(records), 0, 0)
    return udp.answer(header + query[HEADER : end + 4] + b"".join(records))


def question(query: bytes) -> tuple[str, int]:
    """The name asked for, and where its type begins.  Raises RejectedError."""
    labels: list[str] = []
    at = HEADER
    while True:
        if at >= len(query) or at - HEADER > _NAME_BYTES:
            raise RejectedError("truncated DNS message")
        length = query[at]
        at += 1
        if not length:
            return ".".join(labels), at
        if length > 63 or at + length > len(query):
            raise RejectedError("malformed DNS name")
        labels.append(query[at : at + length].decode("ascii", "replace"))
        at += length


def _records(kind: int, value: str) -> list[bytes]:
    """Answers of a type, in any order: clients take the first one."""
    if kind == _PTR:
        return [_record(_PTR, encoded(value))]
    found = []
    for address in addresses(value):
        of = _A if len(address) == 4 else _AAAA
        if kind in (of, _ANY):
            found.append(_record(of, address))
    random.shuffle(found)
    return found


def addresses(value: str) -> list[bytes]:
    """What a row's record says, as on the wire.  Raises RejectedError."""
    try:
        return [ipaddress.ip_address(text).packed for text in value.split()]
    except ValueError as error:
        raise RejectedError("DNS row that is no address") from error


def _record(kind: int, data: bytes) -> bytes:
    return _POINTER + struct.pack("!HHIH", kind, _IN, _TTL, len(data)) + data


def encoded(name: str) -> bytes:
    """A name as on the wire, not compressed.  Raises RejectedError."""
    labels = [label.encode() for label in name.split(".") if label]
    if any(len(label) > 63 for label in labels):
        raise RejectedError("DNS row with a label of more than 63 bytes")
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
