# SPDX-License-Identifier: Apache-2.0
"""Gratuitous ARP, or RARP, of addresses that have come to this chassis.

duties.announcements says which.  Each enters the ingress pipeline of its switch as if
its port had sent it, a second after it came, then after pauses of 1, 2, 4 and 8
seconds: five in all, or without end where the operator has capped the pauses.
Behaviour: ovn-controller's pinctrl.c.  ARP: RFC 826, announcements: RFC 5227,
RARP: RFC 903.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty
from ovn_bpf_controller.slowpath.knowledge import Knowledge

FIRST: Final = 1.0  # seconds
MOST: Final = 16.0  # a pause as long as this is the end, unless the operator capped them
_BROADCAST: Final = b"\xff" * 6
_ARP, _RARP = b"\x08\x06", b"\x80\x35"
_REQUEST, _REVERSE = b"\0\1", b"\0\3"
_HARDWARE: Final = bytes.fromhex("000108000604")  # Ethernet, IPv4


@dataclass(slots=True)
class _Turn:
    """due: time of the next one.  pause: behind it."""

    due: float
    pause: float = FIRST


class Announcements(Duty):
    """Of all addresses that are announced here."""

    name = "announcements"

    def __init__(self) -> None:
        super().__init__()
        self._told: Mapping[str, Any] = {}
        self._most = MOST
        self._endless = False
        self._turns: dict[tuple[Any, ...], _Turn] = {}

    def hears(self) -> Mapping[str, Callable[[Any], Any]]:
        """See Duty.  items: datapath, port, MAC, IPv4 address or 0, whose residency."""
        return {"announcements": dict}

    def learnt(self, known: Knowledge) -> None:
        """What is new begins; when the bounds are others, all does."""
        told = known.facts.get("announcements", {})
        if told is self._told:
            return
        self._told = told
        most = float(told["most"])
        bounds = self._most, self._endless
        self._most, self._endless = most or MOST, most > 0
        before = self._turns if bounds == (self._most, self._endless) else {}
        due = time.monotonic() + FIRST
        items = [tuple(item) for item in told["items"]]
        self._turns = {item: before.get(item) or _Turn(due) for item in items}
        self._schedule()

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        for (dp, port, mac, ip, *_), turn in self._turns.items():
            if turn.due <= now:
                again = self._endless or turn.pause < self._most
                turn.due = now + min(turn.pause, self._most) if again else FOREVER
                turn.pause = min(2 * turn.pause, self._most)
                yield _frame(dp, port, int(mac).to_bytes(6, "big"), ip)
        self._schedule()

    @property
    def waiting(self) -> int:
        """Addresses that are not done yet."""
        return sum(turn.due < FOREVER for turn in self._turns.values())

    def _schedule(self) -> None:
        self.due = min((turn.due for turn in self._turns.values()), default=FOREVER)


def _frame(dp: int, port: int, mac: bytes, ip: int) -> Punt:
    address = int(ip).to_bytes(4, "big")
    kind, operation, target = (_ARP, _REQUEST, bytes(6)) if ip else (_RARP, _REVERSE, mac)
    body = _HARDWARE + operation + mac + address + target + address
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT] = dp, port
    return Punt(_BROADCAST + mac + kind + body, tuple(words))
