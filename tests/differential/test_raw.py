# SPDX-License-Identifier: Apache-2.0
"""What actions do to fields, and how a trace says it: cases that random flows found.

Both answers are compared, and one line that the case is about is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.differential.compare import Network
from tests.differential.raw import tables

ETHER = 'inport == "a" && eth.src == 0a:00:00:00:00:01 && eth.dst == 0a:00:00:00:00:02'
IP4 = f"{ETHER} && ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2 && ip.ttl == 64"
IP6 = f"{ETHER} && ip6.src == fd00::1 && ip6.dst == ::10.0.0.2 && ip.ttl == 64"
TCP = f"{IP4} && tcp.src == 1000 && tcp.dst == 80 && tcp.flags == 0xa12"

CASES: dict[str, tuple[str, str, str]] = {
    "nothing is 0, not 0x0": ("pkt.mark = reg0;", ETHER, "pkt.mark = 0;"),
    "a part of a field is named with its bits": (
        "reg1 = 7; pkt.mark[8..11] = reg1[0..3];",
        ETHER,
        "pkt.mark[8..11] = 0x7;",
    ),
    "one bit has one number": ("pkt.mark[3] = reg0[9];", ETHER, "pkt.mark[3] = 0;"),
    "all bits of a field are the field": ("eth.dst[0..47] = 5;", ETHER, "eth.dst = 5;"),
    "a part of an address is a number": ("pkt.mark[0..7] = ip4.dst[0..7];", IP4, "= 0x2;"),
    "a whole one is an address": ("pkt.mark = ip4.dst;", IP4, "pkt.mark = 10.0.0.2;"),
    "an address that ends with one of IPv4 is written so": (
        "ip6.src = ip6.dst;",
        IP6,
        "ip6.src = ::10.0.0.2;",
    ),
    "flags of TCP have names, those without a number": (
        "pkt.mark[0..11] = tcp.flags;",
        TCP,
        "pkt.mark[0..11] = syn|ack|[200]|[800];",
    ),
    "so have fragments": (
        "pkt.mark[0..1] = ip.frag;",
        f"{IP4} && ip.frag == 1",
        "pkt.mark[0..1] = first;",
    ),
    "what is put by is told": ("reg1 = 5; push(reg1); reg1 = 7;", ETHER, "push(reg1) -> 0x5;"),
    "a packet may come with a connection": (
        "ip.ttl--;",
        f"{TCP} && ct_state == 0x22 && ct_mark == 5 && ct_label == 6",
        "# ct_state=est|trk,ct_mark=0x5,ct_label=0x6,tcp,",
    ),
}

POPPED, ASKED = len(CASES) + 1, len(CASES) + 2

#: More lists of actions, which cases below are about.
POP = "reg1 = 5; push(reg1); reg1 = 7; pop(reg1); pkt.mark = reg1;"
GET_ARP = 'outport = "b"; reg0 = 10.0.0.9; clone { get_arp(outport, reg0); };'
BOUND = {"logical_port": "b", "ip": "10.0.0.9", "mac": "0a:00:00:00:00:09"}


@pytest.fixture(scope="module")
def both() -> Iterator[Network]:
    """Every case is one table, for packets that ask for it in reg9."""
    lists = [(f"reg9 == {n}", case[0]) for n, case in enumerate(CASES.values(), 1)]
    lists += [(f"reg9 == {POPPED}", POP), (f"ip4 && reg9 == {ASKED}", GET_ARP)]
    with tables([(match, f"{actions} next;") for match, actions in lists], [BOUND]) as made:
        yield made


@pytest.mark.parametrize("name", CASES)
def test_raw(both: Network, name: str) -> None:
    _, packet, shown = CASES[name]
    packet += f" && reg9 == {list(CASES).index(name) + 1}"
    assert not both.differs("sw", packet)
    assert shown in both.found("sw", packet)


def test_what_comes_back_is_told(both: Network) -> None:
    """ovn-trace prints bytes that it never wrote in front of the value."""
    packet = f"{ETHER} && reg9 == {POPPED}"
    for said in (both.wanted("sw", packet), both.found("sw", packet)):
        assert "pop(reg1) <- 0x" in said
        assert "5;\npkt.mark = 0x5;" in said
    assert "pop(reg1) <- 0x5;" in both.found("sw", packet)


def test_an_answer_at_the_end_of_a_block_is_told(both: Network) -> None:
    packet = f"{IP4} && reg9 == {ASKED}"
    assert not both.differs("sw", packet)
    assert "eth.dst = 0a:00:00:00:00:09;" in both.found("sw", packet)
