# SPDX-License-Identifier: Apache-2.0
"""arp { … } and nd_ns { … }: ask for a next hop, and keep what waits for it.

The request goes on behind the verb, where the flow fills it in and sends it.  The
packet waits here until the program has learnt the address (put_arp, put_nd), or the
agent tells that another chassis has (duties.next_hops), and goes on then in the table
it came from, whose flow for known neighbours sends it.
Behaviour: ovn-controller's pinctrl.c; ARP: RFC 826, solicitations: RFC 4861.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.plaindata import dataclass, field, replace
from ovn_bpf_controller.slowpath.checksums import checksum
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

# As ovn-controller has them.
MAX_HOPS: Final = 1000
MAX_WAITING: Final = 4  # for one hop; the oldest makes room
PATIENCE: Final = 10.0  # seconds
LOOK_SECONDS: Final = 0.005
ASK_SECONDS: Final = 0.05  # before the agent is asked, and between two questions

_KEY: Final = record("struct ovn_mac_key")
_MAC: Final = record("struct ovn_mac")
# ovn-controller sends what has waited without its connection's state, and flows of
# distributed NAT count on that.
_UNTRACKED: Final = {word: 0 for word in range(lib.OW_CT_STATE, lib.OW_CT_PROTO + 1)}
_MAPPED: Final = (0, 0, 0xFFFF)
_ETHERNET: Final = 14
_ARP, _IP4, _IP6 = 0x0806, 0x0800, 0x86DD


@dataclass(slots=True)
class _Hop:
    """Packets for one address, since when and until when."""

    since: float
    end: float = 0.0
    waiting: list[Punt] = field(default_factory=list)


class Neighbours(Duty):
    """What waits for addresses.  macs: fd of map ovn_macs."""

    name = "neighbours"

    def __init__(self, macs: int) -> None:
        super().__init__()
        self._macs = macs
        self._value: Any = ffi.new("struct ovn_mac *")
        self._hops: OrderedDict[bytes, _Hop] = OrderedDict()
        self._asked: list[bytes] = []  # what the agent was asked about last
        self._ask_at = 0.0
        self._told: Mapping[bytes, bytes] = {}

    def arp(self, punt: Punt, _argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
        """See service.Handler: the request; the packet is kept."""
        frame = punt.frame
        if _type(frame) != _IP4 or len(frame) < _ETHERNET + 20:
            raise RejectedError("arp of what is no IPv4 packet")
        self._keep(punt, (*_MAPPED, punt.words[lib.OW_REG0]))
        sha, spa, tpa = frame[6:12], frame[26:30], frame[30:34]
        request = bytes.fromhex("0001080006040001") + sha + spa + bytes(6) + tpa
        yield replace(punt, frame=frame[:12] + _ARP.to_bytes(2, "big") + request)

    def nd_ns(self, punt: Punt, _argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
        """The same for IPv6."""
        frame = punt.frame
        if _type(frame) != _IP6 or len(frame) < _ETHERNET + 40:
            raise RejectedError("nd_ns of what is no IPv6 packet")
        self._keep(punt, punt.words[lib.OW_REG0 : lib.OW_REG0 + 4])
        yield replace(punt, frame=solicitation(frame[6:12], frame[38:54]))

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return {lib.OVN_PUNT_ARP: self.arp, lib.OVN_PUNT_ND_NS: self.nd_ns}

    def hears(self) -> Mapping[str, Callable[[Any], Any]]:
        """See Duty.  hops: [datapath, port, address, its link-layer address]."""
        return {"hops": _heard}

    def learnt(self, known: Knowledge) -> None:
        """See Duty."""
        self._told = known.facts.get("hops", {})
        if self._hops:
            self.due = time.monotonic()

    def reports(self) -> Mapping[str, Any]:
        """Hops that nobody has answered for here."""
        asked = (_KEY.unpack(key) for key in self._asked)
        return {"hops": [[dp, port, _number(ip)] for dp, port, *ip in asked]}

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return sum(len(hop.waiting) for hop in self._hops.values())

    def run(self, now: float) -> Iterator[Punt]:
        """Packets whose next hop is known by now; too old ones are forgotten."""
        self.due = now + LOOK_SECONDS
        for key, hop in list(self._hops.items()):
            mac = self._learnt(key)
            if mac is not None:
                del self._hops[key]
                for punt in hop.waiting:
                    waited = punt.with_words(_UNTRACKED)
                    yield replace(waited, pc=0, frame=mac + punt.frame[6:])
            elif now >= hop.end:
                del self._hops[key]
        self._ask(now)
        if not self._hops:
            self.due = FOREVER

    def _ask(self, now: float) -> None:
        """What is not answered at once somebody else may know, or get to know."""
        if now < self._ask_at and self._hops:
            return
        late = [key for key, hop in self._hops.items() if now >= hop.since + ASK_SECONDS]
        if late != self._asked:
            self._asked, self._ask_at, self.news = late, now + ASK_SECONDS, True

    def _keep(self, punt: Punt, address: tuple[int, ...]) -> None:
        words = punt.words
        key = _KEY.pack(words[lib.OW_DP], words[lib.OW_OUTPORT], *address)
        hop = self._hops.get(key)
        if hop is None:
            if len(self._hops) >= MAX_HOPS:
                self._hops.popitem(last=False)
            hop = self._hops[key] = _Hop(time.monotonic())
        now = time.monotonic()
        hop.end = now + PATIENCE
        self.due = min(self.due, now + LOOK_SECONDS)
        hop.waiting.append(punt)
        del hop.waiting[:-MAX_WAITING]

    def _learnt(self, key: bytes) -> bytes | None:
        """The link-layer address that the program has under a key, or was told of."""
        if lib.ovn_map_lookup(self._macs, ffi.from_buffer(key), self._value) < 0:
            return self._told.get(key)
        found = bytes(ffi.buffer(self._value))
        if found[: len(key)] != key:  # the element had another key by then
            return self._told.get(key)
        high, low = self._value.mac[0], self._value.mac[1]
        return bytes((high >> 8 & 0xFF, high & 0xFF)) + int(low).to_bytes(4, "big")


def _number(words: Sequence[int]) -> int:
    """An address of 128 bits."""
    value = 0
    for each in words:
        value = value << 32 | each
    return value


def _heard(told: Any) -> Mapping[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for dp, port, ip, mac in told:
        words = (ip >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0))
        found[_KEY.pack(dp, port, *words)] = int(mac).to_bytes(6, "big")
    return found


def _type(frame: bytes) -> int:
    return int.from_bytes(frame[12:14], "big")


def solicitation(mac: bytes, target: bytes) -> bytes:
    """A neighbour solicitation from a link-layer address, to the target's group."""
    source = bytes.fromhex("fe80000000000000")
    source += bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    body = bytes(4) + target + b"\x01\x01" + mac
    length = 4 + len(body)
    pseudo = source + group + length.to_bytes(4, "big") + (58).to_bytes(4, "big")
    head = bytes((135, 0))
    total = checksum(pseudo + head + bytes(2) + body)
    message = head + total.to_bytes(2, "big") + body
    ip = bytes((0x60, 0, 0, 0)) + length.to_bytes(2, "big") + bytes((58, 255)) + source + group
    return b"\x33\x33" + group[12:] + mac + _IP6.to_bytes(2, "big") + ip + message
