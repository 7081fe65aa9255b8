# SPDX-License-Identifier: Apache-2.0
"""Geneve, inline: what goes to another chassis, and what is taken from one."""

from __future__ import annotations

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.model import Datapath, McGroup, Port, PortKind
from tests.support.dataplane import Bed, mac

FLOOD = 32768
LOCAL4, REMOTE4 = "192.0.2.1", "192.0.2.2"
LOCAL6, REMOTE6 = "2001:db8::1", "2001:db8::2"
PORTS = 0x80  # OVN's option: type 0x80 of class 0x102


def payload(src: int, dst: int, size: int = 8) -> Packet:
    return (
        Ether(src=mac(src), dst=mac(dst))
        / IP(src=f"10.0.0.{src}", dst=f"10.0.0.{dst}")
        / UDP(sport=1, dport=2)
        / Raw(b"x" * size)
    )


def option(inport: int, outport: int) -> GeneveOptions:
    data = (inport << 16 | outport).to_bytes(4, "big")
    return GeneveOptions(classid=0x102, type=PORTS, data=data)


def geneve(
    inner: Packet,
    inport: int,
    outport: int,
    *,
    ip6: bool = False,
    src: str = "",
    vni: int = 1,
    options: list[GeneveOptions] | None = None,
) -> Packet:
    """What the chassis at REMOTE sends to us."""
    outer = (
        IPv6(src=src or REMOTE6, dst=LOCAL6) if ip6 else IP(src=src or REMOTE4, dst=LOCAL4, id=0)
    )
    return (
        Ether(src="0a:00:00:00:00:02", dst="0a:00:00:00:00:01")
        / outer
        / UDP(sport=40000, dport=6081, chksum=0)
        / GENEVE(
            proto=0x6558,
            vni=vni,
            options=options if options is not None else [option(inport, outport)],
        )
        / inner
    )


def remote_bed(bed: Bed, *, ip6: bool = False, mtu: int = 1500) -> None:
    """Ports 1 and 2 here, port 3 on chassis hv2, a flood group over all."""
    underlay = bed.device("u0", "w0", "ovn_underlay")
    addresses = {"local": LOCAL6, "remote": REMOTE6} if ip6 else {}
    bed.tunnel("hv2", underlay, mtu=mtu, **addresses)
    bed.plug(1, 2)
    bed.world.ports[1, "vm3"] = 3
    bed.apply(ports_added=[Port(1, 3, PortKind.REMOTE, chassis="hv2")])
    bed.group(FLOOD, "_MC_flood", (1, 2), "hv2")
    bed.switch(1, 2, 3)


def outer_fields(data: bytes, ip6: bool) -> tuple[GENEVE, Packet]:
    """Checks the outer headers; returns the Geneve layer and the inner frame."""
    frame = Ether(data)
    assert (frame.src, frame.dst) == ("0a:00:00:00:00:01", "0a:00:00:00:00:02")
    ip = frame[IPv6] if ip6 else frame[IP]
    assert (ip.src, ip.dst) == ((LOCAL6, REMOTE6) if ip6 else (LOCAL4, REMOTE4))
    if not ip6:
        assert ip.len == len(data) - 14
        assert ip.flags.DF
        again = Ether(data)
        del again[IP].chksum
        assert bytes(again)[:34] == data[:34]  # the header checksum was right
    udp = frame[UDP]
    assert udp.dport == 6081
    assert udp.len == len(bytes(udp))
    assert udp.chksum == 0
    assert udp.sport >= 32768
    tunnel = frame[GENEVE]
    assert tunnel.proto == 0x6558
    assert tunnel.critical == 1
    return tunnel, tunnel.payload


@pytest.mark.parametrize("ip6", [False, True])
def test_a_frame_for_another_chassis_is_encapsulated(bed: Bed, ip6: bool) -> None:
    remote_bed(bed, ip6=ip6)
    sent = payload(1, 3)
    bed.send("p1", bytes(sent))
    [(where, data)] = bed.received(1)
    assert where == "w0"
    tunnel, inner = outer_fields(data, ip6)
    assert tunnel.vni == 1
    assert bytes(tunnel.options[0]) == bytes(option(1, 3))
    assert bytes(inner) == bytes(sent)
    assert bed.drops() == {}


