# SPDX-License-Identifier: Apache-2.0
"""A router solicitation is answered with what the router port's configuration says."""

from __future__ import annotations

import ipaddress

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: ["fd00::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
"""
ROUTER = "0e:00:00:00:00:01"


def configure(bed: Sandbox, **configuration: str) -> None:
    said = [f"ipv6_ra_configs:{name}={value}" for name, value in configuration.items()]
    bed.nbctl("clear", "logical_router_port", "r0-sw0", "ipv6_ra_configs")
    bed.nbctl("set", "logical_router_port", "r0-sw0", *said)
    bed.nbctl("--wait=hv", "sync")


def link_local(mac: bytes) -> str:
    """The address that a host makes of its MAC (RFC 4291, appendix A)."""
    interface = bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + interface))


def solicit(bed: Sandbox) -> Packet:
    port = bed.ports["vm1"]
    mac = bytes.fromhex(port.mac.replace(":", ""))
    source = link_local(mac)
    frame = Ether(src=port.mac, dst="33:33:00:00:00:02") / IPv6(src=source, dst="ff02::2", hlim=255)
    frame = frame / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=port.mac)
    with traffic.Wire(port.netns, "eth0") as wire:
        found = traffic.asked(bed, wire, bytes(frame), lambda data: ICMPv6ND_RA in Ether(data))
    assert found is not None
    return Ether(found)


@pytest.mark.parametrize(
    ("mode", "managed", "other", "autonomous"),
    [("slaac", 0, 0, 1), ("dhcpv6_stateless", 0, 1, 1), ("dhcpv6_stateful", 1, 0, 0)],
)
def test_a_solicitation_is_answered(
    bed: Sandbox, mode: str, managed: int, other: int, autonomous: int
) -> None:
    configure(bed, address_mode=mode, mtu="1400", router_preference="HIGH", rdnss='"fd00::53"')
    advert = solicit(bed)
    assert advert.src == ROUTER and advert[IPv6].hlim == 255
    message = advert[ICMPv6ND_RA]
    assert (message.M, message.O, message.prf) == (managed, other, 1)
    assert (message.chlim, message.routerlifetime) == (255, 0xFFFF)
    assert advert[ICMPv6NDOptSrcLLAddr].lladdr == ROUTER
    assert advert[ICMPv6NDOptMTU].mtu == 1400
    prefix = advert[ICMPv6NDOptPrefixInfo]
    assert (prefix.prefix, prefix.prefixlen) == ("fd00::", 64)
    assert (prefix.L, prefix.A) == (1, autonomous)
    assert advert[ICMPv6NDOptRDNSS].dns == ["fd00::53"]
    sent = message.cksum
    del message.cksum
    assert Ether(bytes(advert))[ICMPv6ND_RA].cksum == sent


def test_a_guest_s_kernel_configures_itself(bed: Sandbox) -> None:
    configure(bed, address_mode="slaac")
    guest = bed.ports["vm1"].netns
    with netns.entered(guest):
        for key, value in (("accept_ra", "2"), ("autoconf", "1"), ("forwarding", "0")):
            with open(f"/proc/sys/net/ipv6/conf/eth0/{key}", "w") as file:
                file.write(value)
    solicit(bed)
    made = link_local(bytes.fromhex(bed.ports["vm1"].mac.replace(":", ""))).replace("fe80", "fd00")

    def configured() -> bool:
        route = netns.run(["ip", "-n", guest, "-6", "route", "show", "default"])
        addresses = netns.run(["ip", "-n", guest, "-6", "addr", "show", "dev", "eth0"])
        return "proto ra" in route and made in addresses

    process.wait_until(configured, 60.0, "the kernel to configure the guest")
