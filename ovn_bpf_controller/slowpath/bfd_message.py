# SPDX-License-Identifier: Apache-2.0
"""BFD Control packets (RFC 5880, section 4.1), to and from bytes.

bfd takes received ones apart by it, bfd_session makes those to send; what the RFC says
must be discarded raises RejectedError here.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath.duty import RejectedError

PORT: Final = 3784  # RFC 5881, section 4
VERSION: Final = 1
LENGTH: Final = 24
_FORM: Final = struct.Struct("!BBBBIIIII")
POLL, FINAL, INDEPENDENT, AUTH, DEMAND, MULTIPOINT = 32, 16, 8, 4, 2, 1


class State(IntEnum):
    """As on the wire; `.text` is the Southbound's word."""

    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def text(self) -> str:
        """BFD.status."""
        return self.name.lower()


class Diag(IntEnum):
    """Why a session is down (those that this side finds out)."""

    NONE = 0
    EXPIRED = 1
    NEIGHBOUR = 3
    ADMIN_DOWN = 7


@dataclass(frozen=True, slots=True)
class Message:
    """min_tx, min_rx: microseconds.  mine, yours: discriminators.  flags: POLL …"""

    state: State
    mult: int
    mine: int
    yours: int
    min_tx: int
    min_rx: int
    diag: int = 0
    flags: int = 0

    def pack(self) -> bytes:
        """On the wire; no echo."""
        first = VERSION << 5 | self.diag & 31
        second = self.state << 6 | self.flags & 63
        return _FORM.pack(
            first, second, self.mult, LENGTH, self.mine, self.yours, self.min_tx, self.min_rx, 0
        )


def parse(data: bytes) -> Message:
    """Of a UDP payload, checked as RFC 5880, section 6.8.6, says; RejectedError."""
    if len(data) < LENGTH:
        raise RejectedError("truncated BFD packet")
    first, flags, mult, length, mine, yours, min_tx, min_rx, _echo = _FORM.unpack_from(data)
    if first >> 5 != VERSION:
        raise RejectedError("BFD of another version")
    if not LENGTH <= length <= len(data):
        raise RejectedError("BFD length is wrong")
    if flags & AUTH:
        raise RejectedError("BFD with authentication")
    if flags & MULTIPOINT:
        raise RejectedError("BFD multipoint")
    if flags & POLL and flags & FINAL:
        raise RejectedError("BFD poll and final at once")
    if not mult or not mine:
        raise RejectedError("BFD without multiplier or discriminator")
    state = State(flags >> 6)
    if not yours and state not in (State.DOWN, State.ADMIN_DOWN):
        raise RejectedError("BFD state without a discriminator of ours")
    return Message(state, mult, mine, yours, min_tx, min_rx, first & 31, flags & 63)
