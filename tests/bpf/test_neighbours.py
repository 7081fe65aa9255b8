# SPDX-License-Identifier: Apache-2.0
"""MAC bindings: what get_arp, lookup_arp and put_arp answer for real frames."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import mac_binding
from tests.support.dataplane import Bed, mac

STRANGER = "0e:00:00:00:00:01"
OTHER = "0e:00:00:00:00:02"


def resolve(bed: Bed) -> None:
    """All that comes in leaves by vm2, to the MAC that its destination resolves to."""
    bed.plug(1, 2)
    bed.flow(0, 0, 50, "ip4", 'outport = "vm2"; get_arp(outport, ip4.dst); output;')
    bed.flow(0, 0, 50, "ip6", 'outport = "vm2"; xxreg0 = ip6.dst; get_nd(outport, xxreg0); output;')
    bed.flow(
        0, 0, 60, "arp", "reg9[2] = lookup_arp(inport, arp.spa, arp.sha);"
        "reg9[3] = lookup_arp_ip(inport, arp.spa); next;",
    )  # fmt: skip
    bed.flow(0, 1, 50, "reg9[2..3] == 0", "put_arp(inport, arp.spa, arp.sha);")
    bed.flow(0, 1, 50, "reg9[2..3] == 1", 'outport = "vm2"; arp.op = 11; output;')
    bed.flow(0, 1, 50, "reg9[2..3] == 2", 'outport = "vm2"; arp.op = 12; output;')
    bed.flow(0, 1, 50, "reg9[2..3] == 3", 'outport = "vm2"; arp.op = 13; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()


def resolved(bed: Bed, target: str) -> str:
    """The MAC that a packet for `target` leaves to."""
    ip = IPv6(dst=target) if ":" in target else IP(dst=target)
    bed.send("p1", bytes(Ether(src=mac(1), dst=mac(9)) / ip / UDP()))
    ((_, frame),) = bed.received(1)
    return str(Ether(frame).dst)


@pytest.mark.parametrize("ip", ["10.0.0.7", "fd00::7"])
def test_a_binding_resolves_and_an_unknown_address_is_zero(bed: Bed, ip: str) -> None:
    resolve(bed)
    assert resolved(bed, ip) == "00:00:00:00:00:00"
    bed.compiler.set_mac_binding("u1", 1, 2, ip, STRANGER, mac_binding.DYNAMIC)
    bed.flows_live()
    assert resolved(bed, ip) == STRANGER
    bed.compiler.remove_mac_binding("u1", 1)
    bed.flows_live()
    assert resolved(bed, ip) == "00:00:00:00:00:00"


def test_a_binding_counts_for_its_port_only(bed: Bed) -> None:
    resolve(bed)
    bed.compiler.set_mac_binding("u1", 1, 1, "10.0.0.7", STRANGER, mac_binding.DYNAMIC)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == "00:00:00:00:00:00"


def test_an_ipv4_binding_is_none_for_the_ipv6_address_of_the_same_bits(bed: Bed) -> None:
    resolve(bed)
    bed.compiler.set_mac_binding("u1", 1, 2, "10.0.0.7", STRANGER, mac_binding.DYNAMIC)
    bed.flows_live()
    assert resolved(bed, "::a00:7") == "00:00:00:00:00:00"


def test_static_bindings_override_dynamic_ones_only_when_they_say_so(bed: Bed) -> None:
    resolve(bed)
    bed.compiler.set_mac_binding("s", 1, 2, "10.0.0.7", OTHER, mac_binding.STATIC)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == OTHER
    bed.compiler.set_mac_binding("d", 1, 2, "10.0.0.7", STRANGER, mac_binding.DYNAMIC)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == STRANGER
    bed.compiler.set_mac_binding("s", 1, 2, "10.0.0.7", OTHER, mac_binding.STATIC_OVERRIDE)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == OTHER


def arp(ip: str, sender: str) -> bytes:
    return bytes(Ether(src=sender, dst=mac(9)) / ARP(op=2, psrc=ip, hwsrc=sender))


def test_what_an_arp_packet_says_is_learnt_and_used(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 60, "arp", "put_arp(inport, arp.spa, arp.sha);")
    bed.flow(0, 0, 50, "ip4", 'outport = "vm1"; get_arp(outport, ip4.dst); '
             'outport = "vm2"; output;')  # fmt: skip
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    bed.send("p1", arp("10.0.0.7", STRANGER))
    assert resolved(bed, "10.0.0.7") == STRANGER
    bed.send("p1", arp("10.0.0.7", OTHER))
    assert resolved(bed, "10.0.0.7") == OTHER
    # A dynamic row comes before what was learnt here, a weak static one after.
    bed.compiler.set_mac_binding("s", 1, 1, "10.0.0.7", mac(3), mac_binding.STATIC)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == OTHER
    bed.compiler.set_mac_binding("d", 1, 1, "10.0.0.7", mac(4), mac_binding.DYNAMIC)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == mac(4)


def test_lookups_know_rows_and_what_was_learnt(bed: Bed) -> None:
    resolve(bed)
    bed.compiler.set_mac_binding("d", 1, 1, "10.0.0.8", STRANGER, mac_binding.DYNAMIC)
    bed.flows_live()

    def answer(ip: str, sender: str) -> int:
        bed.send("p1", arp(ip, sender))
        ((_, frame),) = bed.received(1)
        return int(Ether(frame)[ARP].op)

    assert answer("10.0.0.8", STRANGER) == 13  # known, and so
    assert answer("10.0.0.8", OTHER) == 12  # known, but otherwise
    bed.send("p1", arp("10.0.0.7", OTHER))
    assert bed.nothing_received()
    assert answer("10.0.0.7", OTHER) == 13
    assert answer("10.0.0.7", STRANGER) == 12
    assert bed.all_dropped() == 0


def test_bad_rows_cost_themselves_only(bed: Bed) -> None:
    resolve(bed)
    bed.compiler.set_mac_binding("bad", 1, 2, "10.0.0.300", STRANGER, mac_binding.DYNAMIC)
    bed.compiler.set_mac_binding("worse", 1, 2, "10.0.0.7", "no mac", mac_binding.DYNAMIC)
    assert {p.uuid for p in bed.compiler.unsupported()} == {"bad", "worse"}
    bed.compiler.remove_mac_binding("bad", 1)
    bed.compiler.set_mac_binding("worse", 1, 2, "10.0.0.7", STRANGER, mac_binding.DYNAMIC)
    bed.flows_live()
    assert resolved(bed, "10.0.0.7") == STRANGER


def test_tables_of_flows_end_where_the_side_tables_begin() -> None:
    side = {lib.OVN_TABLE_MAC_LOOKUP, lib.OVN_TABLE_IN_PORT_SEC, lib.OVN_TABLE_IN_PORT_SEC_ND}
    assert min(side | {lib.OVN_TABLE_OUT_PORT_SEC}) > lib.OVN_TABLE_MAC_BINDING
