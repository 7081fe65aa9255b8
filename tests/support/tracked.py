# SPDX-License-Identifier: Apache-2.0
"""The connection tracker with packets, one at a time: what it says of each.

A packet's Ethernet source address names what is to be done with it (command()); on
its way out that address is where the answer is read from.  Frames go through
PROG_TEST_RUN of the program that ports run, so that thousands of them are cheap.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.datapath.conntrack import Connection, Conntrack
from ovn_bpf_controller.model import Rule
from tests.support.dataplane import Bed, bed, mac

ZONE: Final = 7
_NAMES: Final = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")
_DUMP: Final = 4096  # entries a system call
_REDIRECTED: Final = 7  # TC_ACT_REDIRECT
NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


@dataclass(frozen=True)
class Answer:
    """What became of a packet; number: the word that TELL put there, or another.

    mark: 16 bits of it.  packet: as it left, from the network header on; None when it
    was dropped.
    """

    number: int
    mark: int
    packet: Packet | None

    @property
    def state(self) -> frozenset[str]:
        """The number as ct_state."""
        return frozenset(name for i, name in enumerate(_NAMES) if self.number & 1 << i)

    @property
    def sent(self) -> Packet:
        """The packet that left."""
        assert self.packet is not None
        return self.packet


def bits(text: str) -> frozenset[str]:
    """ct_state as "new trk"."""
    return frozenset(text.split())


def ct(
    action: int = 0, zone: int = ZONE, mark: int | None = None, label: int | None = None
) -> list[Insn]:
    """An OP_CT in a zone of its own word."""
    operands = []
    if mark is not None:
        operands.append(Insn(lib.OP_SET, dst=lib.OW_CT_MARK, a=0xFFFFFFFF, b=mark))
    if label is not None:
        for i in range(4):
            part = label >> 32 * (3 - i) & 0xFFFFFFFF
            operands.append(Insn(lib.OP_SET, dst=lib.OW_CT_LABEL + i, a=0xFFFFFFFF, b=part))
    return [
        Insn(lib.OP_SET, dst=lib.OW_REG0, a=0xFFFFFFFF, b=zone),
        Insn(lib.OP_CT, src=lib.OW_REG0, a=action, c=len(operands)),
        *operands,
    ]


def address(text: str, ports: tuple[int, int] = (0, 0)) -> list[Insn]:
    """The arguments of a translation."""
    ip = ipaddress.ip_address(text)
    number = int(ip) if ip.version == 6 else 0xFFFF << 32 | int(ip)
    words = [number >> 32 * (3 - i) & 0xFFFFFFFF for i in range(4)]
    return [
        *(Insn(lib.OP_SET, dst=lib.OW_ARG_IP + i, a=0xFFFFFFFF, b=w) for i, w in enumerate(words)),
        Insn(lib.OP_SET, dst=lib.OW_ARG_PORT, a=0xFFFFFFFF, b=ports[0] << 16 | ports[1]),
    ]


# The answer goes where the command was: state and half of the mark.
TELL: Final = [
    Insn(lib.OP_MOVE, dst=lib.OW_ETH_SRC, src=lib.OW_CT_MARK, c=16),
    Insn(lib.OP_MOVE, dst=lib.OW_ETH_SRC + 1, src=lib.OW_CT_STATE, c=32),
]
NEXT: Final = [*ct(), *TELL]
COMMIT: Final = [*ct(), *TELL, *ct(lib.OVN_CT_COMMIT | lib.OVN_CT_KEEP)]


def translate(
    action: int, text: str, ports: tuple[int, int] = (0, 0), zone: int = ZONE
) -> list[Insn]:
    """A commit with an address to translate to, and what the packet then is."""
    return [
        *address(text, ports),
        *ct(lib.OVN_CT_COMMIT | lib.OVN_CT_NAT | action, zone),
        *TELL,
    ]


def undo(zone: int) -> list[Insn]:
    """Translates packets of connections that are, as they are."""
    return [*ct(lib.OVN_CT_NAT, zone), *TELL]


UNDO: Final = undo(ZONE)


class Tracked:
    """A Bed with one port whose packets do as they say."""

    def __init__(self, plane: Bed) -> None:
        self.bed = plane
        self.conntrack = Conntrack(plane.plane.maps, plane.plane.programs)
        self._commands: dict[tuple[Insn, ...], int] = {}
        plane.plug(1, 2)
        plane.flow(1, 0, 0, "1", "output;")
        plane.flows_live()

    def close(self) -> None:
        """Unmaps what was mapped."""
        self.conntrack.close()

    def command(self, insns: list[Insn]) -> int:
        """The number that makes a packet do this."""
        known = self._commands.get(tuple(insns))
        if known is not None:
            return known
        number = len(self._commands) + 1
        out = [
            Insn(lib.OP_SET, dst=lib.OW_OUTPORT, a=0xFFFFFFFF, b=2),
            Insn(lib.OP_OUTPUT),
        ]
        rule = Rule(
            dp=1,
            table=0,
            prio=100,
            mask=((lib.OW_ETH_SRC + 1, 0xFFFFFFFF),),
            values=(number,),
            insns=program([*insns, *out]),
            flow=0,
        )
        self.bed.apply(rules_added=[rule])
        self._commands[tuple(insns)] = number
        return number

    def send(self, packet: Packet, insns: list[Insn] = NEXT) -> Answer:
        """Sends an IP packet."""
        source = f"02:00:{self.command(insns):08x}"
        digits = source.replace(":", "")
        source = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
        frame = bytes(Ether(src=source, dst=mac(2)) / packet)
        got = self.bed.run("ovn_vif", frame, self.bed.devices["v1"])
        if got.verdict != _REDIRECTED:
            return Answer(0, 0, None)
        ether = Ether(got.data)
        answer = bytes.fromhex(ether.src.replace(":", ""))
        return Answer(
            int.from_bytes(answer[2:], "big"), int.from_bytes(answer[:2], "big"), ether.payload
        )

    def connections(self, zone: int | None = None) -> list[Connection]:
        """All that live."""
        return [each for batch in self.conntrack.dump(zone) for each in batch]

    def forget(self, *zones: int) -> None:
        """Ends all connections of these zones, or of ZONE."""
        for zone in zones or (ZONE,):
            self.conntrack.flush_zone(zone)

    def indexed(self) -> int:
        """Tuples in the index, of whatever is still or is no more."""
        keys = ffi.new("struct ovn_ct_tuple[]", _DUMP)
        values = ffi.new("struct ovn_ct_ref[]", _DUMP)
        cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
        fd, found = self.bed.plane.maps["ovn_ct_idx"], 0
        while more[0]:
            n = lib.ovn_map_dump(fd, cursor, keys, values, _DUMP, 0, more)
            assert n >= 0, n
            found += n
        return found

    def counted(self, what: str) -> int:
        """A counter of enum ovn_ct_counter, by its name in conntrack.COUNTERS."""
        return self.conntrack.counters()[what]

    def dropped(self) -> dict[str, int]:
        """Drops by reason."""
        return self.bed.drops()


@contextmanager
def tracked(sizes: Mapping[str, int] = NOTHING) -> Iterator[Tracked]:
    """A Tracked in namespaces of its own."""
    with bed(sizes) as plane:
        made = Tracked(plane)
        try:
            yield made
        finally:
            made.close()
