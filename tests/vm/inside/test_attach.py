# SPDX-License-Identifier: Apache-2.0
"""Which way programs are attached on this kernel, and that packets then run them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import probe
from ovn_bpf_controller.datapath.attach import Attachments, Tcx, best_hook
from ovn_bpf_controller.datapath.clsact import Clsact
from ovn_bpf_controller.datapath.loader import Plane
from tests.support.kernel import Kernel, private_kernel

KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with private_kernel() as kernel:
        yield kernel


@pytest.fixture
def plane(kernel: Kernel) -> Iterator[Plane]:
    plane = Plane("hv1", sizes={})
    yield plane
    plane.close()


def dropped(plane: Plane) -> int:
    """Packets that came from a device that is no logical port's."""
    possible = os.sysconf("SC_NPROCESSORS_CONF")
    counts: Any = ffi.new("struct ovn_count[]", possible)
    key = ffi.new("uint32_t *", lib.DROP_NO_PORT)
    assert lib.ovn_map_lookup(plane.maps["ovn_drops"], key, counts) == 0
    return sum(count.packets for count in counts)


def test_tcx_is_used_from_6_6_on_and_clsact_before(plane: Plane) -> None:
    assert isinstance(best_hook(plane), Tcx if KERNEL >= (6, 6) else Clsact)


def test_the_decap_flags_are_used_from_6_3_on() -> None:
    assert probe.has_decap_flags() == (KERNEL >= (6, 3))


def test_a_packet_runs_the_program(kernel: Kernel, plane: Plane) -> None:
    inside, _ = kernel.veth("vif0", "vm0")
    links = Attachments(plane)
    links.set_wanted([(inside, "ovn_vif")])
    assert links.reconcile()
    assert not links.failed
    before = dropped(plane)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("vm0", 0))
        for _ in range(10):  # a veth delivers within the call or soon after
            sender.send(bytes(12) + b"\x88\xb5" + bytes(46))
    assert dropped(plane) >= before + 1


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
