# SPDX-License-Identifier: Apache-2.0
"""A program that cannot be attached is worth a warning, unless its device is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.attaching import Attaching
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath
from ovn_bpf_controller.model import Datapath, Port, PortKind
from ovn_bpf_controller.process import log
from ovn_bpf_controller.tunnelling import Tunnelling
from ovn_bpf_controller.underlay.links import Links
from tests.support.dataplane import Bed, bed


@pytest.fixture
def plane() -> Iterator[Bed]:
    with bed() as made:
        yield made


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    assert log.open_file(os.fspath(path)) is None
    yield path
    log.close_file()


def desired(ifindex: int) -> Desired:
    ports = {1: Port(1, 1, PortKind.VIF, ifindex=ifindex)}
    return Desired(datapaths={"dp": LocalDatapath("dp", Datapath(1), ports=ports)})


def test_only_of_a_device_that_is_there_it_is_worth_a_warning(plane: Bed, logged: Path) -> None:
    attaching = Attaching(plane.plane, Tunnelling(plane.tables, Links()))
    device, _ = plane.kernel.veth("gone", "other")
    plane.kernel.delete("gone")
    attaching.run(desired(device), "", 0.0)
    assert "cannot attach" not in logged.read_text()
    plane.plane.close()  # nothing can be attached any more
    device, _ = plane.kernel.veth("here", "other")
    attaching.run(desired(device), "", 0.0)
    assert f"|main|WARN|cannot attach ovn_vif to device {device}: " in logged.read_text()
