# SPDX-License-Identifier: Apache-2.0
"""Attaching by a thread, whatever happens meanwhile: to devices, wishes, layouts, itself."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.datapath.attach import Attachment, Attachments, Tcx
from ovn_bpf_controller.datapath.attacher import Attacher, Progress
from ovn_bpf_controller.datapath.clsact import Clsact
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.errors import DataPlaneError
from tests.support.dataplane import DEADLINE
from tests.support.kernel import Kernel, private_kernel

COUNT = 8  # devices; each takes a grace period


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with private_kernel() as kernel:
        yield kernel


@pytest.fixture
def plane(kernel: Kernel) -> Iterator[Plane]:
    plane = Plane("hv1", sizes={})
    yield plane
    plane.close()


@pytest.fixture(params=[Tcx, Clsact])
def kind(request: pytest.FixtureRequest) -> type[Tcx] | type[Clsact]:
    found: type[Tcx] | type[Clsact] = request.param
    return found


@pytest.fixture
def attacher(plane: Plane, kind: type[Tcx] | type[Clsact]) -> Iterator[Attacher]:
    made = Attacher(plane, kind(plane))
    yield made
    made.close()


def devices(kernel: Kernel, count: int = COUNT) -> list[Attachment]:
    return [(kernel.veth(f"a{n}", f"b{n}")[0], "ovn_vif") for n in range(count)]


def news(attacher: Attacher) -> Progress:
    """What is told next."""
    select.select([attacher.fileno()], [], [], DEADLINE)
    found = attacher.progress()
    assert found is not None, "no news"
    return found


def settle(attacher: Attacher, request: int, wanted: list[Attachment]) -> Progress:
    """What is told when each of `wanted` runs, or cannot, and nothing else does."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = news(attacher)
        if found.request >= request and found.running | found.failed.keys() == set(wanted):
            return found
    raise AssertionError(f"{wanted} wanted, {found}")


def test_what_is_wanted_runs_and_is_told(
    kernel: Kernel, plane: Plane, attacher: Attacher, kind: type[Tcx] | type[Clsact]
) -> None:
    wanted = devices(kernel)
    progress = settle(attacher, attacher.want(wanted), wanted)
    assert not progress.failed
    assert kind(plane).attached() == set(wanted)


def test_the_last_wish_counts(
    kernel: Kernel, plane: Plane, attacher: Attacher, kind: type[Tcx] | type[Clsact]
) -> None:
    wanted = devices(kernel)
    attacher.want(wanted[1:])
    settle(attacher, attacher.want(wanted[:1]), wanted[:1])
    assert kind(plane).attached() == set(wanted[:1])


def test_a_device_that_goes_meanwhile_costs_itself(
    kernel: Kernel, plane: Plane, attacher: Attacher, kind: type[Tcx] | type[Clsact]
) -> None:
    wanted = devices(kernel)
    attacher.want(wanted)
    kernel.delete(f"a{COUNT - 1}")
    # It may have been attached before it went; then the next look finds out.
    end = time.monotonic() + DEADLINE
    attacher.look()
    while (progress := news(attacher)).running != set(wanted[:-1]) or not progress.failed:
        assert time.monotonic() < end
        attacher.look()
    assert progress.failed.keys() == {wanted[-1]}
    assert kind(plane).attached() == set(wanted[:-1])
    anew = [*wanted[:-1], (kernel.veth(f"a{COUNT - 1}", f"b{COUNT - 1}")[0], "ovn_vif")]
    assert not settle(attacher, attacher.want(anew), anew).failed


def test_what_others_took_away_comes_back(
    kernel: Kernel, plane: Plane, attacher: Attacher, kind: type[Tcx] | type[Clsact]
) -> None:
    wanted = devices(kernel, 2)
    settle(attacher, attacher.want(wanted), wanted)
    kind(plane).detach(*wanted[0])
    attacher.look()
    end = time.monotonic() + DEADLINE
    while kind(plane).attached() != set(wanted):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_look_that_finds_nothing_is_no_news(kernel: Kernel, attacher: Attacher) -> None:
    wanted = devices(kernel, 2)
    settle(attacher, attacher.want(wanted), wanted)
    attacher.look()
    more = [*wanted, (kernel.veth("c", "d")[0], "ovn_vif")]
    number = attacher.want(more)
    assert news(attacher).request == number, "the look was told, too"


def test_what_another_agent_left_undone_is_done(
    kernel: Kernel, plane: Plane, kind: type[Tcx] | type[Clsact]
) -> None:
    wanted = devices(kernel)
    first = Attacher(plane, kind(plane))
    first.want(wanted)
    first.close()  # at the latest after the attachment that it is at
    second = Attacher(plane, kind(plane))
    assert not settle(second, second.want(wanted), wanted).failed
    assert kind(plane).attached() == set(wanted)
    second.close()


def test_an_older_layout_is_replaced_while_others_are_attached(kernel: Kernel) -> None:
    wanted = devices(kernel)
    older = Plane("hv1", sizes={})
    links = Attachments(older, Tcx(older))
    links.set_wanted(wanted[: COUNT // 2])
    links.reconcile()
    older.close()
    newer = Plane("hv1", sizes={"ovn_ports": 2048})
    attacher = Attacher(newer, Tcx(newer))
    number = attacher.want(wanted)
    attacher.supersede()
    assert not settle(attacher, number, wanted).failed
    attacher.close()
    assert Tcx(newer).attached() == set(wanted) and not newer.older()
    newer.close()


def test_an_error_is_told_and_the_next_look_goes_on(kernel: Kernel, plane: Plane) -> None:
    attacher = Attacher(plane, Tcx(plane))
    try:
        wanted = devices(kernel, 2)
        stranger = plane.links / "1-ovn_vif"
        stranger.mkdir()  # no pin
        attacher.want(wanted)
        select.select([attacher.fileno()], [], [], DEADLINE)
        with pytest.raises(DataPlaneError, match="1-ovn_vif cannot be opened"):
            attacher.progress()
        stranger.rmdir()
        attacher.look()
        assert settle(attacher, 1, wanted).running == set(wanted)
    finally:
        attacher.close()
