# SPDX-License-Identifier: Apache-2.0
"""Binding on real databases: chassis rows, claims, up, ovn-installed, nb_cfg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.model import PortKind
from tests.support.node import Node, binding_of
from tests.support.ovsdb import OvnCentral, wait_until


@pytest.fixture
def central(tmp_path: Path) -> Iterator[OvnCentral]:
    with OvnCentral(tmp_path / "central") as central:
        yield central


@pytest.fixture
def hv1(tmp_path: Path, central: OvnCentral) -> Iterator[Node]:
    with Node(tmp_path, "hv1", central.sb.remote, ip="192.0.2.1") as node:
        yield node


@pytest.fixture
def hv2(tmp_path: Path, central: OvnCentral) -> Iterator[Node]:
    with Node(tmp_path, "hv2", central.sb.remote, ip="192.0.2.2") as node:
        yield node


def switch(central: OvnCentral, *lports: str) -> None:
    central.nbctl("--may-exist", "ls-add", "sw0")
    for lport in lports:
        central.nbctl("lsp-add", "sw0", lport)
    central.sync()


def test_a_plugged_port_is_claimed_announced_and_acknowledged(
    central: OvnCentral, hv1: Node
) -> None:
    switch(central, "lp1")
    hv1.plug("tap1", "lp1", wait=True)
    central.nbctl("--timeout=20", "wait-until", "Logical_Switch_Port", "lp1", "up=true")
    assert binding_of(central, "lp1") == "hv1"
    hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "true", "ovn-installed")
    assert hv1.iface_id("tap1", "ovn-installed-ts").isdecimal()
    central.nbctl("--wait=hv", "sync")
    nb_cfg = central.nbctl("get", "NB_Global", ".", "nb_cfg")
    assert hv1.vsctl("get", "Bridge", "br-int", "external_ids:ovn-nb-cfg").strip('"') == nb_cfg
    ports = list(hv1.desired.ports().values())
    assert [port.kind for port in ports] == [PortKind.VIF]
    assert ports[0].ifindex and ports[0].ct_zone
    assert hv1.desired.resident == {"lp1"}
