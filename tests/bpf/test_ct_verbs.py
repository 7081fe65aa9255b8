# SPDX-License-Identifier: Apache-2.0
"""Verbs of connection tracking from logical flows to frames.

What the tracker makes of packets is shown elsewhere; here it is what each verb asks
of it, and what the program remembers for the verbs that learn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.compiler import Traits
from ovn_bpf_controller.compile.load_balancer import Central, LoadBalancer, expand
from ovn_bpf_controller.datapath.conntrack import Conntrack
from ovn_bpf_controller.datapath.learnt import _entries
from ovn_bpf_controller.model import Datapath, Port, PortKind
from tests.support.dataplane import Bed, bed, mac

ZONE, DNAT, SNAT = 5, 11, 12
PORTS = (1, 2, 3)
VIP = {4: "30.0.0.1", 6: "fd30::1"}
SWITCH, ROUTER = Traits(), Traits(router=True)
NEW_SWITCH = Traits(consolidated=True)


@pytest.fixture(name="plugged", scope="module")
def _plugged() -> Iterator[Bed]:
    with bed() as made:
        rows = []
        for port in PORTS:
            ifindex = made.device(f"v{port}", f"p{port}", "ovn_vif")
            rows.append(Port(1, port, PortKind.VIF, ifindex=ifindex, ct_zone=ZONE))
            made.world.ports[1, f"vm{port}"] = port
        made.apply(ports_added=rows)  # type: ignore[arg-type]
        made.apply(datapaths_added=[Datapath(1, DNAT, SNAT)])
        yield made


@pytest.fixture(name="one")
def _one(plugged: Bed) -> Iterator[Bed]:
    """Port 1 is a client; flows that set outport find an egress pipeline."""
    plugged.flow(1, 0, 0, "1", "output;")
    yield plugged
    for number in range(plugged._numbers):
        plugged.compiler.remove_flow(str(number + 1))
    plugged.compiler.set_side_rules("lb", (), ())
    plugged.flows_live()
    plugged.world.kinds.clear()
    with tracker(plugged) as conntrack:
        conntrack.flush_all()


@contextmanager
def tracker(made: Bed) -> Iterator[Conntrack]:
    found = Conntrack(made.plane.maps, made.plane.programs)
    try:
        yield found
    finally:
        found.close()


def host(version: int, number: int) -> str:
    return f"10.0.0.{number}" if version == 4 else f"fd10::{number}"


def udp(src: str, sport: int, dst: str, dport: int) -> Packet:
    ip = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
    return ip / UDP(sport=sport, dport=dport) / b"data"


def sent(made: Bed, packet: Packet, port: int = 1, ethernet: str = "") -> tuple[str, Packet]:
    """Where the packet came out, and as what."""
    frame = Ether(src=ethernet or mac(port), dst=mac(9)) / packet
    made.send(f"p{port}", bytes(frame))
    ((where, data),) = made.received(1)
    return where, Ether(data).payload


def tuple_of(packet: Packet) -> tuple[str, int, str, int]:
    return packet.src, packet[UDP].sport, packet.dst, packet[UDP].dport


def test_what_was_committed_is_seen_by_the_next_packet(one: Bed) -> None:
    one.flow(0, 0, 0, "ip", "ct_next;")
    one.flow(
        0,
        1,
        10,
        "ct.new",
        "reg3 = 77; ct_commit { ct_mark = 5/7; ct_label.ecmp_reply_eth = eth.src; "
        'ct_label.label = reg3; }; outport = "vm2"; output;',
    )
    label = "ct_label.label == 77 && ct_label.ecmp_reply_eth == " + mac(1)
    one.flow(0, 1, 10, f"ct.est && ct_mark == 5 && {label}", 'outport = "vm3"; output;')
    one.flow(0, 1, 0, "1", "drop;")
    one.flows_live()
    packet = udp(host(4, 1), 1000, host(4, 2), 53)
    assert sent(one, packet)[0] == "p2"
    assert sent(one, udp(host(4, 2), 53, host(4, 1), 1000), 2)[0] == "p3"
    assert sent(one, packet)[0] == "p3"


def test_what_follows_a_verb_with_a_table_is_untracked(one: Bed) -> None:
    one.flow(0, 0, 0, "ip", "ct_next; next(pipeline=ingress,table=2);")
    one.flow(0, 1, 0, "ct.new", 'outport = "vm2"; output;')
    one.flow(0, 2, 10, "!ct.trk", 'outport = "vm3"; output;')
    one.flow(0, 2, 0, "1", "drop;")
    one.flows_live()
    one.send("p1", bytes(Ether(src=mac(1), dst=mac(9)) / udp("10.0.0.1", 1, "10.0.0.2", 2)))
    assert sorted(where for where, _ in one.received(2)) == ["p2", "p3"]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("verb", "natted"), [("ct_lb_mark", "ct_mark"), ("ct_lb", "ct_label")])
def test_a_balancer_leads_to_its_backend_and_back(
    one: Bed, version: int, verb: str, natted: str
) -> None:
    vip, backend, client = VIP[version], host(version, 2), host(version, 1)
    written = f"{backend}:8080" if version == 4 else f"[{backend}]:8080"
    ip = f"ip{version}"
    one.flow(0, 0, 10, f"{ip}.dst == {vip} && udp.dst == 80", f"{verb}(backends={written});")
    one.flow(0, 0, 10, f"{ip}.src == {backend}", f"{verb};")
    to = f"{natted}.natted == 1 && {ip}.dst == {backend} && udp.dst == 8080 && ct.dnat"
    back = f"{natted}.natted == 1 && {ip}.src == {vip} && udp.src == 80 && ct.rpl"
    one.flow(0, 1, 10, to, 'outport = "vm2"; output;')
    one.flow(0, 1, 10, back, 'outport = "vm1"; flags.loopback = 1; output;')
    one.flow(0, 1, 0, "1", "drop;")
    one.flows_live()
    where, packet = sent(one, udp(client, 1000, vip, 80))
    assert (where, tuple_of(packet)) == ("p2", (client, 1000, backend, 8080))
    where, packet = sent(one, udp(backend, 8080, client, 1000), 2)
    assert (where, tuple_of(packet)) == ("p1", (vip, 80, client, 1000))


def test_all_backends_are_used_and_a_connection_keeps_its_own(one: Bed) -> None:
    one.flow(
        0, 0, 0, "ip4", "ct_lb_mark(backends=10.0.0.2:80,10.0.0.3:80,10.0.0.4:80,10.0.0.5:80);"
    )
    one.flow(0, 1, 0, "1", 'outport = "vm2"; output;')
    one.flows_live()
    found = {}
    for port in range(1000, 1100):  # one is left out at odds of 4 * 0.75 ** 100 = 1.3e-12
        found[port] = sent(one, udp("10.0.0.1", port, VIP[4], 80))[1].dst
    assert set(found.values()) == {f"10.0.0.{n}" for n in (2, 3, 4, 5)}
    for port, backend in found.items():
        assert sent(one, udp("10.0.0.1", port, VIP[4], 80))[1].dst == backend


def test_a_balancer_whose_backends_are_elsewhere_drops(one: Bed) -> None:
    one.flow(0, 0, 0, "ip4", 'ct_lb_mark_local(backends="far":10.0.0.2:80);')
    one.flows_live()
    before = one.dropped(lib.DROP_NO_BACKEND)
    one.send("p1", bytes(Ether(src=mac(1), dst=mac(9)) / udp("10.0.0.1", 1, VIP[4], 80)))
    assert one.nothing_received()
    assert one.dropped(lib.DROP_NO_BACKEND) == before + 1


def test_addresses_of_a_router_are_translated_in_its_zones(one: Bed) -> None:
    one.world.kinds[1] = ROUTER
    one.flow(0, 0, 10, "ip4.src == 10.0.0.1", "ct_snat(192.0.2.1, 2000-2001);")
    one.flow(0, 0, 10, "ip4.dst == 192.0.2.1", "ct_snat;")
    one.flow(0, 1, 10, "ct.snat", 'outport = "vm2"; output;')
    one.flow(0, 1, 10, "ct.dnat && ct.rpl", 'outport = "vm1"; output;')
    one.flow(0, 1, 0, "1", "drop;")
    one.flows_live()
    where, packet = sent(one, udp("10.0.0.1", 1000, "8.8.8.8", 53))
    assert where == "p2" and packet.src == "192.0.2.1"
    port = packet[UDP].sport
    assert port in (2000, 2001)
    where, packet = sent(one, udp("8.8.8.8", 53, "192.0.2.1", port), 2)
    assert (where, tuple_of(packet)) == ("p1", ("8.8.8.8", 53, "10.0.0.1", 1000))
    with tracker(one) as conntrack:
        assert {each.zone for batch in conntrack.dump() for each in batch} == {SNAT}


def test_a_commit_gives_way_to_a_balanced_connection(one: Bed) -> None:
    """Through the VIP and directly to the backend, from one port of a client."""
    one.flow(0, 0, 20, "ip4.dst == 30.0.0.1", "ct_lb_mark(backends=10.0.0.2:80);")
    one.flow(0, 0, 20, "ip4.src == 10.0.0.2", "ct_lb_mark;")
    one.flow(0, 0, 10, "ip4.dst == 10.0.0.2", "ct_next;")
    one.flow(0, 1, 20, "ct.new && !ct.dnat", 'ct_commit { }; outport = "vm2"; output;')
    one.flow(0, 1, 10, "ct.rpl", 'outport = "vm1"; output;')
    one.flow(0, 1, 0, "1", 'outport = "vm2"; output;')
    one.flows_live()
    client, backend = ("10.0.0.1", 77), ("10.0.0.2", 80)
    assert tuple_of(sent(one, udp(*client, VIP[4], 80))[1]) == (*client, *backend)
    where, direct = sent(one, udp(*client, *backend))
    assert where == "p2" and direct[UDP].sport != 77
    answer = udp(*backend, "10.0.0.1", direct[UDP].sport)
    assert tuple_of(sent(one, answer, 2)[1]) == (*backend, *client)
    assert tuple_of(sent(one, udp(*backend, *client), 2)[1]) == (VIP[4], 80, *client)


@pytest.mark.parametrize("version", [4, 6])
def test_the_original_destination_goes_to_registers(one: Bed, version: int) -> None:
    vip, client = VIP[version], host(version, 1)
    backend = host(version, 2)
    one.flow(0, 0, 0, "ip", f"ct_lb_mark(backends={backend});")
    asked = "reg4 = ct_nw_dst();" if version == 4 else "xxreg1 = ct_ip6_dst();"
    kept = f"reg4 == {vip}" if version == 4 else f"xxreg1 == {vip}"
    state = "reg9[16..23] = ct_state_save();"
    one.flow(
        0, 1, 0, "ip", f"{asked} reg2[0..15] = ct_tp_dst(); reg9[0..7] = ct_proto(); {state} next;"
    )
    # new, trk and dnat
    known = f"{kept} && reg2[0..15] == 80 && reg9[0..7] == 17 && reg9[16..23] == 0xa1"
    one.flow(0, 2, 10, known, 'outport = "vm2"; output;')
    one.flow(0, 2, 0, "1", "drop;")
    one.flows_live()
    assert sent(one, udp(client, 7, vip, 80))[0] == "p2"


# --- hairpins ------------------------------------------------------------------


def hairpin(
    one: Bed, version: int, options: dict[str, str], ported: bool, central: Central
) -> None:
    """The switch of OVN that concerns hairpins, in a few tables."""
    vip, self_ = VIP[version], host(version, 1)
    ip, reg = f"ip{version}", "reg1" if not central.consolidated else "reg4"
    if version == 6:
        reg = "xxreg1"
    key, value = vip, self_
    if ported:
        key, value = (
            (f"{vip}:80", f"{self_}:8080") if version == 4 else (f"[{vip}]:80", f"[{self_}]:8080")
        )
    row = LoadBalancer({key: value}, "udp", options)
    rules, errors = expand(row, {}, central)
    assert not errors
    one.compiler.set_side_rules("lb", rules, [1])
    match = f"{ip}.dst == {vip} && udp.dst == 80"
    one.flow(0, 0, 10, match, f"{reg} = {vip}; reg2[0..15] = 80; ct_lb_mark(backends={value});")
    one.flow(0, 0, 0, "1", "next;")
    one.flow(0, 1, 0, "1", "reg0[6] = chk_lb_hairpin(); reg0[12] = chk_lb_hairpin_reply(); next;")
    one.flow(0, 2, 10, "reg0[6] == 1 && ct.new", "ct_snat_to_vip; next;")
    one.flow(0, 2, 10, "reg0[12] == 1 && ip", "ct_snat;")
    one.flow(0, 2, 0, "1", "next;")
    turn = "eth.dst <-> eth.src; outport = inport; flags.loopback = 1; output;"
    one.flow(0, 3, 10, "reg0[6] == 1 || reg0[12] == 1", turn)
    one.flow(0, 3, 0, "1", 'outport = "vm3"; output;')
    backport = 8080 if ported else 80
    one.flow(1, 0, 10, f"{ip}.src == {self_} && udp.src == {backport}", "ct_lb_mark;")
    one.flow(1, 1, 0, "1", "output;")
    one.flows_live()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("ported", [True, False])
@pytest.mark.parametrize(
    ("central", "registers"), [(Central(), True), (Central(), False), (Central(True), False)]
)
@pytest.mark.parametrize("own", [True, False])
def test_a_backend_that_gets_itself_sees_the_virtual_address(
    one: Bed, version: int, ported: bool, central: Central, registers: bool, own: bool
) -> None:
    vip, self_ = VIP[version], host(version, 1)
    shown = vip
    options = {"hairpin_orig_tuple": "true"} if registers else {}
    if own:
        shown = "99.0.0.9" if version == 4 else "fd99::9"
        options["hairpin_snat_ip"] = "99.0.0.9 fd99::9"
    hairpin(one, version, options, ported, central)
    backport = 8080 if ported else 80
    answer = udp(self_, backport, shown, 1000)
    assert sent(one, answer)[0] == "p3"  # of nothing that was asked
    where, packet = sent(one, udp(self_, 1000, vip, 80))
    assert (where, tuple_of(packet)) == ("p1", (shown, 1000, self_, backport))
    where, packet = sent(one, answer)
    assert (where, tuple_of(packet)) == ("p1", (vip, 80, self_, 1000))
    one.compiler.set_side_rules("lb", (), ())
    one.flows_live()
    assert sent(one, answer)[0] == "p3"
    forget(one)


def test_others_are_not_hairpinned(one: Bed) -> None:
    hairpin(one, 4, {"hairpin_orig_tuple": "true"}, True, Central())
    where, packet = sent(one, udp(host(4, 2), 1000, VIP[4], 80), 2)
    assert (where, tuple_of(packet)) == ("p3", (host(4, 2), 1000, host(4, 1), 8080))


# --- what is learnt --------------------------------------------------------------


def aged(one: Bed, seen: float, born: float = 0) -> None:
    """Everything learnt is older by so many seconds."""
    fd = one.plane.maps["ovn_learnt"]
    for entry in list(_entries("ovn_learnt", fd, "ovn_learnt")):
        entry.seen -= int(seen * 1e9)
        entry.born -= int(born * 1e9)
        assert not lib.ovn_map_update(fd, ffi.addressof(entry, "key"), ffi.addressof(entry))


def forget(one: Bed) -> None:
    """Nothing was learnt."""
    fd = one.plane.maps["ovn_learnt"]
    for entry in list(_entries("ovn_learnt", fd, "ovn_learnt")):
        assert not lib.ovn_map_delete(fd, ffi.addressof(entry, "key"))


def affinity(one: Bed, version: int, proto: str, traits: Traits, timeout: int = 60) -> None:
    """To vm2 with affinity to the second host, else to vm3."""
    one.world.kinds[1] = traits
    vip, backend = VIP[version], host(version, 2)
    if proto:
        vip, backend = (
            (f"{vip}:80", f"{backend}:8080")
            if version == 4
            else (f"[{vip}]:80", f"[{backend}]:8080")
        )
    one.flow(0, 0, 0, "ip", "reg9[6] = chk_lb_aff(); next;")
    port = "reg2" if traits.consolidated else "reg8"
    reg = "reg4" if version == 4 else "xxreg1" if traits != SWITCH else "xxreg0"
    known = f"reg9[6] == 1 && {reg} == {host(version, 2)}"
    known += f" && {port}[0..15] == {8080 if proto else 0}"
    one.flow(0, 1, 10, known, 'outport = "vm2"; output;')
    said = f", proto = {proto}" if proto else ""
    learn = f'commit_lb_aff(vip = "{vip}", backend = "{backend}"{said}, timeout = {timeout});'
    one.flow(0, 1, 5, "reg9[6] == 0 && ip", f'{learn} outport = "vm3"; output;')
    one.flow(0, 1, 0, "1", "drop;")
    one.flows_live()


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("proto", ["udp", ""])
@pytest.mark.parametrize("traits", [SWITCH, ROUTER, NEW_SWITCH])
def test_a_client_keeps_its_backend_while_it_comes_in_time(
    one: Bed, version: int, proto: str, traits: Traits
) -> None:
    affinity(one, version, proto, traits)
    vip, client = VIP[version], host(version, 1)
    assert sent(one, udp(client, 1000, vip, 80))[0] == "p3"
    assert sent(one, udp(client, 1001, vip, 80))[0] == "p2"
    assert sent(one, udp(host(version, 5), 1000, vip, 80))[0] == "p3"
    aged(one, 59)
    assert sent(one, udp(client, 1002, vip, 80))[0] == "p2"
    aged(one, 59)  # since the packet before
    assert sent(one, udp(client, 1003, vip, 80))[0] == "p2"
    aged(one, 61)
    assert sent(one, udp(client, 1004, vip, 80))[0] == "p3"
    forget(one)


def test_affinity_to_what_no_flow_learns_any_more_is_none(one: Bed) -> None:
    affinity(one, 4, "udp", SWITCH)
    learning = str(one._numbers - 1)
    assert sent(one, udp(host(4, 1), 1000, VIP[4], 80))[0] == "p3"
    assert sent(one, udp(host(4, 1), 1000, VIP[4], 80))[0] == "p2"
    one.compiler.remove_flow(learning)
    one.flow(0, 1, 5, "reg9[6] == 0 && ip", 'outport = "vm3"; output;')
    one.flows_live()
    assert sent(one, udp(host(4, 1), 1000, VIP[4], 80))[0] == "p3"
    forget(one)


@pytest.mark.parametrize("version", [4, 6])
def test_answers_find_the_next_hop_that_a_connection_came_by(one: Bed, version: int) -> None:
    one.world.kinds[1] = ROUTER
    one.flow(0, 0, 0, "ip", "reg9[5] = chk_ecmp_nh_mac(); reg9[6] = chk_ecmp_nh(); next;")
    six = "true" if version == 6 else "false"
    learn = f"commit_ecmp_nh(ipv6 = {six}, proto = udp);"
    one.flow(0, 1, 30, "reg9[5] == 1", 'outport = "vm2"; output;')
    one.flow(0, 1, 20, "reg9[6] == 1", 'outport = "vm1"; output;')
    one.flow(
        0, 1, 10, f'inport == "vm1" && ip{version} && udp', f'{learn} outport = "vm3"; output;'
    )
    one.flow(0, 1, 0, "1", 'outport = "vm3"; flags.loopback = 1; output;')
    one.flows_live()
    there = udp(host(version, 1), 1000, host(version, 2), 53)
    back = udp(host(version, 2), 53, host(version, 1), 1000)
    assert sent(one, back, 2)[0] == "p3"
    assert sent(one, there)[0] == "p3"
    assert sent(one, there)[0] == "p2"
    assert sent(one, there, ethernet=mac(7))[0] == "p3"  # by another next hop: learnt too
    assert sent(one, back, 2)[0] == "p1"
    aged(one, 21)
    assert sent(one, back, 2)[0] == "p3"
    assert sent(one, there)[0] == "p3"
    aged(one, 0, 31)  # however busy
    assert sent(one, back, 2)[0] == "p3"
    forget(one)
