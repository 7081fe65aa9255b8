# SPDX-License-Identifier: Apache-2.0
"""Addresses that come to a chassis are announced on switches with a localnet port."""

from __future__ import annotations

import time

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  out: {ipv4: 10.9.0.0/24}
  in: {ipv4: 10.0.0.0/24}
routers:
  r0:
    ports:
      r0-out: {switch: out, mac: "0e:00:00:00:00:01", networks: [10.9.0.1/24]}
      r0-in: {switch: in, mac: "0e:00:00:00:00:02", networks: [10.0.0.1/24]}
ports:
  vm1: {switch: out, chassis: hv1}
  vm2: {switch: out, chassis: hv2}
"""
ROUTER = "0e:00:00:00:00:01"
ARRIVES = 60.0


@pytest.fixture(scope="module", autouse=True)
def localnet(bed: Sandbox) -> None:
    """A way out of the switch; NAT on the router."""
    for chassis in bed.chassis.values():
        chassis.vsctl("add-br", "br-ex", "--", "set", "open_vswitch", ".",
                      "external_ids:ovn-bridge-mappings=provider:br-ex")  # fmt: skip
    bed.nbctl("lsp-add", "out", "ln", "--", "lsp-set-type", "ln", "localnet", "--",
              "lsp-set-addresses", "ln", "unknown", "--",
              "lsp-set-options", "ln", "network_name=provider")  # fmt: skip
    bed.nbctl("lsp-set-options", "out-r0-out", "router-port=r0-out", "nat-addresses=router")
    bed.nbctl("lr-nat-add", "r0", "dnat_and_snat", "10.9.0.77", "10.0.0.77")
    bed.nbctl("--wait=hv", "sync")


def announced(frame: bytes, mac: str, address: str) -> bool:
    """Whether it is a broadcast ARP request of an address for itself; RARP without one."""
    ip = bytes(map(int, (address or "0.0.0.0").split(".")))
    kind = b"\x08\x06" if address else b"\x80\x35"
    sender = bytes.fromhex(mac.replace(":", ""))
    same = frame[28:32] == frame[38:42] == ip and frame[22:28] == frame[6:12] == sender
    return frame[:6] == b"\xff" * 6 and frame[12:14] == kind and same


def times(wire: traffic.Wire, mac: str, address: str, count: int) -> list[float]:
    """When announcements arrived, in seconds of the wall clock."""
    found: list[float] = []
    for _ in range(count):
        seen = wire.moment(lambda frame: announced(frame, mac, address), ARRIVES)
        assert seen, found
        found.append(seen[0])
    return found


def test_a_guest_is_announced_with_growing_pauses(bed: Sandbox) -> None:
    bed.nbctl(
        "lsp-add", "out", "vm3", "--", "lsp-set-addresses", "vm3", "0a:00:00:00:09:03 10.9.0.33"
    )
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        plugged = time.time()
        bed.plug("vm3", "hv1")
        first, second, third = times(wire, "0a:00:00:00:09:03", "10.9.0.33", 3)
    assert first - plugged > 0.9
    assert third - second > second - first + 0.5 or third - second > 1.5
    wanted = [("r0-out", "0a:00:00:00:09:03")]
    process.wait_until(lambda: bindings(bed, "10.9.0.33") == wanted, ARRIVES, "the router's row")


def test_a_guest_without_an_address_is_announced_by_rarp(bed: Sandbox) -> None:
    bed.nbctl("lsp-add", "out", "vm4", "--", "lsp-set-addresses", "vm4", "0a:00:00:00:09:04")
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        bed.plug("vm4", "hv1")
        times(wire, "0a:00:00:00:09:04", "", 2)


def test_a_router_s_addresses_follow_its_gateway(bed: Sandbox) -> None:
    for vm, chassis in (("vm1", "hv1"), ("vm2", "hv2")):
        with traffic.Wire(bed.ports[vm].netns, "eth0") as wire:
            bed.nbctl("lrp-set-gateway-chassis", "r0-out", chassis, "20" if vm == "vm2" else "10")
            for address in ("10.9.0.1", "10.9.0.77"):
                times(wire, ROUTER, address, 1)


def bindings(bed: Sandbox, address: str) -> list[tuple[str, str]]:
    found = bed.sbctl(
        "--bare", "--columns=logical_port,mac", "find", "mac_binding", f"ip={address}"
    ).split()
    return list(zip(found[::2], found[1::2], strict=True))
