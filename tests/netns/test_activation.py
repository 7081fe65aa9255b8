# SPDX-License-Identifier: Apache-2.0
"""A guest that migrates is served on its new chassis from its first RARP on."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""
VIF = "vif-dst"


@pytest.fixture(scope="module", autouse=True)
def destination(bed: Sandbox) -> None:
    """vm1 on hv2, too: a veth whose other end is in vm2's namespace."""
    bed.nbctl("lsp-set-options", "vm1", "requested-chassis=hv1,hv2", "activation-strategy=rarp")
    hv2, vm2 = bed.chassis["hv2"], bed.ports["vm2"]
    netns.ip(hv2.netns, f"link add {VIF} type veth peer name dst netns {vm2.netns}",
             f"link set {VIF} up")  # fmt: skip
    netns.ip(vm2.netns, "link set dst up")
    hv2.vsctl("add-port", "br-int", VIF, "--", "set", "interface", VIF,
              "external_ids:iface-id=vm1")  # fmt: skip
    uuid = bed.sbctl("--bare", "--columns=_uuid", "find", "chassis", "name=hv2").strip()
    process.wait_until(lambda: uuid in column(bed, "additional_chassis"), 60, "hv2's claim")
    bed.sync()


def column(bed: Sandbox, name: str) -> str:
    return bed.sbctl("--bare", f"--columns={name}", "find", "port_binding", "logical_port=vm1")


def activated(bed: Sandbox) -> bool:
    return "additional-chassis-activated=hv2" in column(bed, "options").split()


def test_nothing_passes_until_the_guest_has_moved(bed: Sandbox) -> None:
    vm1, vm2 = bed.ports["vm1"], bed.ports["vm2"]
    said = Ether(src=vm1.mac, dst=vm2.mac) / IP(src="10.0.0.2", dst="10.0.0.3") / UDP() / b"early"
    rarp = ARP(op=3, ptype=0x0800, hwsrc=vm1.mac, hwdst=vm1.mac, psrc="0.0.0.0", pdst="0.0.0.0")
    moved = Ether(src=vm1.mac, dst="ff:ff:ff:ff:ff:ff", type=0x8035) / rarp
    with traffic.Wire(vm2.netns, "dst") as guest, traffic.Wire(vm2.netns, "eth0") as wire:
        guest.send(bytes(said))
        assert wire.first(lambda frame: b"early" in frame, traffic.ABSENT) is None
        assert not activated(bed)
        assert traffic.came(
            bed,
            wire,
            lambda: guest.send(bytes(moved)),
            lambda frame: frame[12:14] == b"\x80\x35",
        )
        process.wait_until(lambda: activated(bed), 60, "the activation")
        bed.sync()
        assert traffic.came(
            bed, wire, lambda: guest.send(bytes(said)), lambda frame: b"early" in frame
        )
