# SPDX-License-Identifier: Apache-2.0
"""Gateway routers and distributed gateway ports: one chassis has them.

Each test runs with the gateway on a chassis of the module's kind (hv2) and on a
real ovn-controller's (hv3), so that both ends of the tunnel are shown.
"""

from __future__ import annotations

import itertools

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import talk, traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent, hv3: {agent: ovn-controller}}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  ext: {ipv4: 172.16.0.0/24, ipv6: "fd16::/64"}
  join: {ipv4: 10.9.0.0/24, ipv6: "fd09::/64"}
  out: {ipv4: 192.168.0.0/24, ipv6: "fd19::/64"}
routers:
  lr:
    ports:
      lr-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      lr-ext: {switch: ext, mac: "0e:00:00:00:00:02", networks: [172.16.0.1/24, "fd16::1/64"]}
      lr-join: {switch: join, mac: "0e:00:00:00:00:03", networks: [10.9.0.1/24, "fd09::1/64"]}
  gr:
    ports:
      gr-join: {switch: join, mac: "0e:00:00:00:00:04", networks: [10.9.0.2/24, "fd09::2/64"]}
      gr-out: {switch: out, mac: "0e:00:00:00:00:05", networks: [192.168.0.1/24, "fd19::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
  vm3: {switch: sw0, chassis: hv3}
  ext1: {switch: ext, chassis: hv1}
  ext2: {switch: ext, chassis: hv2}
  ext3: {switch: ext, chassis: hv3}
  out1: {switch: out, chassis: hv1}
  out2: {switch: out, chassis: hv2}
  out3: {switch: out, chassis: hv3}
"""
VMS = ("vm1", "vm2", "vm3")
GATEWAYS = ("hv2", "hv3")


@pytest.fixture(scope="module", params=GATEWAYS)
def gateway(bed: Sandbox, request: pytest.FixtureRequest) -> str:
    """lr-ext and gr live on this chassis."""
    home: str = request.param
    bed.nbctl("clear", "logical_router_port", "lr-ext", "gateway_chassis")
    bed.nbctl("lrp-set-gateway-chassis", "lr-ext", home, "10")
    bed.nbctl("set", "logical_router", "gr", f"options:chassis={home}")
    for prefix, hop, router in (
        ("192.168.0.0/24", "10.9.0.2", "lr"),
        ("fd19::/64", "fd09::2", "lr"),
        ("10.0.0.0/24", "10.9.0.1", "gr"),
        ("fd00::/64", "fd09::1", "gr"),
    ):
        bed.nbctl("--may-exist", "lr-route-add", router, prefix, hop)
    bed.nbctl("--wait=hv", "sync")
    for port in ("cr-lr-ext", "gr-out"):
        bed.sbctl("wait-until", "port_binding", port, "up=true")
    bed.nbctl("--wait=hv", "sync")
    return home


def chassis_of(bed: Sandbox, port: str) -> str:
    binding = bed.sbctl(
        "--bare", "--columns=chassis", "find", "port_binding", f"logical_port={port}"
    )
    return bed.sbctl("--bare", "get", "chassis", binding.strip(), "name").strip().strip('"')


def test_the_gateways_chassis_claims_its_ports(bed: Sandbox, gateway: str) -> None:
    ports = ("cr-lr-ext", "gr-join", "gr-out", "ext-to-lr-ext")
    claimed = {port: chassis_of(bed, port) for port in ports[:3]}
    assert claimed == dict.fromkeys(ports[:3], gateway)


def test_all_reach_what_is_behind_the_distributed_gateway_port(bed: Sandbox, gateway: str) -> None:
    """A host of the outer network is one beside the gateway: what is elsewhere would
    find the router by the network's own means, which a logical switch has not.
    """
    pairs = [(vm, f"ext{gateway[-1]}") for vm in VMS]
    assert bed.unanswered([*pairs, *((b, a) for a, b in pairs)]) == []


def test_all_reach_what_is_behind_the_gateway_router(bed: Sandbox, gateway: str) -> None:
    pairs = [*itertools.product(VMS, ("out1", "out2", "out3"))]
    assert bed.unanswered([*pairs, *((b, a) for a, b in pairs)]) == []


@pytest.mark.parametrize("address", ["172.16.0.1", "fd16::1", "10.9.0.2", "fd09::2", "192.168.0.1"])
@pytest.mark.parametrize("source", VMS)
def test_the_gateways_own_addresses_answer(
    bed: Sandbox, gateway: str, source: str, address: str
) -> None:
    assert talk.pings(bed, source, address)


def test_the_gateway_router_shows_in_traceroute(bed: Sandbox, gateway: str) -> None:
    command = ("traceroute", "-n", "-q1", "-w3", "-N1", "-m6", bed.ports["out1"].ip4)

    def hops() -> list[str]:
        lines = traffic.output(bed.ports["vm1"].argv(*command)).splitlines()[1:]
        return [line.split()[1] for line in lines]

    way = ["10.0.0.1", "10.9.0.2", bed.ports["out1"].ip4]
    assert traffic.obeyed(bed, lambda: hops() == way), hops()


@pytest.mark.parametrize("version", [4, 6])
def test_tcp_passes_through_two_tunnels(bed: Sandbox, gateway: str, version: int) -> None:
    assert traffic.carries(bed, "vm1", "out1", version, 20e6)
