# SPDX-License-Identifier: Apache-2.0
"""Scenarios of OVN's system tests about ports that come and go, written anew.

38 "Test packet drops due to incorrect flows in physical table 33", 41 "controller I-P
handling when ovs iface ofport is -1" and 73 "ovn-install on slow ovsdb".
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv1}
acls:
  - {switch: sw0, direction: from-lport, priority: 1002, match: "ip", action: allow-related}
  - {switch: sw0, direction: to-lport, priority: 1002, match: "ip", action: allow-related}
"""
VIFS = ("vm2", "vm3")
PATIENCE = 60.0


def row(bed: Sandbox, port: str, column: str) -> str:
    return bed.sbctl(
        "--bare", f"--columns={column}", "find", "port_binding", f"logical_port={port}"
    )


def installed(bed: Sandbox, port: str) -> bool:
    ids = bed.chassis["hv1"].vsctl("get", "interface", bed.ports[port].vif, "external_ids")
    return "ovn-installed=" in ids


def all_here(bed: Sandbox) -> bool:
    """Whether the ports are bound, up and installed."""
    return all(
        row(bed, port, "chassis") and row(bed, port, "up") == "true" and installed(bed, port)
        for port in VIFS
    )


def none_here(bed: Sandbox) -> bool:
    """Whether the ports are neither bound nor up nor installed."""
    return not any(
        row(bed, port, "chassis") or row(bed, port, "up") == "true" or installed(bed, port)
        for port in VIFS
    )


def iface_ids(bed: Sandbox, present: bool) -> None:
    hv1 = bed.chassis["hv1"]
    for port in VIFS:
        vif = bed.ports[port].vif
        if present:
            hv1.vsctl("--no-wait", "set", "interface", vif, f"external_ids:iface-id={port}")
        else:
            hv1.vsctl("--no-wait", "remove", "interface", vif, "external_ids", "iface-id")


def interfaces(bed: Sandbox, present: bool) -> None:
    hv1 = bed.chassis["hv1"]
    for port in VIFS:
        vif = bed.ports[port].vif
        if present:
            ids = f"external_ids:iface-id={port}"
            hv1.vsctl("--no-wait", "add-port", "br-int", vif, "--", "set", "interface", vif, ids)
        else:
            hv1.vsctl("--no-wait", "del-port", "br-int", vif)


def wait(bed: Sandbox, condition: Callable[[Sandbox], bool]) -> None:
    process.wait_until(lambda: condition(bed), PATIENCE, condition.__name__)


def logical_ports(bed: Sandbox, present: bool) -> None:
    for port in VIFS:
        if present:
            addresses = f"{bed.ports[port].mac} {bed.ports[port].ip4}"
            bed.nbctl("lsp-add", "sw0", port, "--", "lsp-set-addresses", port, addresses)
        else:
            bed.nbctl("lsp-del", port)


@contextmanager
def southbound_asleep(bed: Sandbox) -> Iterator[None]:
    """The server neither answers nor closes connections.  At the end the agent is held
    until the server is awake, as in OVN's test."""
    with _asleep(bed, bed.layout.root / "ovnsb_db.pid"):
        yield


@contextmanager
def _asleep(bed: Sandbox, pidfile: Path) -> Iterator[None]:
    server = process.read_pid(pidfile)
    assert server is not None
    hv1 = bed.chassis["hv1"]
    os.kill(server, signal.SIGSTOP)
    try:
        yield
        # Twice: the first may be answered by the iteration that has begun already.
        for _ in range(2):
            assert hv1.appctl("debug/status").strip() == "running"
        hv1.appctl("debug/pause")
    finally:
        os.kill(server, signal.SIGCONT)
        hv1.appctl("debug/resume")


def test_a_port_whose_interface_came_back_is_reached(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    assert traffic.answers(bed, "vm1", "vm3")
    iface_ids(bed, present=False)
    wait(bed, none_here)
    vif = bed.ports["vm3"].vif
    hv1.vsctl("set", "interface", vif, "external_ids:iface-id=vm3")
    bed.wait_up("vm3")
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm3")
    iface_ids(bed, present=True)
    wait(bed, all_here)


def test_a_port_whose_device_is_gone_is_down(bed: Sandbox, kind: str) -> None:
    """OVN's test takes its type from an internal port: then there is no such device."""
    hv1 = bed.chassis["hv1"]
    bed.nbctl("lsp-add", "sw0", "gone")
    if kind == "alone":  # where nobody makes devices
        netns.ip(hv1.netns, "link add p1 type veth peer name p1x", "link set p1 up")
    made = 'type=""' if kind == "alone" else "type=internal"
    hv1.vsctl("add-port", "br-int", "p1", "--", "set", "interface", "p1",
              "external_ids:iface-id=gone", made)  # fmt: skip
    bed.wait_up("gone")
    if kind == "alone":
        netns.ip(hv1.netns, "link del p1")
    else:
        hv1.vsctl("--no-wait", "set", "interface", "p1", 'type=""')
    process.wait_until(lambda: ofport(bed, "p1") == "-1", PATIENCE, "ofport -1")
    bed.nbctl("--timeout=60", "wait-until", "logical_switch_port", "gone", "up=false")
    hv1.vsctl("del-port", "br-int", "p1")
    bed.nbctl("--wait=hv", "lsp-del", "gone")


def ofport(bed: Sandbox, interface: str) -> str:
    return bed.chassis["hv1"].vsctl("get", "interface", interface, "ofport").strip()


@pytest.mark.parametrize("change", [iface_ids, interfaces])
def test_what_goes_while_the_southbound_sleeps_is_unbound_later(
    bed: Sandbox, change: Callable[[Sandbox, bool], None]
) -> None:
    wait(bed, all_here)
    with southbound_asleep(bed):
        change(bed, False)
    if change is iface_ids:
        wait(bed, none_here)
    else:
        wait(bed, lambda bed: not any(row(bed, port, "chassis") for port in VIFS))
    change(bed, True)
    wait(bed, all_here)


def forgotten(bed: Sandbox) -> bool:
    """Whether nothing says that the ports are here, their rows being gone."""
    return not any(row(bed, port, "_uuid") or installed(bed, port) for port in VIFS)


def test_logical_ports_that_go_while_the_southbound_sleeps_are_forgotten_later(
    bed: Sandbox,
) -> None:
    wait(bed, all_here)
    with southbound_asleep(bed):
        logical_ports(bed, False)
    wait(bed, forgotten)
    logical_ports(bed, True)
    wait(bed, all_here)


def test_logical_ports_that_return_while_the_local_database_sleeps_are_installed(
    bed: Sandbox,
) -> None:
    """The agent cannot write ovn-installed while the port's row is new."""
    wait(bed, all_here)
    logical_ports(bed, False)
    wait(bed, forgotten)
    with _asleep(bed, bed.chassis["hv1"].root / "ovsdb-server.pid"):
        logical_ports(bed, True)
    wait(bed, all_here)
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm3")


@pytest.mark.parametrize("change", [iface_ids, interfaces, logical_ports])
def test_what_goes_and_returns_while_the_southbound_sleeps_is_bound(
    bed: Sandbox, change: Callable[[Sandbox, bool], None]
) -> None:
    with southbound_asleep(bed):
        change(bed, False)
        change(bed, True)
    bed.sync()  # what the Southbound said before it slept is not to be believed
    wait(bed, all_here)
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm3")