@pytest.mark.parametrize("ip6", [False, True])
def test_a_broadcast_goes_to_members_here_and_once_to_the_chassis(bed: Bed, ip6: bool) -> None:
    """ARP: the kernel's helper for encapsulation refuses what is not IP."""
    remote_bed(bed, ip6=ip6)
    ask = Ether(src=mac(1), dst="ff:ff:ff:ff:ff:ff") / ARP(psrc="10.0.0.1", pdst="10.0.0.9")
    bed.send("p1", bytes(ask))
    got = dict(bed.received(2))
    assert got["p2"] == bytes(ask)
    tunnel, inner = outer_fields(got["w0"], ip6)
    assert bytes(tunnel.options[0]) == bytes(option(1, FLOOD))
    assert bytes(inner) == bytes(ask)
    assert bed.nothing_received()


def test_every_chassis_of_a_group_gets_a_copy_of_its_own(bed: Bed) -> None:
    underlay = bed.device("u0", "w0", "ovn_underlay")
    remotes = {f"hv{n}": f"192.0.2.{n}" for n in range(2, 7)}
    for name, address in remotes.items():
        bed.tunnel(name, underlay, remote=address)
    bed.plug(1, 2)
    bed.group(FLOOD, "_MC_flood", (1, 2), *remotes)
    bed.flow(0, 0, 0, "1", 'ip.ttl--; outport = "_MC_flood"; output;')
    bed.flow(1, 0, 0, "1", "ip.ttl--; output;")
    bed.flows_live()
    bed.send("p1", bytes(payload(1, 9)))
    got = bed.received(6)
    tunnelled = [Ether(data) for where, data in got if where == "w0"]
    assert sorted(f[IP].dst for f in tunnelled) == sorted(remotes.values())
    assert {f[GENEVE].payload[IP].ttl for f in tunnelled} == {63}  # ingress only
    assert [Ether(data)[IP].ttl for where, data in got if where == "p2"] == [62]


@pytest.mark.parametrize("ip6", [False, True])
@pytest.mark.parametrize("kind", ["udp", "arp"])
def test_a_packet_from_the_tunnel_enters_the_egress_pipeline(
    bed: Bed, ip6: bool, kind: str
) -> None:
    remote_bed(bed, ip6=ip6)
    inner = payload(3, 2) if kind == "udp" else Ether(src=mac(3), dst=mac(2)) / ARP(op=2)
    bed.send("w0", bytes(geneve(inner, 3, 2, ip6=ip6)))
    [(where, data)] = bed.received(1)
    assert where == "p2"
    # A short frame behind IPv6 comes out padded, as Ethernet allows.
    assert data[: len(bytes(inner))] == bytes(inner)
    assert not any(data[len(bytes(inner)) :])
    assert bed.drops() == {}


def test_a_group_from_the_tunnel_is_replicated_here_only(bed: Bed) -> None:
    remote_bed(bed)
    inner = Ether(src=mac(3), dst="ff:ff:ff:ff:ff:ff") / ARP()
    bed.send("w0", bytes(geneve(inner, 3, FLOOD)))
    assert sorted(where for where, _ in bed.received(2)) == ["p1", "p2"]
    assert bed.nothing_received()


