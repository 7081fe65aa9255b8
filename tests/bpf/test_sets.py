# SPDX-License-Identifier: Apache-2.0
"""Real frames through rules that name sets: who is a member, of how many, since when."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller._native import lib
from tests.support.dataplane import Bed, mac

MAX_SETS = 512  # OVN_MAX_SETS in csrc/bpf/bounds.h


def frame(
    src: str = "10.0.0.1",
    dst: str = "10.0.0.9",
    dport: int = 80,
    *,
    sport: int = 7,
    src_mac: str = mac(1),
    dst_mac: str = mac(2),
) -> bytes:
    network = IPv6 if ":" in src else IP
    ethernet = Ether(src=src_mac, dst=dst_mac)
    return bytes(ethernet / network(src=src, dst=dst) / UDP(sport=sport, dport=dport))


def passes(bed: Bed, data: bytes, peer: str = "p1") -> bool:
    """Whether a frame comes out at vm2; otherwise it is counted as dropped."""
    before = bed.all_dropped()
    bed.send(peer, data)
    if bed.all_dropped() == before:
        assert bed.received(1) == [("p2", data)]
        return True
    assert bed.all_dropped() == before + 1
    assert bed.nothing_received()
    return False


def let_pass(bed: Bed, match: str, priority: int = 10) -> None:
    bed.flow(0, 0, priority, match, 'outport = "vm2"; output;')


def change(bed: Bed, **sets: list[str]) -> None:
    """Address sets have these members now."""
    for name, members in sets.items():
        bed.world.address_sets[name] = members
        bed.compiler.address_set_changed(name)


@pytest.fixture
def switch(bed: Bed) -> Bed:
    """Two ports and an egress pipeline that lets everything out."""
    bed.plug(1, 2)
    bed.flow(1, 0, 0, "1", "output;")
    return bed


def test_exactly_the_members_of_an_address_set_match(switch: Bed) -> None:
    change(switch, a=["10.0.0.1", "10.2.0.0/16", "10.3.0.128/25"])
    let_pass(switch, "ip4.src == $a")
    switch.flows_live()
    sources = {
        "10.0.0.1": True,
        "10.0.0.2": False,
        "10.2.0.0": True,
        "10.2.255.255": True,
        "10.1.255.255": False,
        "10.3.0.127": False,
        "10.3.0.128": True,
    }
    assert {src: passes(switch, frame(src)) for src in sources} == sources


def test_exactly_the_members_match_in_ipv6(switch: Bed) -> None:
    change(switch, a=["fd00::1", "fd01::/64", "fd02::/33", "::/1"], b=["fd00::9", "10.0.0.1"])
    let_pass(switch, "ip6.src == $a && ip6.dst == $b")
    switch.flows_live()
    sources = {
        "fd00::1": True,
        "fd00::2": False,
        "fd01::ffff:1": True,
        "fd01:0:0:1::1": False,
        "fd02:0:7fff::1": True,
        "fd02:0:8000::1": False,
        "2001:db8::1": True,
        "9000::1": False,
    }
    assert {src: passes(switch, frame(src, "fd00::9")) for src in sources} == sources
    assert not passes(switch, frame("fd00::1", "fd00::8"))
    assert not passes(switch, frame("10.0.0.1"))


def test_a_member_comes_and_goes_without_a_new_rule(switch: Bed) -> None:
    change(switch, a=["10.0.0.1"])
    let_pass(switch, "ip4.src == $a")
    switch.flows_live()
    rules = list(switch.compiler.rules())
    for members in (["10.0.0.1", "10.0.0.2"], ["10.0.0.2"], ["10.0.0.0/24"], []):
        change(switch, a=members)
        switch.flows_live()
        for src in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
            address = ipaddress.ip_address(src)
            wanted = any(address in ipaddress.ip_network(m) for m in members)
            assert passes(switch, frame(src)) == wanted, (members, src)
    assert list(switch.compiler.rules()) == rules


def test_of_overlapping_sets_the_highest_priority_decides(switch: Bed) -> None:
    change(switch, wide=["10.0.0.0/8"], middle=["10.1.0.0/16", "10.2.0.1"], host=["10.1.0.7"])
    let_pass(switch, "ip4.src == $wide", 10)
    switch.flow(0, 0, 20, "ip4.src == $middle", "drop;")
    let_pass(switch, "ip4.src == $host && udp.dst == 80", 30)
    switch.flows_live()
    assert passes(switch, frame("10.3.0.1"))
    assert not passes(switch, frame("10.1.0.1"))
    assert not passes(switch, frame("10.2.0.1"))
    assert passes(switch, frame("10.1.0.7"))
    assert not passes(switch, frame("10.1.0.7", dport=81))


def test_two_sets_of_one_address_may_both_be_asked_for(switch: Bed) -> None:
    change(switch, a=["10.0.0.1", "10.0.0.2"], b=["10.0.0.2", "10.0.0.3"])
    let_pass(switch, "ip4.src == $a && ip4.src == $b")
    switch.flows_live()
    found = [n for n in range(1, 5) if passes(switch, frame(f"10.0.0.{n}"))]
    assert found == [2]


def test_long_lists_without_a_name_match_their_members(switch: Bed) -> None:
    addresses = ", ".join(f"10.0.{n}.0/24" for n in range(1, 31))
    ports = ", ".join(str(n) for n in range(80, 120))
    let_pass(switch, f"ip4.src == {{{addresses}}} && udp.dst == {{{ports}}}")
    switch.flows_live()
    assert len([rule for rule in switch.compiler.rules() if rule.table == 0]) == 40
    assert passes(switch, frame("10.0.30.255", dport=119))
    assert not passes(switch, frame("10.0.31.0", dport=119))
    assert not passes(switch, frame("10.0.30.255", dport=120))


def test_port_groups_match_where_packets_come_from_and_go_to(switch: Bed) -> None:
    switch.plug(3)
    switch.world.port_groups |= {(1, "in"): ["vm1"], (1, "out"): ["vm2"]}
    switch.flow(0, 0, 10, "inport == @in", 'outport = "vm2"; next;')
    switch.flow(0, 1, 10, "outport == @out && inport == @in", "output;")
    switch.flows_live()
    assert passes(switch, frame())
    assert not passes(switch, frame(), "p3")
    switch.world.port_groups[1, "in"] = ["vm3"]
    switch.compiler.port_group_changed("in", 1)
    switch.flows_live()
    assert not passes(switch, frame())
    assert passes(switch, frame(), "p3")
    switch.world.port_groups[1, "out"] = []
    switch.compiler.port_group_changed("out", 1)
    switch.flows_live()
    assert not passes(switch, frame(), "p3")


def one_of(n: int) -> str:
    """An address in set n only."""
    return f"10.9.{n // 256}.{n % 256}"


def in_sets(bed: Bed, count: int) -> None:
    """One address in `count` sets; the rule of the last one lets pass."""
    for n in range(count):
        change(bed, **{f"s{n}": ["10.0.0.1", one_of(n)]})
        if n == count - 1:
            let_pass(bed, f"ip4.src == $s{n}", 1000)
        else:
            bed.flow(0, 0, 1 + n, f"ip4.src == $s{n}", "drop;")
    bed.flows_live()


@pytest.mark.parametrize("count", [30, MAX_SETS])
def test_an_address_may_be_in_many_sets(switch: Bed, count: int) -> None:
    in_sets(switch, count)
    assert passes(switch, frame())
    assert not passes(switch, frame(one_of(3)))
    assert passes(switch, frame(one_of(count - 1)))
    assert switch.dropped(lib.DROP_SETS) == 0


def test_an_address_in_too_many_sets_is_dropped_and_counted(switch: Bed) -> None:
    in_sets(switch, MAX_SETS + 1)
    assert not passes(switch, frame())
    assert switch.dropped(lib.DROP_SETS) == 1
    assert passes(switch, frame(one_of(MAX_SETS))), "other packets are not touched"


def test_many_sets_of_several_fields_are_tried_with_each_other(switch: Bed) -> None:
    """60 sets with either address: 3,600 combinations for one mask, and one matches."""
    count = 60
    for n in range(count):
        change(switch, **{f"s{n}": ["10.0.0.1"], f"d{n}": ["10.0.0.9"]})
        drops = f"ip4.src == $s{n} && ip4.dst == $d{n} && udp.dst == 7"
        switch.flow(0, 0, 1 + n, drops, "drop;")
    let_pass(switch, f"ip4.src == $s{count - 1} && ip4.dst == $d{count - 2} && udp.dst == 80", 1000)
    switch.flow(0, 0, 900, f"ip4.src == $s0 && ip4.dst == $d{count - 1} && udp.dst == 81", "drop;")
    switch.flows_live()
    assert passes(switch, frame())
    assert not passes(switch, frame(dport=81))
    assert not passes(switch, frame(dport=7))
    assert switch.dropped(lib.DROP_SETS) == 0


@pytest.mark.parametrize("v6", [False, True])
def test_exclusions_on_several_fields_do_not_multiply(switch: Bed, v6: bool) -> None:
    """Tens of thousands of combinations, were they not sets of what is left."""
    near, far, other, too = ["10.0.0.1", "10.0.0.9", "9.9.9.9", "9.9.9.7"]
    if v6:
        near, far, other, too = ["fd00::1", "fd00::9", "fd01::9", "fd01::7"]
    change(switch, inner=[near, far, "fd07::/61" if v6 else "10.7.0.0/18"])
    ip = "ip6" if v6 else "ip4"
    let_pass(switch, f"{ip}.src != $inner && {ip}.dst != $inner && udp.dst != {{53, 443}}")
    switch.flow(0, 0, 0, "1", "drop;")
    switch.flows_live()
    assert sum(rule.prio == 10 for rule in switch.compiler.rules()) < 100
    assert passes(switch, frame(other, too))
    assert not passes(switch, frame(near, other))
    assert not passes(switch, frame(other, far))
    assert not passes(switch, frame(other, too, dport=53))
    change(switch, inner=[near])
    switch.flows_live()
    assert passes(switch, frame(other, far))


MACS = [f"0a:00:00:00:{n:02x}:01" for n in range(1, 7)]


def masks(bed: Bed) -> int:
    """That the rules of let_pass() have."""
    return len({rule.mask for rule in bed.compiler.rules() if rule.prio == 10})


def test_exclusions_of_macs_cubes_and_ranges_of_ports_do_not_multiply(switch: Bed) -> None:
    """More masks than a stage holds, were what is left of MACs and ports no set."""
    change(switch, macs=MACS)
    let_pass(
        switch,
        "!(eth.src == $macs || ip4.dst == 10.0.0.0/255.0.0.3"
        " || (1000 < udp.dst && udp.dst < 2000))",
    )
    switch.flows_live()
    assert masks(switch) < 200
    sources = {mac(1): True, MACS[0]: False, MACS[5]: False, "0a:00:00:00:07:01": True}
    for source, wanted in sources.items():
        assert passes(switch, frame(src_mac=source)) == wanted, source
    near = {"10.0.0.9": True, "10.200.0.4": False, "11.0.0.4": True, "10.0.0.6": True}
    for address, wanted in near.items():
        assert passes(switch, frame(dst=address)) == wanted, address
    edges = {0: True, 1000: True, 1001: False, 1999: False, 2000: True, 65535: True}
    for port, wanted in edges.items():
        assert passes(switch, frame(dport=port)) == wanted, port
    change(switch, macs=[mac(1)])
    switch.flows_live()
    assert not passes(switch, frame())
    assert passes(switch, frame(src_mac=MACS[0]))


def test_exclusions_of_both_ports_do_not_multiply(switch: Bed) -> None:
    let_pass(
        switch,
        "udp.src != {53, 1000, 40000} && udp.dst != {81, 443, 8080}"
        " && ip4.dst != 10.0.0.0/255.0.0.3",
    )
    switch.flows_live()
    assert masks(switch) < 30
    assert passes(switch, frame())
    assert not passes(switch, frame(dst="10.0.0.4"))
    refused = [n for n in (52, 53, 54, 0, 39999, 40000) if not passes(switch, frame(sport=n))]
    assert refused == [53, 40000]
    refused = [n for n in (443, 8079, 8080, 65535, 81) if not passes(switch, frame(dport=n))]
    assert refused == [443, 8080, 81]


def test_exclusions_of_both_macs_do_not_multiply(switch: Bed) -> None:
    change(switch, macs=MACS)
    let_pass(switch, "eth.src != $macs && eth.dst != $macs && ip.ttl == 64")
    switch.flows_live()
    assert masks(switch) < 100
    assert passes(switch, frame())
    assert not passes(switch, frame(src_mac=MACS[2]))
    assert not passes(switch, frame(dst_mac=MACS[3]))
    assert passes(switch, frame(src_mac="ff:ff:ff:ff:ff:fe", dst_mac="00:00:00:00:00:01"))


def test_exclusions_of_arp_addresses_do_not_multiply(switch: Bed) -> None:
    change(switch, inner=["10.0.0.1", "10.7.0.0/18", "192.168.3.4"])
    let_pass(switch, "arp.spa != $inner && arp.tpa != $inner")
    switch.flows_live()
    assert masks(switch) < 100
    pairs = {("9.9.9.9", "9.9.9.8"): True, ("10.0.0.1", "9.9.9.9"): False}
    pairs |= {("10.0.0.2", "10.7.63.255"): False, ("10.0.0.2", "10.7.64.0"): True}
    for (spa, tpa), wanted in pairs.items():
        asked = Ether(src=mac(1), dst=mac(2)) / ARP(op=1, hwsrc=mac(1), psrc=spa, pdst=tpa)
        assert passes(switch, bytes(asked)) == wanted, (spa, tpa)
