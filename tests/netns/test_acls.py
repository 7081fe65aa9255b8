# SPDX-License-Identifier: Apache-2.0
"""Stateless ACLs with address sets and port groups, by traffic."""

from __future__ import annotations

import itertools

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  web1: {switch: sw0, chassis: hv1, ips: [10.0.0.11/24, "fd00::11/64"]}
  web2: {switch: sw0, chassis: hv2, ips: [10.0.0.12/24, "fd00::12/64"]}
  good: {switch: sw0, chassis: hv1, ips: [10.0.0.130/24, "fd00::a0/64"]}
  bad: {switch: sw0, chassis: hv2, ips: [10.0.0.22/24, "fd00::22/64"]}
address_sets:
  trusted4: [10.0.0.128/25, 10.0.0.7]
  trusted6: ["fd00::a0/124"]
  nobody: []
port_groups: {web: [web1, web2], clients: [good, bad]}
acls:
  - {port_group: web, direction: to-lport, priority: 1001, action: allow-stateless,
     match: "outport == @web && ip4.src == $$trusted4 && udp.dst == {80, 443}"}
  - {port_group: web, direction: to-lport, priority: 1001, action: allow-stateless,
     match: "outport == @web && ip6.src == $$trusted6 && udp.dst == {80, 443}"}
  - {port_group: web, direction: to-lport, priority: 1001, action: allow-stateless,
     match: "outport == @web && (icmp4 || icmp6 || 8000 <= udp.dst < 8010)"}
  - {port_group: web, direction: to-lport, priority: 1000, action: drop,
     match: "outport == @web && ip"}
  - {port_group: clients, direction: from-lport, priority: 1002, action: drop,
     match: "inport == @clients && udp.dst == 666"}
  - {port_group: clients, direction: from-lport, priority: 1002, action: drop,
     match: "inport == @clients && ip4.src == $$nobody"}
  - {switch: sw0, direction: from-lport, priority: 1003, action: drop,
     match: "inport == \\"bad\\" && ip4.dst != 10.0.0.0/25 && udp.dst == 8005"}
"""


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("port", [80, 443])
def test_only_addresses_of_the_set_reach_the_group(bed: Sandbox, version: int, port: int) -> None:
    for web in ("web1", "web2"):
        assert traffic.delivers(bed, "good", web, port, version)
        assert traffic.blocked(bed, "bad", web, port, version)
        assert traffic.blocked(bed, "good", web, port + 1, version)


@pytest.mark.parametrize("version", [4, 6])
def test_ports_outside_the_group_are_not_guarded(bed: Sandbox, version: int) -> None:
    assert traffic.delivers(bed, "bad", "good", 80, version)
    assert traffic.delivers(bed, "web1", "bad", 1234, version)
    assert traffic.delivers(bed, "web2", "good", 1234, version)


@pytest.mark.parametrize("version", [4, 6])
def test_members_of_the_group_are_guarded_from_each_other(bed: Sandbox, version: int) -> None:
    assert traffic.blocked(bed, "web1", "web2", 80, version)
    assert traffic.blocked(bed, "web2", "web1", 80, version)


def test_everybody_may_ping(bed: Sandbox) -> None:
    assert bed.unanswered(list(itertools.permutations(bed.ports, 2))) == []


def test_a_range_of_ports_ends_where_it_says(bed: Sandbox) -> None:
    for port in (8000, 8003, 8009):
        assert traffic.delivers(bed, "good", "web2", port)
    for port in (7999, 8010):
        assert traffic.blocked(bed, "good", "web2", port)


@pytest.mark.parametrize("source", ["good", "bad"])
def test_from_lport_drops_before_the_switch(bed: Sandbox, source: str) -> None:
    for target in ("web1", "web2"):
        assert traffic.blocked(bed, source, target, 666)
    assert traffic.delivers(bed, source, "web1", 8001)


def test_inequality_with_a_prefix(bed: Sandbox) -> None:
    assert traffic.blocked(bed, "bad", "good", 8005)
    assert traffic.delivers(bed, "bad", "web1", 8005)
