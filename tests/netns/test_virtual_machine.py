# SPDX-License-Identifier: Apache-2.0
"""A real virtual machine on a tap that is plugged as a VIF.

It boots, gets its address by DHCP and its IPv6 address by router advertisement,
resolves a name, and talks to a guest on the other chassis; TCP leaves checksums and
segmentation to the tap.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import beds, dhcp, traffic
from tests.vm.network_guest import NetworkGuest, make_tap

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

KINDS = beds.OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
ports:
  vm1: {switch: sw0, mac: "0a:00:00:00:00:11", ips: [10.0.0.11/24, "fd00::800:ff:fe00:11/64"],
        port_security: true}
  vm2: {switch: sw0, chassis: hv2, port_security: true}
"""
ROUTER = "0e:00:00:00:00:01"
TAP = "tap-vm1"
PORT = 5001
BLOCKS = 64  # of 64 KiB
PATIENCE = 600.0


@pytest.fixture(scope="module", autouse=True)
def network(bed: Sandbox) -> None:
    """DHCP, advertisements, a name, and the tap plugged in."""
    mtu = bed.topology.vif_mtu
    peer = bed.ports["vm2"].guest
    records = f'{{"peer.ovn.org"="{peer.address(4)} {peer.address(6)}"}}'
    row = bed.nbctl("create", "DNS", f"records={records}")
    bed.nbctl("set", "logical_switch", "sw0", f"dns_records={row}")
    said = {"address_mode": "slaac", "mtu": str(mtu), "send_periodic": "true"}
    said |= {"min_interval": "3", "max_interval": "4"}
    values = [f"ipv6_ra_configs:{name}={value}" for name, value in said.items()]
    bed.nbctl("set", "logical_router_port", "r0-sw0", *values)
    options = {"server_id": "10.0.0.1", "server_mac": ROUTER, "lease_time": "3600"}
    options |= {"router": "10.0.0.1", "dns_server": "10.0.0.1", "mtu": str(mtu)}
    dhcp.serve(bed, options, "vm1")
    chassis = bed.chassis["hv1"]
    make_tap(chassis.netns, TAP, mtu)
    chassis.vsctl("add-port", "br-int", TAP, "--", "set", "interface", TAP,
                  "external_ids:iface-id=vm1")  # fmt: skip
    bed.wait_up("vm1")
    bed.sync()


@contextmanager
def echo(namespace: str, addresses: tuple[str, ...]) -> Iterator[list[str]]:
    """Servers that send back what they got, once they have all of it; their digests."""
    digests: list[str] = []

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            data = b""
            while chunk := connection.recv(1 << 20):
                data += chunk
                if len(data) == BLOCKS << 16:
                    break
            digests.append(hashlib.md5(data).hexdigest())
            connection.sendall(data)

    servers, threads = [], []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with netns.entered(namespace):
            server = socket.socket(family, socket.SOCK_STREAM)
        server.settimeout(PATIENCE)
        server.bind((address, PORT))
        server.listen(1)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        servers.append(server)
        threads.append(thread)
    try:
        yield digests
    finally:
        for thread, server in zip(threads, servers, strict=True):
            thread.join(5)
            server.close()


def test_it_boots_and_talks_to_the_other_chassis(bed: Sandbox, tmp_path: Path) -> None:
    peer = bed.ports["vm2"]
    conf = {"PEER4": peer.ip4, "PEER6": peer.ip6, "PEER_NAME": "peer.ovn.org"}
    conf |= {"PORT": str(PORT), "BLOCKS": str(BLOCKS)}
    chassis = bed.chassis["hv1"].netns
    with (
        echo(peer.netns, (peer.ip4, peer.ip6)) as digests,
        traffic.Wire(chassis, TAP) as wire,
        NetworkGuest(chassis, TAP, "0a:00:00:00:00:11", conf, tmp_path) as guest,
    ):
        told = guest.told(PATIENCE)
        longest = max(len(frame) for frame in wire.frames())
    assert (told["ip4"], told["route4"]) == ("10.0.0.11/24", "10.0.0.1")
    assert told["mtu"] == str(bed.topology.vif_mtu)
    assert (told["ip6"], told["route6"]) == ("fd00::800:ff:fe00:11/64", "fe80::c00:ff:fe00:1")
    assert (told["dns_A"], told["dns_AAAA"]) == (peer.ip4, peer.ip6)
    assert (told["ping4"], told["ping6"], told["ping_name"]) == ("3", "3", "1")
    assert told["received4"] == told["received6"] == told["sent"]
    assert digests == [told["sent"], told["sent"]]
    # The card offers to sum and to segment, and the guest has left both to it.
    features = told["offloads"]
    assert features[0] == "1" and features[11] == features[12] == "1"
    assert longest > bed.topology.vif_mtu + 14
