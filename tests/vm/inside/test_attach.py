# SPDX-License-Identifier: Apache-2.0
"""Which way programs are attached on this kernel, and that packets then run them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath import probe
from ovn_bpf_controller.datapath.attach import Attachments, Tcx, best_hook
from ovn_bpf_controller.datapath.clsact import Clsact
from ovn_bpf_controller.datapath.loader import Plane
from tests.support.control import dropped, release
from tests.support.kernel import Kernel, private_kernel


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with private_kernel() as kernel:
        yield kernel


@pytest.fixture
def plane(kernel: Kernel) -> Iterator[Plane]:
    plane = Plane("hv1", sizes={})
    yield plane
    plane.close()


def test_tcx_is_used_from_6_6_on_and_clsact_before(plane: Plane) -> None:
    assert isinstance(best_hook(plane), Tcx if release() >= (6, 6) else Clsact)


def test_the_decap_flags_are_used_from_6_3_on() -> None:
    assert probe.has_decap_flags() == (release() >= (6, 3))


def test_a_packet_runs_the_program(kernel: Kernel, plane: Plane) -> None:
    inside, _ = kernel.veth("vif0", "vm0")
    links = Attachments(plane)
    links.set_wanted([(inside, "ovn_vif")])
    assert links.reconcile()
    assert not links.failed
    before = dropped(plane.maps, lib.DROP_NO_PORT)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("vm0", 0))
        for _ in range(10):  # a veth delivers within the call or soon after
            sender.send(bytes(12) + b"\x88\xb5" + bytes(46))
    assert dropped(plane.maps, lib.DROP_NO_PORT) >= before + 1


def test_what_is_attached_outlives_the_agent(kernel: Kernel, plane: Plane) -> None:
    inside, _ = kernel.veth("vif0", "vm0")
    links = Attachments(plane)
    links.set_wanted([(inside, "ovn_vif")])
    links.reconcile()
    later = Plane("hv1", sizes={})
    try:
        assert Attachments(later).attached() == {(inside, "ovn_vif")}
    finally:
        later.close()
