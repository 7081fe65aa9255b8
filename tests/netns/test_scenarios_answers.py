# SPDX-License-Identifier: Apache-2.0
"""Scenarios of OVN's system tests about who answers whom, written anew.

56 "Container ping parent port", 66 "IP buffering" and 76 "Traffic to router port via LLA".
Hosts outside are guests of an outer switch, where OVN's tests have a provider bridge.
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import talk, traffic
from tests.support.containers import Container, Inside

TOPOLOGY = """
chassis: {hv1: $agent}
switches:
  sw0: {ipv4: 192.168.1.0/24}
  sw1: {ipv4: 192.168.2.0/24}
  public: {ipv4: 172.16.1.0/24}
  ls0: {ipv6: "fd00::/64"}
  pods: {ipv4: 10.0.0.0/24}
routers:
  r1:
    ports:
      rp-sw0: {switch: sw0, mac: "00:00:01:01:02:03", networks: [192.168.1.1/24]}
      rp-sw1: {switch: sw1, mac: "00:00:03:01:02:03", networks: [192.168.2.1/24]}
      rp-public: {switch: public, mac: "00:00:02:01:02:03", networks: [172.16.1.1/24]}
  lr0:
    ports:
      lr0-ls0: {switch: ls0, mac: "00:00:00:00:00:01", networks: ["fd00::1/64"]}
ports:
  sw01: {switch: sw0, chassis: hv1}
  sw11: {switch: sw1, chassis: hv1, ips: [192.168.2.2/24]}
  remote: {switch: public, chassis: hv1, ips: [172.16.1.2/24], addresses: [unknown]}
  remote1: {switch: public, chassis: hv1, ips: [172.16.1.4/24], addresses: [unknown]}
  vif0: {switch: ls0, chassis: hv1}
  parent: {switch: pods, chassis: hv1}
nbctl:
  - set logical_router r1 options:chassis=hv1
  - lr-nat-add r1 dnat_and_snat 172.16.1.3 192.168.2.2 sw11 00:00:02:02:03:10
  - lsp-add pods pod parent 2
  - lsp-set-addresses pod "00:54:00:00:00:04 10.0.0.4"
"""
LINK_LOCAL = "fe80::200:ff:fe00:1"
POD = Container("parent", 2, "00:54:00:00:00:04", {4: "10.0.0.4"})


def test_a_container_pings_its_parent_s_port(bed: Sandbox) -> None:
    bed.wait_up("pod")
    bed.sync()
    parent = bed.ports["parent"]
    with Inside(bed, POD) as inside:
        for number in range(3):
            echo = IP(src=POD.addresses[4], dst=parent.ip4) / ICMP(id=7, seq=number)
            reply = inside.asks(echo, parent.mac, ICMP)
            assert reply is not None
            assert (reply[IP].src, reply[ICMP].type, reply[ICMP].seq) == (parent.ip4, 0, number)


@pytest.mark.parametrize(
    ("source", "target", "seen_as"),
    [("sw01", "remote", "192.168.1.2"), ("sw11", "remote1", "172.16.1.3")],
)
def test_packets_wait_for_the_next_hop(
    bed: Sandbox, source: str, target: str, seen_as: str
) -> None:
    outside = bed.ports[target]
    with traffic.Wire(outside.netns, "eth0") as wire:
        assert talk.all_of_three(bed, source, outside.ip4)
        frames = [Ether(data) for data in wire.frames()]
    echoes = [frame for frame in frames if ICMP in frame and frame[ICMP].type == 8]
    assert {frame[IP].src for frame in echoes} == {seen_as}
    assert len(echoes) == 3 or bed.topology.mixed
    asked = [frame for frame in frames if ARP in frame and frame[ARP].op == 1]
    assert any(frame[ARP].pdst == outside.ip4 for frame in asked)


def learnt(bed: Sandbox, mac: str) -> int:
    rows = bed.sbctl("--bare", "--columns=ip", "find", "mac_binding", f'mac="{mac}"')
    return len(rows.split())


@pytest.mark.parametrize("always", ["false", "true"])
def test_a_router_port_answers_at_its_link_local_address(bed: Sandbox, always: str) -> None:
    guest = bed.ports["vif0"]
    option = f"options:always_learn_from_arp_request={always}"
    bed.nbctl("--wait=hv", "set", "logical_router", "lr0", option)
    assert talk.all_of_three(bed, guest.name, f"{LINK_LOCAL}%eth0")
    process.wait_until(lambda: learnt(bed, guest.mac) == 1, 60.0, "one row of MAC_Binding")
    bed.sbctl("--all", "destroy", "mac_binding")
    bed.sync()
