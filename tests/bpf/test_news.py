# SPDX-License-Identifier: Apache-2.0
"""What the program tells the agent, and the ports that sleep until their guest speaks."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.news import Item, Kind, News
from ovn_bpf_controller.datapath.records import word
from ovn_bpf_controller.model import Port, PortKind
from tests.support.dataplane import Bed, mac

ALL = "ff:ff:ff:ff:ff:ff"


@pytest.fixture
def news(bed: Bed) -> Iterator[News]:
    opened = News(bed.plane.maps["ovn_news"])
    try:
        yield opened
    finally:
        opened.close()


def arp(sender: str, target: str = "10.0.0.9", dst: str = ALL, op: int = 1) -> bytes:
    frame = Ether(src=mac(1), dst=dst) / ARP(op=op, hwsrc=mac(1), psrc=sender, pdst=target)
    return bytes(frame)


def told(news: News) -> list[Item]:
    """Frames of a veth have passed when send() returns, and so has what they tell."""
    return sorted(news.read(1000), key=lambda item: item.at)


def test_what_is_learnt_is_told_with_how_it_came(bed: Bed, news: News) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 0, "arp", "put_arp(inport, arp.spa, arp.sha); put_fdb(inport, eth.src);")
    bed.flows_live()
    bed.send("p1", arp("10.0.0.7"))
    bed.send("p1", arp("10.0.0.8", dst=mac(2)))
    assert select.select(news.fds, [], [], 0)[0]
    items = told(news)
    assert [(i.kind, i.group) for i in items] == [
        (Kind.NEIGHBOUR, True),
        (Kind.STATION, True),
        (Kind.NEIGHBOUR, False),
        (Kind.STATION, False),
    ]
    assert {(i.dp, i.port, i.mac) for i in items} == {(1, 1, int(mac(1).replace(":", ""), 16))}
    assert items[0].ip == 0xFFFF << 32 | 0x0A000007
    assert not news.lost()


def test_a_parent_speaks_for_a_virtual_port_that_is_known(bed: Bed, news: News) -> None:
    bed.plug(1)
    bed.world.ports[1, "vip"] = 9
    bed.flow(0, 0, 10, "arp.op == 1", 'bind_vport("vip", inport);')
    bed.flow(0, 0, 0, "arp", 'bind_vport("nobody", inport);')
    bed.flows_live()
    bed.send("p1", arp("10.0.0.7"))
    bed.send("p1", arp("10.0.0.7", op=2))
    assert [(i.kind, i.port, i.vport) for i in told(news)] == [(Kind.VIRTUAL, 1, 9)]


def test_more_than_a_source_may_tell_is_counted(bed: Bed, news: News) -> None:
    bed.plug(1)
    bed.flow(0, 0, 0, "arp", "put_arp(inport, arp.spa, arp.sha);")
    bed.flows_live()
    sent, heard = 20 * lib.OVN_PUNT_BURST, 0
    for n in range(sent):
        bed.send("p1", arp(f"10.0.{n // 200}.{n % 200}"))
        heard += len(told(news))
    control = ArrayMap("ovn_ctl", bed.plane.maps["ovn_ctl"])
    missed = control.words[word("struct ovn_ctl", "missed")]
    control.close()
    assert missed > 0 and heard + missed == sent and not news.lost()


def rarp() -> Packet:
    return ARP(op=3, hwsrc=mac(1), hwdst=mac(1), psrc="0.0.0.0", pdst="0.0.0.0")


def neighbour(kind: type[Packet]) -> Packet:
    return IPv6(src="fd00::1", dst="ff02::1", hlim=255) / kind(tgt="fd00::1")


WAKE = {
    "rarp": bytes(Ether(src=mac(1), dst=ALL, type=0x8035) / rarp()),
    "garp": arp("10.0.0.1", "10.0.0.1"),
    "na": bytes(Ether(src=mac(1), dst="33:33:00:00:00:01") / neighbour(ICMPv6ND_NA)),
}
OTHER = (
    arp("10.0.0.1", "10.0.0.2"),
    bytes(Ether(src=mac(1), dst="33:33:00:00:00:01") / neighbour(ICMPv6ND_NS)),
)


@pytest.mark.parametrize("way", list(WAKE))
def test_a_port_sleeps_until_its_guest_speaks(bed: Bed, news: News, way: str) -> None:
    bed.plug(1, 2)
    asleep = Port(1, 1, PortKind.VIF, ifindex=bed.devices["v1"], wakes=(way,))
    bed.apply(ports_added=[asleep])
    bed.flow(0, 0, 10, 'inport == "vm1"', 'outport = "vm2"; output;')
    bed.flow(0, 0, 0, "1", 'outport = "vm1"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    others = [*OTHER, *(frame for name, frame in WAKE.items() if name != way)]
    for frame in others:
        bed.send("p1", frame)
    bed.send("p2", WAKE["garp"])  # to it
    assert bed.dropped(lib.DROP_ASLEEP) == len(others) + 1
    assert bed.nothing_received() and not told(news)
    bed.send("p1", WAKE[way])
    ((where, frame),) = bed.received(1)
    assert (where, frame) == ("p2", WAKE[way])
    assert [(i.kind, i.dp, i.port) for i in told(news)] == [(Kind.AWAKE, 1, 1)]
    bed.apply(ports_added=[Port(1, 1, PortKind.VIF, ifindex=bed.devices["v1"])])
    bed.send("p1", OTHER[0])
    assert [where for where, _ in bed.received(1)] == ["p2"]
