# SPDX-License-Identifier: Apache-2.0
"""The way of tunnel packets follows the operator and the device."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.tunnelling import RETRY_SECONDS, Tunnelling
from ovn_bpf_controller.underlay.route import KernelUnderlay
from tests.support.control import tunnel_mode
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


class Way:
    """Tunnelling over what the kernel says of its links."""

    def __init__(self, plane: Plane) -> None:
        self._maps = plane.maps
        self._tables = Tables(plane.maps)
        self._underlay = KernelUnderlay()
        self._tunnelling = Tunnelling(self._tables, self._underlay.links)

    def close(self) -> None:
        self._underlay.close()
        self._tables.close()

    def refresh(self, wanted: str, now: float) -> int:
        self._underlay.run()
        ifindex = self._tunnelling.refresh(wanted, now)
        mode = lib.OVN_TUNNEL_NETDEV if ifindex else lib.OVN_TUNNEL_INLINE
        assert tunnel_mode(self._maps) == (mode, ifindex)
        return ifindex


@pytest.fixture
def way(plane: Plane) -> Iterator[Way]:
    way = Way(plane)
    yield way
    way.close()


def test_the_device_is_the_first_choice(way: Way) -> None:
    ifindex = way.refresh("auto", 0.0)
    assert ifindex
    assert way.refresh("netdev", 1.0) == ifindex
    assert way.refresh("inline", 2.0) == 0
    assert way.refresh("auto", 3.0) == ifindex


def test_a_lost_device_is_made_again_at_once(way: Way) -> None:
    before = way.refresh("auto", 0.0)
    way.refresh("auto", 0.1)
    subprocess.run(["ip", "link", "del", "genev_sys_6081"], check=True)
    after = way.refresh("auto", 0.2)
    assert after not in (0, before)


def test_without_a_device_it_is_asked_for_now_and_then(kernel: Kernel, way: Way) -> None:
    kernel.veth("genev_sys_6081", "other")
    assert way.refresh("auto", 0.0) == 0
    kernel.delete("genev_sys_6081")
    assert way.refresh("auto", RETRY_SECONDS - 1) == 0
    assert way.refresh("auto", RETRY_SECONDS + 1)
