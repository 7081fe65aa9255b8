# SPDX-License-Identifier: Apache-2.0
"""What the Southbound and vanished ports do to what the program has learnt."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.binding.desired import Delta, Desired, LocalDatapath
from ovn_bpf_controller.datapath.learnt import Learnt
from ovn_bpf_controller.learnt import LearntState
from ovn_bpf_controller.model import Datapath, Port, PortKind
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import FDB, MACBinding
from tests.support.dataplane import Bed, mac

STRANGER = "0e:00:00:00:00:01"
UUID = "11111111-1111-1111-1111-111111111111"
DP = "22222222-2222-2222-2222-222222222222"


def row(port: int, mac: str = STRANGER) -> FDB:
    return FDB(uuid=UUID, mac=mac, dp_key=1, port_key=port)


def binding(mac: str) -> MACBinding:
    return MACBinding(uuid=UUID, logical_port="vm1", ip="10.0.0.7", mac=mac, datapath=DP)


def desired(*ports: int) -> Desired:
    local = LocalDatapath(
        DP,
        Datapath(1),
        ports={n: Port(1, n, PortKind.VIF, ifindex=n) for n in ports},
        port_keys={f"vm{n}": n for n in ports},
    )
    return Desired(complete=True, datapaths={DP: local})


class World:
    """A switch that learns and asks, and what keeps its memory in step."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        bed.plug(1, 2, 3)
        bed.flow(0, 0, 90, "arp", "put_fdb(inport, eth.src); put_arp(inport, arp.spa, arp.sha);")
        bed.flow(0, 0, 50, "1", "outport = get_fdb(eth.dst); next;")
        bed.flow(0, 1, 50, 'outport == "none"', "drop;")
        bed.flow(0, 1, 0, "1", "output;")
        bed.flow(1, 0, 0, "1", "output;")
        bed.flows_live()
        self.learnt = Learnt(bed.plane.maps)
        self.state = LearntState(self.learnt)
        self.run()

    def run(
        self,
        *,
        ports: tuple[int, ...] = (1, 2, 3),
        fdb: tuple[FDB | None, FDB | None] = (None, None),
        macs: tuple[MACBinding | None, MACBinding | None] = (None, None),
    ) -> None:
        noted = Changes()
        noted.note(FDB.TABLE, UUID, *fdb)
        noted.note(MACBinding.TABLE, UUID, *macs)
        delta = Delta()
        delta.ports = {(1, n): None for n in (1, 2, 3) if n not in ports}
        self.state.note(noted, delta)
        self.state.run(desired(*ports))

    def way(self) -> str:
        """Where a packet to STRANGER goes, "" if nowhere."""
        before = self.bed.dropped(lib.DROP_ACTION)
        self.bed.send("p1", bytes(Ether(src=mac(1), dst=STRANGER, type=0x88CC) / (b"x" * 46)))
        if self.bed.dropped(lib.DROP_ACTION) > before:
            return ""
        ((where, _),) = self.bed.received(1)
        return where

    def announce(self, port: int) -> None:
        """STRANGER is heard at the port."""
        arp = ARP(op=1, hwsrc=STRANGER, psrc="10.0.0.7", pdst="10.0.0.9")
        self.bed.send(f"p{port}", bytes(Ether(src=STRANGER, dst=mac(9)) / arp))

    def neighbours(self) -> int:
        """How many neighbours are known; asks the map, and changes nothing."""
        count = 0

        def look(dp: int, port: int) -> bool:
            nonlocal count
            count += 1
            return False

        self.learnt.forget(look)
        return count


@pytest.fixture
def world(bed: Bed) -> Iterator[World]:
    yield World(bed)


def test_a_row_is_an_entry_until_it_goes(world: World) -> None:
    assert world.way() == ""
    world.run(fdb=(None, row(2)))
    assert world.way() == "p2"
    world.run(fdb=(row(2), row(3)))
    assert world.way() == "p3"
    world.run(fdb=(row(3), None))
    assert world.way() == ""


def test_what_is_aged_goes_although_it_was_learnt_here(world: World) -> None:
    world.announce(2)
    assert world.way() == "p2"
    world.run(fdb=(row(2), None))
    assert world.way() == ""


def test_what_was_learnt_since_stays(world: World) -> None:
    world.run(fdb=(None, row(2)))
    world.announce(3)
    world.run(fdb=(row(2), None))
    assert world.way() == "p3"


def test_a_port_that_goes_takes_what_was_learnt_along(world: World) -> None:
    world.announce(2)
    assert world.neighbours() == 2  # in either map one
    world.run(ports=(1, 3))
    assert world.neighbours() == 0
    assert world.way() == ""


def test_what_an_earlier_agent_left_of_ports_unknown_now_goes(world: World) -> None:
    world.announce(2)
    LearntState(world.learnt).run(desired(1, 3))
    assert world.neighbours() == 0


def test_rows_of_other_datapaths_wait_for_theirs(world: World) -> None:
    world.state.note(Changes(), Delta())
    world.run(fdb=(None, FDB(uuid=UUID, mac=STRANGER, dp_key=2, port_key=2)))
    assert world.way() == "" and world.neighbours() == 0
    delta = Delta(datapaths={2: Datapath(2)})
    world.state.note(Changes(), delta)
    both = desired(1, 2, 3)
    second = LocalDatapath("other", Datapath(2))
    world.state.run(Desired(complete=True, datapaths={**both.datapaths, "other": second}))
    assert world.neighbours() == 1


def test_a_row_without_a_mac_address_costs_itself_only(world: World) -> None:
    world.run(fdb=(None, row(2, "unknown")))
    world.run(fdb=(row(2, "unknown"), row(2)))
    assert world.way() == "p2"


@pytest.mark.parametrize(("aged", "left"), [(STRANGER, 1), ("0e:00:00:00:00:02", 2)])
def test_a_mac_binding_that_goes_takes_its_like_along(world: World, aged: str, left: int) -> None:
    world.announce(1)
    world.run(macs=(binding(aged), None))
    assert world.neighbours() == left


def test_a_mac_binding_that_says_the_same_takes_nothing_along(world: World) -> None:
    world.announce(1)
    world.run(macs=(binding(STRANGER), binding(STRANGER)))
    world.run(macs=(MACBinding(uuid=UUID, ip=str(ipaddress.IPv4Address(1)), datapath="?"), None))
    assert world.neighbours() == 2
