# SPDX-License-Identifier: Apache-2.0
"""Frames between ports of one chassis: output, groups, loopback, replies, patches."""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.model import Datapath, Port, PortKind
from tests.support.dataplane import Bed, mac

FLOOD = 32768


def udp(src: int, dst: int, **ip: object) -> Packet:
    return (
        Ether(src=mac(src), dst=mac(dst))
        / IP(src=f"10.0.0.{src}", dst=f"10.0.0.{dst}", **ip)
        / UDP(sport=1000, dport=2000)
        / Raw(b"payload")
    )


def solicitation(src: int, target: str) -> Packet:
    return (
        Ether(src=mac(src), dst="33:33:ff:00:00:02")
        / IPv6(src=f"fd00::{src}", dst="ff02::1:ff00:2", hlim=255)
        / ICMPv6ND_NS(tgt=target)
        / ICMPv6NDOptSrcLLAddr(lladdr=mac(src))
    )


def only(received: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    assert len(received) == 1
    return received[0]


def test_a_frame_reaches_the_port_with_its_address(bed: Bed) -> None:
    bed.plug(1, 2, 3)
    bed.switch(1, 2, 3)
    frame = bytes(udp(1, 2))
    bed.send("p1", frame)
    assert only(bed.received(1)) == ("p2", frame)
    assert bed.nothing_received()
    assert bed.drops() == {}


def test_an_unknown_address_is_a_counted_drop(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.switch(1, 2)
    bed.send("p1", bytes(udp(1, 9)))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_NO_FLOW) == 1 == bed.all_dropped()


def test_a_group_reaches_every_member_but_the_sender(bed: Bed) -> None:
    bed.plug(1, 2, 3, 4)
    bed.group(FLOOD, "_MC_flood", (1, 2, 3, 4))
    bed.switch()
    frame = bytes(Ether(src=mac(2), dst="ff:ff:ff:ff:ff:ff") / Raw(b"x" * 46))
    bed.send("p2", frame)
    assert sorted(bed.received(3)) == [("p1", frame), ("p3", frame), ("p4", frame)]
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_LOOPBACK) == 1


def test_members_see_their_own_rewrites_only(bed: Bed) -> None:
    bed.plug(1, 2, 3)
    bed.group(FLOOD, "_MC_flood", (2, 3))
    bed.flow(0, 0, 0, "1", 'outport = "_MC_flood"; output;')
    bed.flow(1, 0, 10, 'outport == "vm2"', "ip4.src = 172.16.0.1; ip.ttl--; output;")
    bed.flow(1, 0, 10, 'outport == "vm3"', "udp.dst = 53; output;")
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2, ttl=64)))
    got = {port: Ether(data) for port, data in bed.received(2)}
    changed = udp(1, 2, ttl=63)
    changed[IP].src = "172.16.0.1"
    assert bytes(got["p2"]) == bytes(changed)  # scapy computes the checksums anew
    other = udp(1, 2, ttl=64)
    other[UDP].dport = 53
    assert bytes(got["p3"]) == bytes(other)


