# SPDX-License-Identifier: Apache-2.0
"""Verbs of routers between regions and of stateless NAT: flood_remote, and the quoted source.

What flood_remote sends and takes is that of OVN's physical.c since 25.03: the option
names no outport, and only ARP replies and neighbour advertisements come in.
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.model import FLOOD_REMOTE, Port, PortKind
from tests.bpf.test_tunnels import geneve, option, outer_fields, payload
from tests.support.dataplane import Bed, mac
from tests.support.sums import assert_right

ARP_REPLY = Ether(src=mac(3), dst=mac(2)) / ARP(op=2, hwsrc=mac(3), psrc="10.0.0.3")
ADVERTISEMENT = (
    Ether(src=mac(3), dst=mac(2))
    / IPv6(src="fd00::3", dst="fd00::2", hlim=255)
    / ICMPv6ND_NA(tgt="fd00::3")
    / ICMPv6NDOptDstLLAddr(lladdr=mac(3))
)


def regions(bed: Bed, *chassis: str) -> None:
    """A transit router's first table; port 3 is in another region."""
    underlay = bed.device("u0", "w0", "ovn_underlay")
    for n, name in enumerate(chassis):
        bed.tunnel(name, underlay, remote=f"192.0.2.{n + 2}")
    bed.plug(1, 2)
    bed.world.ports[1, "vm3"] = 3
    bed.apply(ports_added=[Port(1, 3, PortKind.REMOTE, chassis=chassis[0])])
    bed.group(FLOOD_REMOTE, "regions", (), *chassis)
    bed.flow(0, 0, 90, "arp.op == 2 || nd_na", "flood_remote; next;")
    bed.flow(0, 1, 60, "flags.tunnel_rx == 1", "reg0 = 1; next(2);")
    bed.flow(0, 2, 0, "reg0 == 1", 'outport = "vm2"; output;')
    bed.switch(1, 2, 3)


def test_the_number_of_the_group_is_the_programs() -> None:
    assert FLOOD_REMOTE == lib.OVN_FLOOD_REMOTE


def test_a_reply_goes_to_every_region_and_on(bed: Bed) -> None:
    regions(bed, "az1", "az2")
    sent = bytes(Ether(src=mac(1), dst=mac(2)) / ARP(op=2, hwsrc=mac(1), psrc="10.0.0.1"))
    bed.send("p1", sent)
    got = bed.received(3)
    assert [data for where, data in got if where == "p2"] == [sent]
    copies = [Ether(data) for where, data in got if where == "w0"]
    assert sorted(copy[IP].dst for copy in copies) == ["192.0.2.2", "192.0.2.3"]
    for copy in copies:
        assert bytes(copy[UDP].payload.options[0]) == bytes(option(1, 0))
        assert bytes(copy[UDP].payload.payload) == sent
    assert bed.drops() == {}


def test_where_there_are_no_other_regions_nothing_is_flooded(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 90, "arp.op == 2", "flood_remote; next;")
    bed.switch(1, 2)
    bed.send("p1", bytes(Ether(src=mac(1), dst=mac(2)) / ARP(op=2)))
    assert [where for where, _ in bed.received(1)] == ["p2"]
    assert bed.drops() == {}


@pytest.mark.parametrize("inner", [ARP_REPLY, ADVERTISEMENT], ids=["arp", "nd"])
def test_what_another_region_floods_begins_here_and_goes_no_further(
    bed: Bed, inner: Packet
) -> None:
    """Ingress table 1 sees flags.tunnel_rx; a second flood would go round in circles."""
    regions(bed, "az1")
    bed.send("w0", bytes(geneve(inner, 3, 0)))
    [(where, data)] = bed.received(1)
    assert (where, data) == ("p2", bytes(inner))
    assert bed.nothing_received()
    assert bed.drops() == {}


@pytest.mark.parametrize(
    "inner",
    [payload(3, 2), Ether(src=mac(3), dst=mac(2)) / ARP(op=1)],
    ids=["udp", "request"],
)
def test_nothing_else_may_come_without_an_outport(bed: Bed, inner: Packet) -> None:
    regions(bed, "az1")
    bed.send("w0", bytes(geneve(inner, 3, 0)))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_TUN_VNI) == 1


