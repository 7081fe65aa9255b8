# SPDX-License-Identifier: Apache-2.0
"""What the agent is told of devices: which are not ready, and what is worth a warning."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.attaching import Attaching
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath
from ovn_bpf_controller.datapath import libbpf
from ovn_bpf_controller.model import Datapath, Port, PortKind
from ovn_bpf_controller.process import log
from ovn_bpf_controller.tunnelling import Tunnelling
from ovn_bpf_controller.underlay.links import Links
from tests.support.dataplane import DEADLINE, Bed, bed


@pytest.fixture
def plane() -> Iterator[Bed]:
    with bed() as made:
        yield made


@pytest.fixture
def attaching(plane: Bed) -> Iterator[Attaching]:
    made = Attaching(plane.plane, Tunnelling(plane.tables, Links()))
    yield made
    made.close()


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "log"
    assert log.open_file(os.fspath(path)) is None
    yield path
    log.close_file()


def desired(seq: int, *devices: int) -> Desired:
    ports = {
        key: Port(1, key, PortKind.VIF, ifindex=device) for key, device in enumerate(devices, 1)
    }
    local = LocalDatapath("dp", Datapath(1), ports=ports)
    return Desired(seq=seq, datapaths={"dp": local})


def until(attaching: Attaching, condition: Callable[[], bool]) -> None:
    """Goes round as the agent does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
        attaching.collect()


def test_only_of_a_device_that_is_there_it_is_worth_a_warning(
    plane: Bed, attaching: Attaching, logged: Path
) -> None:
    gone, _ = plane.kernel.veth("gone", "other")
    plane.kernel.delete("gone")
    attaching.run(desired(1, gone), "", 0.0)
    until(attaching, lambda: attaching.settled)
    assert "cannot attach" not in logged.read_text()
    here, _ = plane.kernel.veth("here", "other")
    plane.plane.close()  # nothing can be attached any more
    attaching.run(desired(2, here), "", 0.0)
    until(attaching, lambda: attaching.settled)
    assert attaching.unready == {here}
    assert f"|main|WARN|cannot attach ovn_vif to device {here}: " in logged.read_text()


def test_what_waits_for_a_device_is_not_told_what_others_wait_for(
    plane: Bed, attaching: Attaching
) -> None:
    first, second = (plane.kernel.veth(f"a{n}", f"b{n}")[0] for n in range(2))
    attaching.run(desired(1, first), "", 0.0)
    assert attaching.unready == {first} and attaching.attached(1) == 0
    assert not attaching.settled and not attaching.lived
    until(attaching, lambda: attaching.settled)
    assert attaching.unready == set() and attaching.attached(1) == 1 and attaching.lived
    attaching.run(desired(5, first, second), "", 0.0)
    assert attaching.unready == {second} and attaching.attached(6) == 1
    attaching.run(desired(7, second), "", 0.0)
    assert attaching.unready == {second} and attaching.attached(7) == 1
    until(attaching, lambda: attaching.settled)
    assert attaching.attached(7) == 7


def test_a_device_that_comes_back_waits_anew(plane: Bed, attaching: Attaching) -> None:
    device, _ = plane.kernel.veth("a", "b")
    attaching.run(desired(1, device), "", 0.0)
    until(attaching, lambda: attaching.settled)
    attaching.run(desired(2), "", 0.0)
    attaching.run(desired(3, device), "", 0.0)
    assert attaching.unready == {device} and attaching.attached(3) == 2
    until(attaching, lambda: attaching.settled)
    assert attaching.attached(3) == 3


def test_a_program_that_somebody_took_away_comes_back(plane: Bed, attaching: Attaching) -> None:
    device, _ = plane.kernel.veth("a", "b")
    wanted = desired(1, device)
    attaching.run(wanted, "", 0.0)
    until(attaching, lambda: attaching.settled)
    pin = plane.plane.links / f"{device}-ovn_vif"
    libbpf.unpin(pin)
    attaching.run(wanted, "", attaching.due - 0.1)

    def looked() -> bool:
        attaching.run(wanted, "", attaching.due)
        return pin.exists() and not attaching.unready

    until(attaching, looked)


def test_a_file_system_that_somebody_emptied_is_worth_a_warning(
    plane: Bed, attaching: Attaching, logged: Path
) -> None:
    device, _ = plane.kernel.veth("a", "b")
    wanted = desired(1, device)
    plane.plane.links.rmdir()
    attaching.run(wanted, "", 0.0)
    until(attaching, lambda: "|WARN|devices cannot be looked at: " in logged.read_text())
    plane.plane.links.mkdir()
    attaching.run(wanted, "", attaching.due)
    until(attaching, lambda: attaching.settled)
    assert attaching.unready == set()