@pytest.mark.parametrize("proto", [TCP(flags="S"), UDP(), ICMP()])
def test_rewritten_headers_have_right_checksums(bed: Bed, proto: Packet) -> None:
    bed.plug(1, 2)
    bed.flow(
        0, 0, 0, "1", 'eth.src = 0e:00:00:00:00:01; ip4.dst = 1.2.3.4; ip.dscp = 10; ip.ttl = 7; '
        'outport = "vm2"; output;',
    )  # fmt: skip
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send(
        "p1", bytes(Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2") / proto)
    )
    wanted = (
        Ether(src="0e:00:00:00:00:01", dst=mac(2))
        / IP(src="10.0.0.1", dst="1.2.3.4", ttl=7, tos=40)
        / proto
    )
    assert only(bed.received(1)) == ("p2", bytes(wanted))


def test_rewritten_ipv6_headers_have_right_checksums(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(
        0, 0, 0, "1",
        'ip6.src = fd00::99; ip.dscp = 46; ip.ttl--; tcp.src = 8; outport = "vm2"; output;',
    )  # fmt: skip
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    sent = Ether(src=mac(1), dst=mac(2)) / IPv6(src="fd00::1", dst="fd00::2", fl=5) / TCP(sport=9)
    bed.send("p1", bytes(sent))
    wanted = (
        Ether(src=mac(1), dst=mac(2))
        / IPv6(src="fd00::99", dst="fd00::2", fl=5, hlim=63, tc=46 << 2)
        / TCP(sport=8)
    )
    assert only(bed.received(1)) == ("p2", bytes(wanted))


def test_arp_is_answered_by_the_program(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(
        0, 0, 50, "arp.op == 1 && arp.tpa == 10.0.0.2",
        f"eth.dst = eth.src; eth.src = {mac(2)}; arp.op = 2; arp.tha = arp.sha; "
        f"arp.sha = {mac(2)}; arp.tpa = arp.spa; arp.spa = 10.0.0.2; outport = inport; "
        "flags.loopback = 1; output;",
    )  # fmt: skip
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    ask = Ether(src=mac(1), dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=mac(1), psrc="10.0.0.1", pdst="10.0.0.2"
    )
    bed.send("p1", bytes(ask))
    answer = Ether(src=mac(2), dst=mac(1)) / ARP(
        op=2, hwsrc=mac(2), psrc="10.0.0.2", hwdst=mac(1), pdst="10.0.0.1"
    )
    assert only(bed.received(1)) == ("p1", bytes(answer))


def nd_flow(bed: Bed, verb: str) -> None:
    bed.flow(
        0, 0, 50, "nd_ns && nd.target == fd00::2",
        f"{verb} {{ eth.src = {mac(2)}; ip6.src = fd00::2; nd.target = fd00::2; "
        f"nd.tll = {mac(2)}; outport = inport; flags.loopback = 1; output; }};",
    )  # fmt: skip


@pytest.mark.parametrize(("verb", "router"), [("nd_na", 0), ("nd_na_router", 1)])
def test_a_neighbour_solicitation_is_answered_by_the_program(
    bed: Bed, verb: str, router: int
) -> None:
    bed.plug(1, 2)
    nd_flow(bed, verb)
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send("p1", bytes(solicitation(1, "fd00::2")))
    wanted = (
        Ether(src=mac(2), dst=mac(1))
        / IPv6(src="fd00::2", dst="fd00::1", hlim=255)
        / ICMPv6ND_NA(tgt="fd00::2", R=router, S=1, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=mac(2))
    )
    assert only(bed.received(1)) == ("p1", bytes(wanted))


def test_an_answer_leaves_the_question_whole_for_the_others(bed: Bed) -> None:
    """An NS without option is shorter than its NA: the frame grows and shrinks back."""
    bed.plug(1, 2, 3)
    bed.group(FLOOD, "_MC_flood", (2, 3))
    bed.flow(
        0, 0, 50, "nd_ns",
        'outport = "_MC_flood"; output; ' + "nd_na { eth.src = 02:00:00:00:00:02; "
        "ip6.src = fd00::2; nd.tll = 02:00:00:00:00:02; outport = inport; "
        'flags.loopback = 1; output; }; outport = "vm3"; output;',
    )  # fmt: skip
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    ask = (
        Ether(src=mac(1), dst="33:33:ff:00:00:02")
        / IPv6(src="::", dst="ff02::1:ff00:2", hlim=255)
        / ICMPv6ND_NS(tgt="fd00::2")
    )
    bed.send("p1", bytes(ask))
    got = bed.received(4)
    assert sorted(port for port, _ in got) == ["p1", "p2", "p3", "p3"]
    assert all(data == bytes(ask) for port, data in got if port != "p1")
    assert all(Ether(data)[ICMPv6ND_NA].tgt == "fd00::2" for port, data in got if port == "p1")


def test_clone_runs_on_a_copy(bed: Bed) -> None:
    bed.plug(1, 2, 3)
    bed.flow(
        0, 0, 0, "1",
        'clone { ip.ttl = 9; outport = "vm3"; output; }; outport = "vm2"; output;',
    )  # fmt: skip
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2)))
    got = dict(bed.received(2))
    assert got["p2"] == bytes(udp(1, 2))
    assert got["p3"] == bytes(udp(1, 2, ttl=9))


