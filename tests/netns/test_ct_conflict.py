# SPDX-License-Identifier: Apache-2.0
"""Connections in one zone that want the same tuple, and connections that are reset.

The load balancer's entry of a closed connection holds the tuple that a direct
connection from the same port would have: northd's all-zero SNAT finds another port.
"""

from __future__ import annotations

import re

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches:
  ls: {ipv4: 42.42.42.0/24, ipv6: "fd42::/64"}
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd10::/64"}
routers:
  rtr:
    ports:
      rtr-ls: {switch: ls, mac: "0e:00:00:00:01:01", networks: [42.42.42.1/24, "fd42::1/64"]}
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "0e:00:00:00:02:01", networks: [10.0.0.1/24, "fd10::1/64"]}
ports:
  vm1: {switch: ls, chassis: hv1}
  vm2: {switch: ls, chassis: hv1}
  p1: {switch: sw0, chassis: hv1, port_security: true}
  p2: {switch: sw0, chassis: hv1, port_security: true}
port_groups: {pg: [p1, p2]}
nbctl:
  - lb-add lb-ls4 66.66.66.66:666 42.42.42.2:4242 tcp
  - lb-add lb-ls6 [fd66::1]:666 [fd42::2]:4242 tcp
  - ls-lb-add ls lb-ls4
  - ls-lb-add ls lb-ls6
  - acl-add pg from-lport 1001 "inport == @pg && ip" drop
  - acl-add pg to-lport 1001 "outport == @pg && ip" drop
  - acl-add pg from-lport 1002 "inport == @pg && ip" allow-related
  - acl-add pg to-lport 1002 "outport == @pg && tcp.dst == 80" allow-related
  - lb-add lb-sw4 10.0.0.10:80 10.0.0.2:80
  - lb-add lb-sw6 [fd10::10]:80 [fd10::2]:80
  - ls-lb-add sw0 lb-sw4
  - ls-lb-add sw0 lb-sw6
  - lr-lb-add lr0 lb-sw4
  - lr-lb-add lr0 lb-sw6
"""
VERSIONS = (4, 6)
VIP = {4: "66.66.66.66", 6: "fd66::1"}
RESET_VIP = {4: "10.0.0.10", 6: "fd10::10"}


STATE = re.compile(r"state=(\w+)")


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


def tuples(bed: Sandbox, port: str) -> set[object]:
    """Both tuples of each connection in a port's zone."""
    zone = conntrack.zone(bed.chassis["hv1"], port)
    return {conntrack.ported(line) for line in conntrack.dump(bed, f"zone={zone}")}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_direct_connection_gets_another_port_than_the_load_balanced(
    bed: Sandbox, version: int
) -> None:
    client, server = address(bed, "vm2", version), address(bed, "vm1", version)
    vip = VIP[version]
    talk.Tcp(bed, "vm2", "vm1", vip, 666, at=4242, source_port=2001).finish()
    balanced = ((client, 2001, vip, 666), (server, 4242, client, 2001))
    plain = ((client, 2001, server, 4242), (server, 4242, client, 2001))
    assert tuples(bed, "vm2") == {balanced}
    assert tuples(bed, "vm1") == {plain}
    with talk.Tcp(bed, "vm2", "vm1", server, 4242, source_port=2001) as direct:
        direct.exchange()
        seen, other = direct.seen
        assert seen == client
        assert other != 2001
        direct_there = ((client, 2001, server, 4242), (server, 4242, client, other))
        assert tuples(bed, "vm2") == {balanced, direct_there}
        direct_here = ((client, other, server, 4242), (server, 4242, client, other))
        assert tuples(bed, "vm1") == {plain, direct_here}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_direct_connection_keeps_a_port_that_is_free(bed: Sandbox, version: int) -> None:
    server = address(bed, "vm1", version)
    with talk.Tcp(bed, "vm2", "vm1", server, 4242, source_port=3003) as direct:
        direct.exchange()
        assert direct.seen == (address(bed, "vm2", version), 3003)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_reset_ends_the_load_balanced_connection(bed: Sandbox, version: int) -> None:
    """OVN once did not show the reset to the client's zone, which stayed established."""
    vip = RESET_VIP[version]
    with talk.Tcp(bed, "p2", "p1", vip, 80) as connection:
        connection.exchange()
        assert states(bed, vip) == ["ESTABLISHED"]
        connection.reset()
        (state,) = states(bed, vip)
        assert re.fullmatch("CLOS(ED|ING)|TIME_WAIT", state)


def states(bed: Sandbox, asked: str) -> list[str]:
    """TCP states of the connections to an address."""
    lines = [line for line in conntrack.dump(bed) if f",dst={asked}," in line]
    return [state for line in lines for state in STATE.findall(line)]
