# SPDX-License-Identifier: Apache-2.0
"""Each port has a zone of its own, which is emptied when the port goes."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk
from tests.support.talk import address

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {ls1: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}}
ports:
  p1: {switch: ls1, chassis: hv1}
  p2: {switch: ls1, chassis: hv1}
  p3: {switch: ls1}
acls:
  - {switch: ls1, direction: from-lport, priority: 1, match: "1", action: allow-related}
"""
VERSIONS = (4, 6)


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    conntrack.flush(bed)


def lines(bed: Sandbox, zone: int) -> list[str]:
    return conntrack.dump(bed, f"zone={zone}")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_is_in_the_zones_of_both_ports(bed: Sandbox, version: int) -> None:
    chassis = bed.chassis["hv1"]
    one, two = address(bed, "p1", version), address(bed, "p2", version)
    zones = [conntrack.zone(chassis, name) for name in ("p1", "p2")]
    assert talk.pings(bed, "p1", two)
    with talk.Tcp(bed, "p1", "p2", two) as connection:
        connection.exchange()
        wanted = [make((one, two), (two, one)) for make in (conntrack.echo, conntrack.tcp)]
        for zone in zones:
            assert conntrack.towards(bed, two, f"zone={zone}") == wanted
    assert conntrack.towards(bed, two) == sorted(wanted * 2)


def test_one_zone_can_be_flushed(bed: Sandbox) -> None:
    chassis = bed.chassis["hv1"]
    one, two = (conntrack.zone(chassis, name) for name in ("p1", "p2"))
    assert talk.pings(bed, "p1", bed.ports["p2"].ip4)
    conntrack.flush(bed, f"zone={one}")
    assert lines(bed, one) == []
    assert len(lines(bed, two)) == 1


def test_a_request_without_an_answer_is_held(bed: Sandbox) -> None:
    """To a port that is nowhere: the answer to the ARP request is northd's."""
    spec = bed.topology.ports["p3"]
    one, three = bed.ports["p1"].ip4, str(spec.ips[0].ip)
    assert talk.unanswered(bed, "p1", three)
    zone = conntrack.zone(bed.chassis["hv1"], "p1")
    assert conntrack.towards(bed, three, f"zone={zone}") == [
        conntrack.echo((one, three), (three, one))
    ]


def test_the_zone_of_a_released_port_is_emptied(bed: Sandbox) -> None:
    chassis, port = bed.chassis["hv1"], bed.ports["p1"]
    zone = conntrack.zone(chassis, "p1")
    with talk.Tcp(bed, "p1", "p2", bed.ports["p2"].ip4) as connection:
        connection.exchange()
        assert len(lines(bed, zone)) == 1
        chassis.vsctl("clear", "interface", port.vif, "external_ids")
        process.wait_until(lambda: lines(bed, zone) == [], 30, f"flush of zone {zone}")
        chassis.vsctl("set", "interface", port.vif, "external_ids:iface-id=p1")
        bed.wait_up("p1")
        bed.sync()


def test_a_port_that_takes_over_a_zone_finds_it_empty(bed: Sandbox) -> None:
    """Guests come and go on one chassis; no zone ever shows what another left behind."""
    chassis = bed.chassis["hv1"]
    for name in ("p3", "p2", "p3", "p2"):
        if name not in bed.ports:
            bed.plug(name, "hv1")
        bed.sync()
        zone = conntrack.zone(chassis, name)
        assert lines(bed, zone) == []
        assert talk.pings(bed, name, bed.ports["p1"].ip4)
        assert conntrack.towards(bed, bed.ports["p1"].ip4, f"zone={zone}") != []
        bed.unplug(name)
    bed.plug("p2")