@pytest.mark.parametrize("pipeline", [0, 1])
def test_a_mirror_gets_a_copy_and_the_packet_goes_its_way(bed: Bed, pipeline: int) -> None:
    """As northd writes it: in a table of its own, in either pipeline."""
    bed.plug(1, 2, 3)
    bed.flow(pipeline, 0, 10, "eth.type == 0x88b5", 'mirror("vm3"); next;')
    bed.flow(pipeline, 1, 0, "1", "reg0 = 1; eth.src = 02:00:00:00:00:aa; next;")
    if pipeline:
        bed.flow(0, 0, 0, "1", 'outport = "vm2"; output;')
        bed.flow(1, 0, 90, 'outport == "vm3"', "output;")  # northd, too, mirrors no mirror
    else:
        bed.flow(0, 2, 0, "1", 'outport = "vm2"; output;')
        bed.flow(1, 0, 0, "reg0 == 0", "next;")
        bed.flow(1, 1, 0, "1", "next;")
    bed.flow(1, 2, 0, "1", "output;")
    bed.flows_live()
    sent = Ether(src=mac(1), dst=mac(2), type=0x88B5) / Raw(b"x" * 50)
    bed.send("p1", bytes(sent))
    found = dict(bed.received(2))
    assert found["p3"] == bytes(sent)
    assert Ether(found["p2"]).src == "02:00:00:00:00:aa"
    assert bed.all_dropped() == 0


def test_a_mirror_that_is_nowhere_gets_nothing(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 0, "1", 'mirror("nobody"); outport = "vm2"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    sent = bytes(Ether(src=mac(1), dst=mac(2), type=0x88B5) / Raw(b"x" * 50))
    bed.send("p1", sent)
    assert bed.received(1) == [("p2", sent)]
    assert bed.nothing_received() and bed.all_dropped() == 0


def test_a_patch_port_leads_into_the_peer_with_clean_registers(bed: Bed) -> None:
    bed.plug(1)
    bed.plug(2, dp=2)
    bed.world.ports |= {(1, "patch"): 5, (2, "patch"): 6}
    bed.apply(
        datapaths_added=[Datapath(2)],
        ports_added=[
            Port(1, 5, PortKind.PATCH, peer_dp=2, peer_port=6),
            Port(2, 6, PortKind.PATCH, peer_dp=1, peer_port=5),
        ],
    )
    bed.flow(0, 0, 0, "1", 'reg0 = 7; flags = 1; outport = "patch"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flow(
        0, 0, 10, 'inport == "patch" && reg0 == 0 && flags == 0', 'outport = "vm2"; output;', 2
    )
    bed.flow(1, 0, 0, "1", "output;", 2)
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2)))
    assert only(bed.received(1)) == ("p2", bytes(udp(1, 2)))


def test_registers_are_zero_in_the_egress_pipeline_and_flags_are_not(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 0, "1", 'reg9 = 7; flags = 2; outport = "vm2"; output;')
    bed.flow(1, 0, 10, "reg9 == 0 && flags == 2", "output;")
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2)))
    assert only(bed.received(1))[0] == "p2"


def test_a_loop_between_patch_ports_ends(bed: Bed) -> None:
    bed.plug(1)
    bed.world.ports |= {(1, "out"): 5, (2, "back"): 6}
    bed.apply(
        datapaths_added=[Datapath(2)],
        ports_added=[
            Port(1, 5, PortKind.PATCH, peer_dp=2, peer_port=6),
            Port(2, 6, PortKind.PATCH, peer_dp=1, peer_port=5),
        ],
    )
    bed.flow(0, 0, 0, "1", 'outport = "out"; flags.loopback = 1; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flow(0, 0, 0, "1", 'outport = "back"; flags.loopback = 1; output;', 2)
    bed.flow(1, 0, 0, "1", "output;", 2)
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2)))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_STEPS) == 1 == bed.all_dropped()


