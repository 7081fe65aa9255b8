# SPDX-License-Identifier: Apache-2.0
"""Router ports advertise themselves by the clock, each chassis to its own guests."""

from __future__ import annotations

import itertools
from pathlib import Path

from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6NDOptDNSSL,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptRouteInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: ["fd00::1/64", "fd01::1/48"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""
ROUTER, LINK_LOCAL = "0e:00:00:00:00:01", "fe80::c00:ff:fe00:1"
# The least that OVN allows: one comes between 3 and 4 seconds after the other.
LOWEST, HIGHEST = 3, 4
PATIENCE = 60.0
FOREVER = 0xFFFFFFFF


def configure(bed: Sandbox, **said: str) -> None:
    configs = {"send_periodic": "true", "min_interval": str(LOWEST), "max_interval": str(HIGHEST)}
    values = [f"ipv6_ra_configs:{name}={value}" for name, value in {**configs, **said}.items()]
    bed.nbctl("clear", "logical_router_port", "r0-sw0", "ipv6_ra_configs")
    bed.nbctl("--wait=hv", "set", "logical_router_port", "r0-sw0", *values)


def adverts(wire: traffic.Wire, managed: int) -> tuple[bytes, list[float]]:
    """The first one on a wire with a flag, and when each up to it was seen."""
    times = []
    while True:
        found = wire.moment(lambda data: ICMPv6ND_RA in Ether(data), PATIENCE)
        assert found is not None
        times.append(found[0])
        if Ether(found[1])[ICMPv6ND_RA].M == managed:
            return found[1], times


def by_the_clock(times: list[float]) -> bool:
    """Whether none is early; a process that waits for a processor is late."""
    return all(later - earlier > LOWEST / 2 for earlier, later in itertools.pairwise(times))


def expected(*, flags: dict[str, int], autonomous: int) -> bytes:
    """An advertisement to the last byte."""
    packet = Ether(src=ROUTER, dst="33:33:00:00:00:01")
    packet = packet / IPv6(src=LINK_LOCAL, dst="ff02::1", hlim=255)
    packet = packet / ICMPv6ND_RA(chlim=255, routerlifetime=0xFFFF, **flags)
    packet = packet / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER) / ICMPv6NDOptMTU(mtu=1400)
    for prefix, length in (("fd00::", 64), ("fd01::", 48)):
        packet = packet / ICMPv6NDOptPrefixInfo(
            prefix=prefix,
            prefixlen=length,
            L=1,
            A=autonomous,
            validlifetime=FOREVER,
            preferredlifetime=FOREVER,
        )
    packet = packet / ICMPv6NDOptRDNSS(dns=["fd00::53"], lifetime=FOREVER)
    packet = packet / ICMPv6NDOptDNSSL(searchlist=["example.org."], lifetime=FOREVER)
    return bytes(
        packet / ICMPv6NDOptRouteInfo(prefix="fd02::", plen=48, prf=3, rtlifetime=FOREVER, len=2)
    )


def listen(guest: str) -> None:
    """Lets a guest's kernel take advertisements, and ask for none."""
    settings = {"accept_ra": "2", "autoconf": "1", "forwarding": "0", "router_solicitations": "0"}
    with netns.entered(guest):
        for key, value in settings.items():
            Path(f"/proc/sys/net/ipv6/conf/eth0/{key}").write_text(value)


def test_adverts_come_by_the_clock_and_are_the_oracle_s_to_the_byte(bed: Sandbox) -> None:
    said = {
        "mtu": "1400",
        "router_preference": "HIGH",
        "rdnss": '"fd00::53"',
        "dnssl": '"example.org"',
        "route_info": '"LOW-fd02::/48"',
    }
    guest = bed.ports["vm2"].netns
    listen(guest)
    with (
        traffic.Wire(bed.ports["vm1"].netns, "eth0") as one,
        traffic.Wire(guest, "eth0") as other,
    ):
        configure(bed, address_mode="slaac", **said)
        frame, first = adverts(one, 0)
        assert frame == expected(flags={"M": 0, "O": 0, "prf": 1}, autonomous=1)
        process.wait_until(lambda: configured(guest), PATIENCE, "the kernel to configure vm2")
        configure(bed, address_mode="dhcpv6_stateful", **said)
        frame, then = adverts(one, 1)
        assert frame == expected(flags={"M": 1, "O": 0, "prf": 1}, autonomous=0)
        # Each chassis sends to its own guests alone, or there were twice as many.
        assert by_the_clock(first + then)
        assert by_the_clock(adverts(other, 1)[1])


def configured(guest: str) -> bool:
    """Whether the guest's kernel has an address and a route from an advertisement."""
    route = netns.run(["ip", "-n", guest, "-6", "route", "show", "default"])
    addresses = netns.run(["ip", "-n", guest, "-6", "addr", "show", "dev", "eth0"])
    return "proto ra" in route and LINK_LOCAL in route and "fd00::800:ff" in addresses


def test_none_comes_when_it_is_off(bed: Sandbox) -> None:
    configure(bed, address_mode="slaac", send_periodic="false")
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:

        def none_comes() -> bool:
            return wire.first(lambda data: ICMPv6ND_RA in Ether(data), HIGHEST + 0.5) is None

        process.wait_until(none_comes, PATIENCE, "end of the advertisements")
