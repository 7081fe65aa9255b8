# SPDX-License-Identifier: Apache-2.0
"""Router ports get IPv6 prefixes from ISC's dhcpd, and keep them.

OVN's system tests 32 and 33, "IPv6 prefix delegation": a distributed router with a
gateway port, and a gateway router.  The server is a guest of the outer switch.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers import dhcp6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import beds, traffic

# ovn-controller takes replies in and renews only when something else wakes it.
KINDS = beds.OURS

TOPOLOGY = """
chassis: {hv1: $agent}
switches:
  sw0: {ipv4: 192.168.1.0/24}
  sw1: {ipv4: 192.168.2.0/24}
  sw2: {ipv4: 192.168.3.0/24}
  public: {ipv4: 172.16.1.0/24}
  outside: {ipv4: 172.16.2.0/24}
routers:
  dgp:
    ports:
      dgp-sw0: {switch: sw0, mac: "00:00:01:01:02:03", networks: [192.168.1.1/24]}
      dgp-sw1: {switch: sw1, mac: "00:00:03:01:02:03", networks: [192.168.2.1/24]}
      dgp-out: {switch: public, mac: "00:00:02:01:02:03", networks: [172.16.1.1/24]}
  gr:
    ports:
      gr-sw2: {switch: sw2, mac: "00:00:04:01:02:03", networks: [192.168.3.1/24]}
      gr-out: {switch: outside, mac: "00:00:05:01:02:03", networks: [172.16.2.1/24]}
ports:
  vm0: {switch: sw0, chassis: hv1}
  vm1: {switch: sw1, chassis: hv1}
  vm2: {switch: sw2, chassis: hv1}
  dgp-server: {switch: public, chassis: hv1, ips: ["2001:1db8:3333::2/64"]}
  gr-server: {switch: outside, chassis: hv1, ips: ["2001:1db8:3333::2/64"]}
nbctl:
  - lrp-set-gateway-chassis dgp-out hv1
  - set logical_router gr options:chassis=hv1
"""
PORTS = {"dgp": ("dgp-out", "dgp-sw0", "dgp-sw1"), "gr": ("gr-out", "gr-sw2")}
PREFIX = "2001:1db8:3333:"
# Three seconds at most to the first message, and to the next one if that is lost.
PATIENCE = 60.0
RENEW_AT = 4
CONFIG = f"""
option dhcp-renewal-time {RENEW_AT};
option dhcp-rebinding-time 30;
default-lease-time 60;
preferred-lifetime 50;
subnet6 2001:1db8:3333::/64 {{
    prefix6 2001:1db8:3333:100:: 2001:1db8:3333:111:: /96;
}}
"""


@pytest.fixture(params=list(PORTS))
def router(request: pytest.FixtureRequest) -> str:
    """A distributed router with a gateway port, and a gateway router."""
    return str(request.param)


@pytest.fixture(autouse=True)
def server(bed: Sandbox, router: str, tmp_path: Path) -> Iterator[str]:
    """ISC's dhcpd, which knows of no lease, outside the router; the guest's name."""
    config, leases = tmp_path / "dhcpd.conf", tmp_path / "leases"
    config.write_text(CONFIG)
    leases.touch()
    files = ["-cf", str(config), "-lf", str(leases), "-pf", str(tmp_path / "pid")]
    name = f"{router}-server"
    argv = bed.ports[name].argv("dhcpd", "-6", "-f", *files, "eth0")
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        process.wait_until(
            lambda: "Sending on" in (tmp_path / "log").read_text(), 60.0, "dhcpd to start"
        )
        yield name
    finally:
        daemon.terminate()
        daemon.wait()


def prefix(bed: Sandbox, port: str) -> str:
    return bed.nbctl("get", "logical_router_port", port, "ipv6_prefix").strip('[]"')


def want(bed: Sandbox, port: str, *, wanted: bool) -> None:
    text = "true" if wanted else "false"
    bed.nbctl("set", "logical_router_port", port, f"options:prefix={text}")
    if not wanted:
        bed.nbctl("clear", "logical_router_port", port, "ipv6_prefix")
        bed.nbctl("--wait=sb", "sync")


def renewal(seen: list[Packet], wanted: str) -> Packet | None:
    """A client's renewal of a prefix."""
    for frame in seen:
        if dhcp6.DHCP6_Renew in frame:
            if f"{frame[dhcp6.DHCP6OptIAPrefix].prefix}/96" == wanted:
                return frame
    return None


def answers(asked: Packet | None, frame: Packet) -> bool:
    """Whether a frame is the server's answer to a renewal."""
    if asked is None or dhcp6.DHCP6_Reply not in frame:
        return False
    ours, theirs = asked[dhcp6.DHCP6_Renew], frame[dhcp6.DHCP6_Reply]
    same = ours[dhcp6.DHCP6OptIA_PD].iaid == theirs[dhcp6.DHCP6OptIA_PD].iaid
    return bool(same and ours.trid == theirs.trid)


def test_prefixes_are_delegated_and_renewed(bed: Sandbox, router: str, server: str) -> None:
    ports = PORTS[router]
    door = ports[0]
    bed.nbctl("set", "logical_router_port", door, "options:prefix_delegation=true")
    with traffic.Wire(bed.ports[server].netns, "eth0") as wire:
        for port in ports:
            want(bed, port, wanted=True)

        def delegated() -> bool:
            return all(prefix(bed, port).startswith(PREFIX) for port in ports)

        process.wait_until(delegated, PATIENCE, "prefixes of all ports")
        got = {port: prefix(bed, port) for port in ports}
        assert len(set(got.values())) == len(ports)
        assert all(each.endswith("/96") for each in got.values())
        seen: list[Packet] = []

        def renewed() -> bool:
            seen.extend(Ether(frame) for frame in wire.frames())
            return any(answers(renewal(seen, got[door]), frame) for frame in seen)

        process.wait_until(renewed, PATIENCE, "renewal of the prefix")
    assert prefix(bed, door) == got[door]
    listed = bed.sbctl("get", "port_binding", door, "options:ipv6_ra_pd_list").strip('"')
    assert listed.partition(":")[2] == got[door]
    # What is not wanted any more is not put back.
    for port in ports:
        want(bed, port, wanted=False)
    assert prefix(bed, ports[-1]) == ""
