# SPDX-License-Identifier: Apache-2.0
"""Programs that end in another one: no packet finds it missing while builds change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ovn_bpf_controller.datapath import libbpf
from ovn_bpf_controller.datapath.attach import Attachments, Tcx
from ovn_bpf_controller.datapath.clsact import Clsact
from ovn_bpf_controller.datapath.counters import Counters
from ovn_bpf_controller.datapath.loader import OBJECT, Plane
from ovn_bpf_controller.datapath.programs import CALLS
from tests.support.dataplane import DEADLINE, Bed, bed, mac, reason

FRAME = bytes(
    Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2)
)
Kind = type[Tcx] | type[Clsact]


@pytest.fixture(params=[Tcx, Clsact])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def switch(kind: Kind) -> Iterator[Bed]:
    """Two ports, and the flows between them."""
    with bed() as made:
        made.attachments = Attachments(made.plane, kind(made.plane))
        made.plug(1, 2)
        made.switch(1, 2)
        yield made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The object as another build would leave it: other bytes."""
    copy = tmp_path / "ovn.o"
    copy.write_bytes(OBJECT.read_bytes() + b"\0")
    return copy


def forwards(switch: Bed) -> bool:
    switch.send("p1", FRAME)
    return switch.received(1) == [("p2", FRAME)]


def builds(plane: Plane) -> list[Path]:
    return list(plane.directory.glob("programs-*"))


def test_another_build_forwards_at_every_moment(switch: Bed, kind: Kind, source: Path) -> None:
    switch.plane.programs.close()
    assert forwards(switch), "without an agent"
    second = Plane("test", sizes={}, source=source)
    assert forwards(switch), "loaded"
    assert len(builds(second)) == 2
    links = Attachments(second, kind(second))
    assert forwards(switch), "taken over"
    assert builds(second) == [second.programs.directory]
    assert links.attached() == switch.attachments.attached()
    assert not switch.all_dropped()
    second.close()


def test_another_layout_waits_for_its_tables(switch: Bed, kind: Kind) -> None:
    second = Plane("test", sizes={"ovn_ports": 2048})
    links = Attachments(second, kind(second))
    links.set_wanted(switch.attachments.attached())
    links.reconcile()
    assert forwards(switch)
    links.supersede()
    switch.send("p1", FRAME)
    drops = Counters("ovn_drops", second.maps["ovn_drops"])
    assert drops.read(reason("DROP_NO_PORT")).packets == 1, "its tables are empty"
    assert not switch.all_dropped()
    assert not second.older()
    second.close()


def test_killed_before_the_devices_moved(
    switch: Bed, kind: Kind, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(libbpf, "link_update", _interrupt)
        killed.setattr(Clsact, "take_over", _interrupt)
        second = Plane("test", sizes={}, source=source)
        Attachments(second, kind(second))
    assert forwards(switch)
    third = Plane("test", sizes={}, source=source)
    Attachments(third, kind(third))
    assert builds(third) == [third.programs.directory]
    assert forwards(switch)
    third.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_program_that_is_missing_is_a_drop_of_its_own(switch: Bed) -> None:
    (switch.plane.programs.directory / CALLS).unlink()
    switch.plane.programs.close()
    until = time.monotonic() + DEADLINE  # the kernel empties the map after a grace period
    while not switch.dropped(reason("DROP_NO_PROGRAM")) and time.monotonic() < until:
        switch.send("p1", FRAME)
    assert switch.all_dropped() == switch.dropped(reason("DROP_NO_PROGRAM")) > 0
