# SPDX-License-Identifier: Apache-2.0
"""Connections that came by an ECMP next hop end with it, others of its zone do not."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from scapy.layers.inet import IP, UDP

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath
from ovn_bpf_controller.model import Datapath
from ovn_bpf_controller.ovsdb.tables import ECMPNexthop
from ovn_bpf_controller.tracking import Tracking
from tests.support.tracked import ZONE, Tracked, ct, tracked

HOPS = {"20.0.0.2": "00:00:04:01:02:04", "20.0.0.3": "00:00:04:01:02:05"}
OTHER_BITS = 5 << 80 | 7  # of ct_label, beside ecmp_reply_eth


class World:
    """Connections by each next hop, and one by none, in two zones."""

    def __init__(self, plane: Tracked) -> None:
        self.plane = plane
        self.rows = {
            hop: ECMPNexthop(uuid=hop, nexthop=hop, mac=mac, datapath="r1")
            for hop, mac in HOPS.items()
        }
        cache = SimpleNamespace(table=lambda _table: self.rows)
        self.tracking = Tracking(plane.conntrack, cast(Any, cache))
        plane.forget(ZONE, ZONE + 1)
        for zone in (ZONE, ZONE + 1):
            for port, mac in enumerate([*HOPS.values(), None], start=1):
                label = int(mac.replace(":", ""), 16) << 32 | OTHER_BITS if mac else 0
                packet = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=port, dport=9)
                plane.send(packet, ct(lib.OVN_CT_COMMIT, zone, label=label))
        self.live()

    def live(self, *, local: bool = True) -> None:
        router = LocalDatapath("r1", Datapath(1, dnat_zone=ZONE, snat_zone=0))
        self.tracking.live(Desired(datapaths={"r1": router} if local else {}))

    def left(self, zone: int) -> set[int]:
        """Source ports of the connections that there are: 1 and 2 by next hops."""
        return {conn.orig.sport for conn in self.plane.connections(zone)}


@pytest.fixture(name="plane", scope="module")
def _plane() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


@pytest.fixture(name="world")
def _world(plane: Tracked) -> World:
    world = World(plane)
    assert world.left(ZONE) == world.left(ZONE + 1) == {1, 2, 3}
    return world


def test_a_row_that_goes_takes_its_connections_along(world: World) -> None:
    del world.rows["20.0.0.2"]
    world.live()
    assert world.left(ZONE) == {2, 3}
    assert world.left(ZONE + 1) == {1, 2, 3}


def test_another_mac_is_another_next_hop(world: World) -> None:
    world.rows["20.0.0.3"] = ECMPNexthop(
        uuid="20.0.0.3", nexthop="20.0.0.3", mac="00:00:04:01:02:99", datapath="r1"
    )
    world.live()
    assert world.left(ZONE) == {1, 3}


def test_a_router_that_is_no_longer_here(world: World) -> None:
    world.live(local=False)
    assert world.left(ZONE) == {3}


@pytest.mark.parametrize("mac", ["", "rubbish", "1:2:3:4:5:x"])
def test_what_is_no_address_is_no_next_hop(world: World, mac: str) -> None:
    world.rows["new"] = ECMPNexthop(uuid="new", nexthop="20.0.0.4", mac=mac, datapath="r1")
    world.live()
    del world.rows["new"]
    world.live()
    assert world.left(ZONE) == {1, 2, 3}
