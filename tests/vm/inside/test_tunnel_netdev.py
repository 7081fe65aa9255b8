# SPDX-License-Identifier: Apache-2.0
"""The tunnel device is made once, found by its settings, and shared."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from ovn_bpf_controller.datapath import tunnel_netdev
from ovn_bpf_controller.datapath.tunnel_netdev import ALIAS, KINDS, device_name
from ovn_bpf_controller.errors import DataPlaneError
from tests.support.kernel import Kernel, private_kernel

BOTH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def kernel() -> Iterator[Kernel]:
    with private_kernel() as kernel:
        yield kernel


def ip(command: str) -> str:
    return subprocess.run(
        ["ip", *command.split()], check=True, text=True, stdout=subprocess.PIPE
    ).stdout


def show(name: str) -> Any:
    """What iproute2 says of a device."""
    return json.loads(ip(f"-d -j link show {name}"))[0]


@BOTH
def test_a_device_is_made_as_ovs_would(kind: str) -> None:
    port = KINDS[kind][1]
    ifindex = tunnel_netdev.ensure(kind)
    device = show(device_name(kind, port))
    assert device["ifindex"] == ifindex
    assert "UP" in device["flags"]
    assert device["mtu"] == 65000
    assert device["linkinfo"]["info_kind"] == kind
    settings = device["linkinfo"]["info_data"]
    assert (settings["external"], settings["port"], settings["udp_zero_csum6_rx"]) == (
        True,
        port,
        True,
    )
    assert device["ifalias"] == ALIAS


@BOTH
def test_it_is_made_once_and_brought_up_again(kind: str) -> None:
    name = device_name(kind, KINDS[kind][1])
    ifindex = tunnel_netdev.ensure(kind)
    ip(f"link set {name} down")
    assert tunnel_netdev.ensure(kind) == ifindex
    assert "UP" in show(name)["flags"]


@BOTH
def test_it_is_found_under_any_name(kind: str) -> None:
    ip(f"link add other0 type {kind} external dstport {KINDS[kind][1]}")
    assert tunnel_netdev.ensure(kind) == show("other0")["ifindex"]


@BOTH
def test_another_port_gets_another_device(kind: str) -> None:
    assert tunnel_netdev.ensure(kind, 7000) != tunnel_netdev.ensure(kind)
    assert show(device_name(kind, 7000))["linkinfo"]["info_data"]["port"] == 7000


@BOTH
def test_a_foreign_device_of_that_name_is_let_alone(kind: str) -> None:
    name = device_name(kind, KINDS[kind][1])
    ip(f"link add {name} type dummy")
    with pytest.raises(DataPlaneError, match=f"^{name} cannot be made"):
        tunnel_netdev.ensure(kind)
    assert show(name)["linkinfo"]["info_kind"] == "dummy"


def test_a_point_to_point_tunnel_that_has_the_port_is_let_alone() -> None:
    ip("link add p2p0 type geneve id 5 remote 192.0.2.1")
    with pytest.raises(DataPlaneError, match="perhaps for another device on UDP port 6081"):
        tunnel_netdev.ensure()
    assert show("p2p0")["linkinfo"]["info_data"]["id"] == 5


@BOTH
def test_only_what_we_made_is_removed(kind: str) -> None:
    tunnel_netdev.ensure(kind)
    assert tunnel_netdev.remove(kind)
    assert not tunnel_netdev.remove(kind)
    ip(f"link add other0 type {kind} external dstport {KINDS[kind][1]}")
    tunnel_netdev.ensure(kind)
    assert not tunnel_netdev.remove(kind)
    assert show("other0")
