# SPDX-License-Identifier: Apache-2.0
"""Plane.grow(): larger maps for the tables, the same ones for everything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import inherit
from ovn_bpf_controller.datapath.attach import Attachments, Tcx
from ovn_bpf_controller.datapath.loader import OBJECT, TABLES, Plane
from ovn_bpf_controller.datapath.maps import map_info, pinned
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.errors import DataPlaneError
from tests.support.kernel import Kernel, private_kernel

MOST = {"ovn_ports": 4096, "ovn_port_idx": 4096, "ovn_fdb": 2048}


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with private_kernel() as kernel:
        yield kernel


def ids(plane: Plane) -> dict[str, int]:
    return {name: map_info(fd).id for name, fd in plane.maps.items()}


def room(plane: Plane, name: str) -> int:
    return map_info(plane.maps[name]).max_entries


def running(plane: Plane, ifindex: int) -> int:
    """The program of the device's link, wherever that is pinned."""
    [pin] = [p for d in (*plane.older(), plane.directory) for p in d.glob(f"links/{ifindex}-*")]
    fd = pinned(pin)
    info: Any = ffi.new("struct ovn_link_info *")
    assert lib.ovn_link_info(fd, info) == 0
    return int(info.prog_id)


def program(plane: Plane) -> int:
    info: Any = ffi.new("struct ovn_prog_info *")
    assert lib.ovn_prog_info(plane.programs["ovn_vif"], info) == 0
    return int(info.id)


def test_the_tables_maps_are_those_that_tables_uses(kernel: Kernel) -> None:
    """All of them, so that none is shared with the tables before; and no others, so that
    nothing is lost that cannot be written again."""

    class Asked(dict[str, int]):
        names: set[str] = set()

        def __getitem__(self, name: str) -> int:
            self.names.add(name)
            return super().__getitem__(name)

    plane = Plane("hv1", sizes=MOST)
    asked = Asked(plane.maps)
    Tables(asked).close()
    assert asked.names == TABLES
    plane.close()


def test_larger_tables_take_the_place_of_full_ones(kernel: Kernel) -> None:
    device, _ = kernel.veth("a", "b")
    plane = Plane("hv1", sizes=MOST, grows=True)
    assert plane.may_grow
    assert room(plane, "ovn_ports") == 512 and room(plane, "ovn_fdb") == 2048
    links = Attachments(plane, Tcx(plane))
    links.set_wanted([(device, "ovn_vif")])
    links.reconcile()
    before, old = ids(plane), program(plane)
    plane.grow()
    assert not plane.may_grow
    assert room(plane, "ovn_ports") == 4096 and room(plane, "ovn_fdb") == 2048
    assert {name for name, number in ids(plane).items() if number != before[name]} == TABLES
    assert running(plane, device) == old, "the new tables are empty"
    links.supersede()
    assert running(plane, device) == program(plane) != old
    assert plane.older() == []
    plane.forget_outgrown()
    plane.close()


def test_the_next_agent_has_the_larger_ones(kernel: Kernel) -> None:
    plane = Plane("hv1", sizes=MOST, grows=True)
    plane.grow()
    large = ids(plane)
    plane.close()  # before the links were moved
    plane = Plane("hv1", sizes=MOST, grows=True)
    assert plane.adopted and not plane.may_grow and ids(plane) == large
    plane.supersede()
    plane.close()
    plane = Plane("hv1", sizes=MOST, grows=True)
    assert plane.adopted and ids(plane) == large and plane.older() == []
    plane.remove()
    plane = Plane("hv1", sizes=MOST, grows=True)
    assert plane.may_grow and not plane.adopted
    plane.close()


def test_where_there_are_no_larger_ones_all_stays_as_it_was(kernel: Kernel, tmp_path: Path) -> None:
    source = tmp_path / "ovn.o"
    source.write_bytes(OBJECT.read_bytes())
    plane = Plane("hv1", sizes=MOST, source=source, grows=True)
    before, directory, old = ids(plane), plane.directory, program(plane)
    for other in (OBJECT.read_bytes() + b"\0", b"\x7fELF but not really"):
        source.write_bytes(other)  # what a package leaves when it is upgraded
        with pytest.raises(DataPlaneError, match="another build"):
            plane.grow()
        assert ids(plane) == before and plane.directory == directory
        assert program(plane) == old and plane.older() == []
        assert plane.may_grow
    source.write_bytes(OBJECT.read_bytes())
    plane.grow()
    assert room(plane, "ovn_ports") == 4096
    plane.close()


def test_a_failure_when_all_is_loaded_keeps_nothing_open(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = Plane("hv1", sizes=MOST, grows=True)
    before, opened = ids(plane), len(os.listdir("/proc/self/fd"))

    def fail(_directory: Path) -> None:
        raise DataPlaneError("no room for pins")

    with monkeypatch.context() as patch:
        patch.setattr(inherit, "mark", fail)
        with pytest.raises(DataPlaneError, match="no room for pins"):
            plane.grow()
    assert len(os.listdir("/proc/self/fd")) == opened
    assert ids(plane) == before and plane.older() == [] and plane.may_grow
    plane.grow()
    assert not plane.may_grow
    plane.close()