def test_what_every_chassis_has_is_no_member_for_the_tunnel(bed: Bed) -> None:
    """Patch ports and localports were served by the sender; gateways are here alone."""
    remote_bed(bed)
    ifindex = bed.device("v4", "p4", "ovn_vif")
    bed.apply(
        datapaths_added=[Datapath(2), Datapath(3)],
        ports_added=[
            Port(1, 4, PortKind.VIF, localport=True, ifindex=ifindex),
            Port(1, 5, PortKind.PATCH, peer_dp=2, peer_port=1),
            Port(2, 1, PortKind.PATCH, peer_dp=1, peer_port=5),
            Port(1, 6, PortKind.PATCH, gateway=True, peer_dp=3, peer_port=1),
            Port(3, 1, PortKind.PATCH, gateway=True, peer_dp=1, peer_port=6),
        ],
        groups_added=[McGroup(1, FLOOD + 1, (1, 4, 5, 6), ("hv2",))],
    )
    bed.world.ports[1, "_MC_all"] = FLOOD + 1
    # Both datapaths answer by sending to vm2, each with a mark of its own.
    for dp, ttl in ((2, 22), (3, 33)):
        back = f"ip.ttl = {ttl}; outport = inport; flags.loopback = 1; output;"
        bed.flow(0, 0, 0, "1", back, dp=dp)
        bed.flow(1, 0, 0, "1", "output;", dp=dp)
    bed.flow(0, 0, 200, "ip.ttl == {22, 33}", 'outport = "vm2"; output;')
    bed.flow(0, 0, 90, "udp.dst == 2", 'outport = "_MC_all"; output;')
    bed.flows_live()
    bed.send("w0", bytes(geneve(payload(3, 9), 3, FLOOD + 1)))
    got = {(where, Ether(data)[IP].ttl) for where, data in bed.received(2)}
    assert got == {("p1", 64), ("p2", 33)}
    assert bed.nothing_received()
    bed.send("p2", bytes(payload(2, 9)))
    seen = [(where, data) for where, data in bed.received(5)]
    assert sorted(where for where, _ in seen) == ["p1", "p2", "p2", "p4", "w0"]
    assert {Ether(data)[IP].ttl for where, data in seen if where == "p2"} == {22, 33}


def test_options_that_are_not_ours_are_passed_over_unless_critical(bed: Bed) -> None:
    remote_bed(bed)
    other = GeneveOptions(classid=0x1234, type=1, data=b"abcd")
    bed.send("w0", bytes(geneve(payload(3, 2), 0, 0, options=[other, option(3, 2)])))
    assert bed.received(1)[0][0] == "p2"
    critical = GeneveOptions(classid=0x1234, type=0x81, data=b"abcd")
    bed.send("w0", bytes(geneve(payload(3, 2), 0, 0, options=[critical, option(3, 2)])))
    assert bed.dropped(lib.DROP_TUN_OPTION) == 1 == bed.all_dropped()


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (geneve(payload(3, 2), 3, 2, src="192.0.2.77"), lib.DROP_TUN_SENDER),
        (geneve(payload(3, 2), 3, 2, vni=999), lib.DROP_TUN_VNI),
        (geneve(payload(3, 2), 3, 77), lib.DROP_TUN_VNI),
        (geneve(payload(3, 2), 3, 40000), lib.DROP_TUN_VNI),
        (geneve(payload(3, 3), 3, 3), lib.DROP_NOT_BOUND),
        (geneve(payload(3, 2), 0, 0, options=[]), lib.DROP_TUN_OPTION),
        (
            geneve(
                payload(3, 2),
                0,
                0,
                options=[GeneveOptions(classid=0x102, type=PORTS, data=b"a" * 8)],
            ),
            lib.DROP_TUN_OPTION,
        ),
        (geneve(Raw(b"short"), 3, 2), lib.DROP_MALFORMED),
    ],
)
def test_what_must_not_come_in_is_a_counted_drop(bed: Bed, packet: Packet, reason: int) -> None:
    remote_bed(bed)
    bed.send("w0", bytes(packet))
    assert bed.nothing_received()
    assert bed.dropped(reason) == 1 == bed.all_dropped()


def test_other_traffic_of_the_underlay_is_left_alone(bed: Bed) -> None:
    """TC_ACT_UNSPEC: the host's own stack, and other programs, get it."""
    remote_bed(bed)
    ifindex = bed.devices["u0"]
    outer = Ether() / IP(src=REMOTE4, dst=LOCAL4)
    for packet in (outer / UDP(dport=53), outer / TCP(dport=6081), Ether() / ARP(), Ether() / b"?"):
        data = bytes(packet).ljust(60, b"\0")
        assert bed.run("ovn_underlay", data, ifindex).verdict == 0xFFFFFFFF
    assert bed.drops() == {}


