# SPDX-License-Identifier: Apache-2.0
"""Two gateway routers behind one router, chosen by the source of a packet.

    foo1 - foo - r1 - join - r2 - alice - alice1   (r2 on hv2)
           bar1 - bar -'  '- r3 - bob - bob1       (r3 on hv1)

alice and bob are one network to their hosts.  What is DNATted must come back by the
gateway it came by, so both hide the asker behind an address of theirs in join.
"""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk
from tests.support.talk import address

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  foo: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  bar: {ipv4: 192.168.2.0/24, ipv6: "fd12::/64"}
  alice: {}
  bob: {}
  join: {}
routers:
  r1:
    ports:
      r1-foo: {switch: foo, mac: "0e:00:00:01:00:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      r1-bar: {switch: bar, mac: "0e:00:00:01:00:02", networks: [192.168.2.1/24, "fd12::1/64"]}
      r1-join: {switch: join, mac: "0e:00:00:01:00:03", networks: [20.0.0.1/24, "fd20::1/64"]}
  r2:
    ports:
      r2-join: {switch: join, mac: "0e:00:00:02:00:01", networks: [20.0.0.2/24, "fd20::2/64"]}
      r2-alice: {switch: alice, mac: "0e:00:00:02:00:02", networks: [172.16.1.1/24, "fd21::1/64"]}
  r3:
    ports:
      r3-join: {switch: join, mac: "0e:00:00:03:00:01", networks: [20.0.0.3/24, "fd20::3/64"]}
      r3-bob: {switch: bob, mac: "0e:00:00:03:00:02", networks: [172.16.1.2/24, "fd21::2/64"]}
ports:
  foo1: {switch: foo, chassis: hv1}
  bar1: {switch: bar, chassis: hv2}
  alice1: {switch: alice, chassis: hv2, ips: [172.16.1.3/24, "fd21::3/64"]}
  bob1: {switch: bob, chassis: hv1, ips: [172.16.1.4/24, "fd21::4/64"]}
nbctl:
  - set logical_router r2 options:chassis=hv2 options:dnat_force_snat_ip="20.0.0.2 fd20::2"
  - set logical_router r3 options:chassis=hv1 options:dnat_force_snat_ip="20.0.0.3 fd20::3"
  - --policy=src-ip lr-route-add r1 192.168.1.0/24 20.0.0.2
  - --policy=src-ip lr-route-add r1 192.168.2.0/24 20.0.0.3
  - --policy=src-ip lr-route-add r1 fd11::/64 fd20::2
  - --policy=src-ip lr-route-add r1 fd12::/64 fd20::3
  - lr-route-add r2 192.168.0.0/16 20.0.0.1
  - lr-route-add r3 192.168.0.0/16 20.0.0.1
  - lr-route-add r2 fd10::/12 fd20::1
  - lr-route-add r3 fd10::/12 fd20::1
  - lr-nat-add r2 dnat 30.0.0.2 192.168.1.2
  - lr-nat-add r2 snat 30.0.0.1 192.168.1.2
  - lr-nat-add r3 dnat 30.0.0.3 192.168.1.2
  - lr-nat-add r3 snat 30.0.0.4 192.168.2.2
  - lr-nat-add r2 dnat fd30::2 fd11::2
  - lr-nat-add r2 snat fd30::1 fd11::2
  - lr-nat-add r3 dnat fd30::3 fd11::2
  - lr-nat-add r3 snat fd30::4 fd12::2
"""
VERSIONS = (4, 6)
EXTERNAL = {4: "30.0.0.{}", 6: "fd30::{}"}
JOIN = {4: "20.0.0.{}", 6: "fd20::{}"}


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("foo1", "bar1"), ("foo1", "alice1"), ("bar1", "bob1"))


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("asker", "gateway"), [("alice1", 2), ("bob1", 3)])
def test_either_gateway_leads_to_foo1_and_hides_the_asker(
    bed: Sandbox, version: int, asker: str, gateway: int
) -> None:
    outer, hidden = EXTERNAL[version].format(gateway), JOIN[version].format(gateway)
    source, foo = address(bed, asker, version), address(bed, "foo1", version)
    assert talk.pings(bed, asker, outer)
    assert conntrack.towards(bed, source) == [conntrack.echo((source, outer), (foo, source))]
    assert conntrack.towards(bed, hidden) == [conntrack.echo((source, foo), (foo, hidden))]
    assert talk.tcp(bed, asker, "foo1", outer) == hidden
    assert talk.udp(bed, asker, "foo1", outer) == hidden


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("guest", "target", "number"), [("foo1", "alice1", 1), ("bar1", "bob1", 4)]
)
def test_the_source_chooses_the_gateway_and_its_snat_address(
    bed: Sandbox, version: int, guest: str, target: str, number: int
) -> None:
    hidden = EXTERNAL[version].format(number)
    inner, outer = address(bed, guest, version), address(bed, target, version)
    assert talk.pings(bed, guest, outer)
    assert conntrack.towards(bed, hidden) == [conntrack.echo((inner, outer), (outer, hidden))]
    assert talk.tcp(bed, guest, target, outer) == hidden
    assert talk.udp(bed, guest, target, outer) == hidden


def test_connections_by_both_gateways_and_families_at_once(bed: Sandbox) -> None:
    """All from one port to one port of foo1: only the hiding addresses differ."""
    flows = [
        talk.Tcp(bed, asker, "foo1", EXTERNAL[version].format(gateway), 7000, source_port=5000)
        for version in VERSIONS
        for asker, gateway in (("alice1", 2), ("bob1", 3))
    ]
    try:
        for flow in flows:
            flow.exchange()
        hidden = [JOIN[version].format(gateway) for version in VERSIONS for gateway in (2, 3)]
        assert [flow.seen for flow in flows] == [(text, 5000) for text in hidden]
    finally:
        for flow in flows:
            flow.close()
