# SPDX-License-Identifier: Apache-2.0
"""Random flows in the real program, beside what tests.support.machine makes of them.

The same rules go to both: the machine says which flow wins and what its actions do
to the headers, the program sends the frame.  Seeds are fixed.
"""

from __future__ import annotations

import ipaddress
import random

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.layout import ROOTS
from tests.support.dataplane import Bed
from tests.support.machine import Machine, Words

FLOWS = 60
LISTS = 24  # as many lists of actions as the bed's map of instructions holds
PACKETS = 150

#: Fields of the frames made here, all of which actions may write.
HEADERS = ["eth.src", "eth.dst", "ip6.src", "ip6.dst", "tcp.src", "tcp.dst"]
WHOLE = ["ip.dscp", "ip.ecn", "ip.ttl"]  # nominal: no subfields
REGISTERS = [f"reg{n}" for n in range(10)] + [f"xreg{n}" for n in range(5)] + ["xxreg0", "xxreg1"]

Fields = dict[str, int]


def frame(fields: Fields) -> bytes:
    return bytes(
        Ether(src=fields["eth.src"].to_bytes(6, "big"), dst=fields["eth.dst"].to_bytes(6, "big"))
        / IPv6(
            src=str(ipaddress.IPv6Address(fields["ip6.src"])),
            dst=str(ipaddress.IPv6Address(fields["ip6.dst"])),
            fl=fields["ip6.label"],
            tc=fields["ip.dscp"] << 2 | fields["ip.ecn"],
            hlim=fields["ip.ttl"],
        )
        / TCP(sport=fields["tcp.src"], dport=fields["tcp.dst"], flags=fields["tcp.flags"])
    )


def context(fields: Fields) -> Fields:
    """The fields as the program is to find them in that frame."""
    return fields | {"eth.type": 0x86DD, "ip.proto": 6}


def frame_of(words: Words) -> bytes:
    names = [*HEADERS, *WHOLE, "ip6.label", "tcp.flags"]
    return frame({name: words.get(name) for name in names})


class Dice:
    """Random packets of few values, so that random matches meet them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def packet(self) -> Fields:
        pick = self.rng.choice
        return {
            "eth.src": pick([0x020000000001, 0x020000000002]),
            "eth.dst": pick([0x020000000003, 0x020000000103]),
            "ip6.src": 0xFD << 120 | pick([1, 2, 0xFFFF_00000001]),
            "ip6.dst": 0xFD << 120 | pick([3, 4]),
            "ip6.label": pick([0, 5]),
            "ip.dscp": pick([0, 46]),
            "ip.ecn": pick([0, 1]),
            "ip.ttl": pick([1, 64, 255]),
            "tcp.src": pick([9, 1024, 40000]),
            "tcp.dst": pick([22, 80, 443]),
            "tcp.flags": pick([2, 16]),
        }

    def match(self) -> str:
        """A few or many masked fields of some packet."""
        packet = self.packet()
        names = [n for n in packet if n not in ("ip.dscp", "ip.ecn")]
        count = self.rng.choice([1, 2, 3, len(names)])
        terms = ['inport == "vm1"'] if count == len(names) else []
        for name in self.rng.sample(names, count):
            width = ROOTS[name].width
            if name == "ip.ttl" or self.rng.random() < 0.6:
                terms.append(f"{name} == {packet[name]:#x}")
            else:
                mask = self.rng.getrandbits(width) or 1
                terms.append(f"{name} == {packet[name] & mask:#x}/{mask:#x}")
        return " && ".join(terms)

    def actions(self) -> str:
        return " ".join(self.action() for _ in range(self.rng.randint(1, 8)))

    def action(self) -> str:
        rng = self.rng
        roots = [rng.choice(REGISTERS + HEADERS) for _ in range(2)]
        width = rng.randint(1, min(ROOTS[r].width for r in roots))
        if rng.random() < 0.3:
            width = min(ROOTS[r].width for r in roots)
        a, b = (self.subfield(r, width) for r in roots)
        whole = rng.choice(WHOLE)
        return rng.choice(
            [
                f"{a} = {b};",
                f"{a} <-> {b};",
                f"{a} = {rng.getrandbits(width):#x};",
                f"push({a}); {b} = {rng.getrandbits(width):#x}; pop({b});",
                f"{whole} = {rng.randint(1, (1 << ROOTS[whole].width) - 1)};",
                f"clone {{ {a} = {b}; reg3 = 5; }};",
            ]
        )

    def subfield(self, root: str, width: int) -> str:
        low = self.rng.randint(0, ROOTS[root].width - width)
        return f"{root}[{low}..{low + width - 1}]" if width > 1 else f"{root}[{low}]"


def events_of(bed: Bed, fields: Fields) -> list[tuple[str, bytes]]:
    """What the machine sends, in the form of Bed.received()."""
    machine = Machine(bed.compiler.rules(), members=bed.compiler.members())
    events = machine.send(context(fields), 1, 1)
    return [(f"p{e.port}", frame_of(e.words)) for e in events if not e.reason]


@pytest.mark.parametrize("seed", range(3))
def test_the_program_finds_the_rule_that_wins(bed: Bed, seed: int) -> None:
    dice = Dice(seed)
    bed.plug(1, 2)
    for n, priority in enumerate(dice.rng.sample(range(1000), FLOWS)):
        mark = f'eth.src = 0e:00:00:00:00:{n:02x}; outport = "vm2"; output;'
        bed.flow(0, 0, priority, dice.match(), mark)
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    classes = {len(r.mask) > lib.OVN_CLASS_M for r in bed.compiler.rules(1)}
    assert classes == {False, True}, "no key of the largest class"
    sent = 0
    for _ in range(PACKETS):
        fields = dice.packet()
        wanted = events_of(bed, fields)
        dropped = bed.all_dropped()
        bed.send("p1", frame(fields))
        assert bed.received(len(wanted)) == wanted
        assert bed.all_dropped() == dropped + (not wanted)
        sent += len(wanted)
    assert PACKETS / 4 < sent
    assert bed.nothing_received()


@pytest.mark.parametrize("seed", range(6))
def test_the_program_does_what_the_actions_say(bed: Bed, seed: int) -> None:
    dice = Dice(seed)
    bed.plug(1, 2)
    texts = {n: dice.actions() for n in range(1, LISTS)}
    for n, text in texts.items():
        bed.flow(0, 0, 10, f"tcp.src == {n}", f'{text} outport = "vm2"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    for n, text in texts.items():
        fields = dice.packet() | {"tcp.src": n}
        wanted = events_of(bed, fields)
        assert len(wanted) == 1
        bed.send("p1", frame(fields))
        assert bed.received(1) == wanted, text
    assert bed.drops() == {}
