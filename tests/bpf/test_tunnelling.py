# SPDX-License-Identifier: Apache-2.0
"""Who writes the outer headers, where there is no device; tests/vm has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.tunnelling import Tunnelling
from ovn_bpf_controller.underlay.links import Links
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


@pytest.fixture
def tables(plane: Plane) -> Iterator[Tables]:
    tables = Tables(plane.maps)
    yield tables
    tables.close()


@pytest.mark.parametrize("wanted", ["auto", "netdev", "inline"])
def test_headers_are_inline_where_no_device_can_be_had(
    kernel: Kernel, plane: Plane, tables: Tables, wanted: str
) -> None:
    kernel.veth("genev_sys_6081", "other")  # takes the name, whatever the kernel has
    assert Tunnelling(tables, Links()).refresh(wanted, 0.0) == 0
    assert tunnel_mode(plane.maps) == (lib.OVN_TUNNEL_INLINE, 0)


def test_an_adopted_data_plane_keeps_its_way_until_asked(plane: Plane, tables: Tables) -> None:
    tables.set_tunnel_mode(lib.OVN_TUNNEL_NETDEV, 7, False)
    later = Tunnelling(tables, Links())
    assert tunnel_mode(plane.maps) == (lib.OVN_TUNNEL_NETDEV, 7)
    assert later.refresh("inline", 0.0) == 0
    assert tunnel_mode(plane.maps) == (lib.OVN_TUNNEL_INLINE, 0)