def test_a_port_that_is_not_known_floods_nothing(bed: Bed) -> None:
    regions(bed, "az1")
    bed.send("w0", bytes(geneve(ARP_REPLY, 77, 0)))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_TUN_VNI) == 1


def test_a_flood_keeps_what_it_was_when_the_list_goes_on(bed: Bed) -> None:
    """The copies are sent at the end, but are of the time of the verb."""
    underlay = bed.device("u0", "w0", "ovn_underlay")
    bed.tunnel("az1", underlay)
    bed.plug(1, 2)
    bed.group(FLOOD_REMOTE, "regions", (), "az1")
    bed.flow(0, 0, 90, "arp", 'flood_remote; arp.op = 1; outport = "vm2"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send("p1", bytes(Ether(src=mac(1), dst=mac(2)) / ARP(op=2)))
    got = dict(bed.received(2))
    assert Ether(got["p2"])[ARP].op == 1
    _, inner = outer_fields(got["w0"], False)
    assert inner[ARP].op == 2


# --- icmp4.inner_ip4.src ------------------------------------------------------------


def error(kind: int, quoted: Packet) -> Packet:
    return Ether(src=mac(1), dst=mac(2)) / IP(src="192.0.2.9", dst="172.16.0.1") / ICMP(
        type=kind, code=0
    ) / Raw(bytes(quoted))  # fmt: skip


def rewritten(bed: Bed, sent: Packet) -> Packet:
    """What comes of stateless NAT as northd writes it since 26.09."""
    bed.plug(1, 2)
    bed.flow(
        *(0, 0, 90, "icmp4.type == {3, 5, 11, 12}"),
        "ip4.dst = 10.0.0.2; icmp4.inner_ip4.src = 10.0.0.2; next;",
    )
    bed.switch(1, 2)
    bed.send("p1", bytes(sent))
    [(where, data)] = bed.received(1)
    assert where == "p2"
    return Ether(data)


@pytest.mark.parametrize("kind", [3, 11, 12])
@pytest.mark.parametrize("l4", [UDP(sport=1, dport=2), TCP(sport=1, dport=2)], ids=["udp", "tcp"])
def test_the_source_of_a_quoted_packet_is_put_back(bed: Bed, kind: int, l4: Packet) -> None:
    quoted = IP(src="172.16.0.1", dst="192.0.2.7") / l4 / Raw(b"some more")
    got = rewritten(bed, error(kind, quoted))
    assert got[IP].dst == "10.0.0.2"
    inner = IP(bytes(got[ICMP].payload))
    assert (inner.src, inner.dst) == ("10.0.0.2", "192.0.2.7")
    assert_right(bytes(got))


def test_a_redirect_keeps_what_it_quotes(bed: Bed) -> None:
    quoted = IP(src="172.16.0.1", dst="192.0.2.7") / UDP(sport=1, dport=2) / Raw(b"some more")
    got = rewritten(bed, error(5, quoted))
    assert got[IP].dst == "10.0.0.2"
    assert bytes(got[ICMP].payload) == bytes(quoted)


def test_a_bad_checksum_of_a_quoted_header_stays_bad(bed: Bed) -> None:
    quoted = IP(src="172.16.0.1", dst="192.0.2.7", chksum=0x1234) / UDP() / Raw(b"some more")
    right = IP(bytes(IP(src="172.16.0.1", dst="192.0.2.7") / UDP() / Raw(b"some more"))).chksum
    inner = IP(bytes(rewritten(bed, error(3, quoted))[ICMP].payload))
    put = IP(bytes(IP(src="10.0.0.2", dst="192.0.2.7") / UDP() / Raw(b"some more"))).chksum
    assert inner.src == "10.0.0.2"
    assert (inner.chksum - 0x1234) % 0xFFFF == (put - right) % 0xFFFF


def test_a_quotation_that_is_cut_short_stays_as_it_is(bed: Bed) -> None:
    quoted = IP(src="172.16.0.1", dst="192.0.2.7") / Raw(b"1234")
    got = rewritten(bed, error(3, quoted))
    assert bytes(got[ICMP].payload)[: len(quoted)] == bytes(quoted)
