# SPDX-License-Identifier: Apache-2.0
"""A virtual port is bound where a parent speaks for its address, and moves with it."""

from __future__ import annotations

from functools import partial

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import learnt, traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
  vm3: {switch: sw0, chassis: hv1}
"""
VIPS = {4: "10.0.0.50", 6: "fd00::50"}
MAC = "0e:50:00:00:00:01"
ARRIVES = 60.0


@pytest.fixture(scope="module", autouse=True)
def virtual(bed: Sandbox) -> None:
    """A virtual port for each version, that any of the guests may have."""
    for version, address in VIPS.items():
        name = f"vip{version}"
        bed.nbctl("lsp-add", "sw0", name, "--", "lsp-set-addresses", name, f"{MAC} {address}",
                  "--", "lsp-set-type", name, "virtual", "--", "set", "logical_switch_port", name,
                  f'options:virtual-ip="{address}"',
                  'options:virtual-parents="vm1,vm2"')  # fmt: skip
    bed.nbctl("--wait=hv", "sync")


def announce(bed: Sandbox, vm: str, version: int) -> None:
    """As keepalived does when its host becomes master."""
    mac, vip = bed.ports[vm].mac, VIPS[version]
    if version == 4:
        arp = ARP(op=1, hwsrc=mac, psrc=vip, hwdst="00:00:00:00:00:00", pdst=vip)
        frame = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / arp
    else:
        ip = IPv6(src=vip, dst="ff02::1", hlim=255)
        frame = Ether(src=mac, dst="33:33:00:00:00:01") / ip / ICMPv6ND_NA(tgt=vip, R=0, S=0, O=1)
        frame = frame / ICMPv6NDOptDstLLAddr(lladdr=mac)
    traffic.send_raw(bed, vm, bytes(frame))


def state(bed: Sandbox, version: int) -> tuple[str, str, str]:
    """(chassis, parent, up) of a virtual port."""
    found = bed.sbctl(
        *("--bare", "--columns=chassis,virtual_parent,up", "find", "port_binding"),
        f"logical_port=vip{version}",
    ).split("\n")
    chassis, parent, up = (each.strip() for each in found)
    if chassis:
        chassis = bed.sbctl("--bare", "get", "chassis", chassis, "name").strip('"')
    return chassis, parent, up


def follows(bed: Sandbox, version: int, vm: str, chassis: str) -> None:
    """A guest speaks for the address, until it has it."""
    wanted = (chassis, vm, "true")
    say = partial(announce, bed, vm, version)
    learnt.told(bed, vm, say, lambda: state(bed, version) == wanted, f"{version}: {wanted}")


@pytest.mark.parametrize("version", [4, 6])
def test_a_virtual_port_follows_whoever_speaks_for_it(bed: Sandbox, version: int) -> None:
    assert state(bed, version)[:2] == ("", "")
    announce(bed, "vm3", version)  # which is no parent
    for vm, chassis in (("vm1", "hv1"), ("vm2", "hv2"), ("vm1", "hv1")):
        follows(bed, version, vm, chassis)


def test_it_is_given_back_with_its_parent(bed: Sandbox) -> None:
    follows(bed, 4, "vm1", "hv1")
    bed.unplug("vm1")
    process.wait_until(lambda: state(bed, 4)[:2] == ("", ""), ARRIVES, "the release")
    bed.plug("vm1")
    follows(bed, 4, "vm1", "hv1")