def test_nested_groups_do_not_use_up_saved_contexts(bed: Bed) -> None:
    """Each member of the group floods again: contexts must be given back."""
    bed.plug(1, 2)
    n = 40
    bed.group(FLOOD, "_MC_flood", tuple(range(100, 100 + n)))
    bed.apply(
        datapaths_added=[Datapath(2)],
        ports_added=[
            *(Port(1, 100 + i, PortKind.PATCH, peer_dp=2, peer_port=100 + i) for i in range(n)),
            *(Port(2, 100 + i, PortKind.PATCH, peer_dp=1, peer_port=100 + i) for i in range(n)),
            Port(2, 1, PortKind.PATCH, peer_dp=3, peer_port=1),
        ],
    )
    ifindex = bed.devices["v2"]
    bed.apply(ports_added=[Port(2, 2, PortKind.VIF, ifindex=ifindex)])
    bed.group(FLOOD, "_MC_flood", (2,), dp=2)
    bed.flow(0, 0, 0, "1", 'outport = "_MC_flood"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flow(0, 0, 0, "1", 'outport = "_MC_flood"; output;', 2)
    bed.flow(1, 0, 0, "1", "output;", 2)
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2)))
    assert len(bed.received(n)) == n
    assert bed.drops() == {}


def test_a_mac_is_learnt_and_found(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 0, "1", "reg0[11] = lookup_fdb(inport, eth.src); next;")
    bed.flow(0, 1, 10, "reg0[11] == 0", "put_fdb(inport, eth.src); next;")
    bed.flow(0, 1, 0, "1", "next;")
    bed.flow(0, 2, 0, "1", "outport = get_fdb(eth.dst); next;")
    bed.flow(0, 3, 10, 'outport == "none"', "drop;")
    bed.flow(0, 3, 0, "1", "output;")
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send("p1", bytes(udp(1, 2)))  # 2 is not known yet, 1 is from now on
    assert bed.dropped(lib.DROP_ACTION) == 1
    bed.send("p2", bytes(udp(2, 1)))
    assert only(bed.received(1)) == ("p1", bytes(udp(2, 1)))
    bed.send("p1", bytes(udp(1, 2)))
    assert only(bed.received(1)) == ("p2", bytes(udp(1, 2)))


def test_a_guest_s_place_is_not_learnt_from_a_localnet_port(bed: Bed) -> None:
    """Its frame went out by another chassis, and comes back by port 3."""
    bed.plug(1, 2, 3)
    bed.flow(0, 0, 9, 'inport == "vm3"', "flags.localnet = 1; next(pipeline=ingress,table=1);")
    bed.flow(0, 0, 0, "1", "next;")
    bed.flow(0, 1, 0, "1", "reg0[11] = lookup_fdb(inport, eth.src); next;")
    bed.flow(0, 2, 10, "reg0[11] == 0", "put_fdb(inport, eth.src); next;")
    bed.flow(0, 2, 0, "1", "next;")
    bed.flow(0, 3, 0, "1", "outport = get_fdb(eth.dst); next;")
    bed.flow(0, 4, 10, 'outport == "none"', "drop;")
    bed.flow(0, 4, 0, "1", "output;")
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    for guest, way in ((1, "p1"), (1, "p3"), (4, "p3"), (4, "p2")):
        bed.send(way, bytes(udp(guest, 9)))
    assert bed.dropped(lib.DROP_ACTION) == 4
    bed.send("p2", bytes(udp(9, 1)))
    assert only(bed.received(1)) == ("p1", bytes(udp(9, 1)))
    # What is behind the localnet port, and then elsewhere, is learnt as ever.
    bed.send("p3", bytes(udp(9, 4)))
    assert only(bed.received(1)) == ("p2", bytes(udp(9, 4)))


def test_a_container_behind_a_vif_is_told_by_its_tag(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.world.ports[1, "c"] = 7
    parent = bed.devices["v1"]
    bed.apply(ports_added=[Port(1, 7, PortKind.VIF, nested=True, ifindex=parent, vlan=42)])
    bed.flow(0, 0, 10, 'inport == "c" && !vlan.present', 'outport = "vm2"; output;')
    bed.flow(0, 0, 5, 'inport == "vm2"', 'outport = "c"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    inner = udp(1, 2)
    tagged = Ether(src=mac(1), dst=mac(2)) / Dot1Q(vlan=42) / inner[IP]
    bed.send("p1", bytes(tagged))
    assert only(bed.received(1)) == ("p2", bytes(inner))