@pytest.mark.parametrize("ip6", [False, True])
def test_a_packet_too_big_for_the_tunnel_is_answered(bed: Bed, ip6: bool) -> None:
    remote_bed(bed)
    size = 1442 - 20 - 8 + 1  # one byte more than fits
    sent = payload(1, 3, size)
    if ip6:
        sent = Ether(src=mac(1), dst=mac(3)) / IPv6(src="fd00::1", dst="fd00::3") / UDP()
        sent /= Raw(b"x" * (size - 20))
    data = bytes(sent)
    bed.send("p1", data)
    [(where, answer)] = bed.received(1)
    assert where == "p1"
    got = Ether(answer)
    assert (got.src, got.dst) == (mac(3), mac(1))
    again = Ether(answer)
    if ip6:
        error = got[ICMPv6PacketTooBig]
        assert (got[IPv6].src, got[IPv6].dst, error.mtu) == ("fd00::3", "fd00::1", 1442)
        assert len(answer) == 14 + 1280
        assert data[14:].startswith(answer[14 + 40 + 8 :])
        del again[ICMPv6PacketTooBig].cksum
    else:
        error = got[ICMP]
        assert (error.type, error.code, error.nexthopmtu) == (3, 4, 1442)
        assert (got[IP].src, got[IP].dst) == ("10.0.0.3", "10.0.0.1")
        assert data[14:].startswith(answer[14 + 20 + 8 :])
        del again[ICMP].chksum
        del again[IP].chksum
    assert bytes(again) == answer
    assert bed.dropped(lib.DROP_TOO_BIG) == 1 == bed.all_dropped()


def test_the_largest_packet_that_fits_goes_through(bed: Bed) -> None:
    remote_bed(bed)
    bed.send("p1", bytes(payload(1, 3, 1442 - 20 - 8)))
    [(where, data)] = bed.received(1)
    assert where == "w0"
    assert len(data) == 14 + 1500


def test_no_answer_goes_to_a_multicast_sender(bed: Bed) -> None:
    remote_bed(bed)
    frame = Ether(src=mac(1), dst="ff:ff:ff:ff:ff:ff") / IP(src="10.0.0.1", dst="10.0.0.255")
    bed.send("p1", bytes(frame / UDP() / Raw(b"x" * 1500)))
    assert [where for where, _ in bed.received(1)] == ["p2"]
    assert bed.dropped(lib.DROP_TOO_BIG_QUIET) == 1


def test_without_the_next_hops_mac_only_what_needs_it_is_lost(bed: Bed) -> None:
    underlay = bed.device("u0", "w0", "ovn_underlay")
    bed.tunnel("hv2", underlay, src_mac=b"", dst_mac=b"")
    bed.plug(1)
    bed.world.ports[1, "vm3"] = 3
    bed.apply(ports_added=[Port(1, 3, PortKind.REMOTE, chassis="hv2")])
    bed.switch(3)
    bed.send("p1", bytes(Ether(src=mac(1), dst=mac(3)) / ARP(op=2)))
    assert bed.dropped(lib.DROP_TUN_NEIGH) == 1 == bed.all_dropped()


def test_a_localports_traffic_stays_here(bed: Bed) -> None:
    remote_bed(bed)
    ifindex = bed.device("v9", "p9", "ovn_vif")
    bed.apply(ports_added=[Port(1, 9, PortKind.VIF, localport=True, ifindex=ifindex)])
    bed.send("p9", bytes(payload(9, 3)))
    assert bed.dropped(lib.DROP_LOCALPORT) == 1 == bed.all_dropped()
    bed.send("p9", bytes(Ether(src=mac(9), dst="ff:ff:ff:ff:ff:ff") / ARP()))
    assert sorted(where for where, _ in bed.received(2)) == ["p1", "p2"]
    assert bed.nothing_received()
