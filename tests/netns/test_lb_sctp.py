# SPDX-License-Identifier: Apache-2.0
"""SCTP by way of a load balancer, with packets made here: not every kernel speaks it.

Not for the real ovn-controller here: OVS's userspace data path tracks no SCTP.

    client - ls0 - lr (on hv1) - ls1 - server1 (on hv1), server2 (on hv2)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.sctp import (
    SCTP,
    SCTPChunkCookieAck,
    SCTPChunkCookieEcho,
    SCTPChunkData,
    SCTPChunkInit,
    SCTPChunkInitAck,
)
from scapy.packet import Packet

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, sums, traffic
from tests.support.balancers import add, address, change, endpoint, remove_all
from tests.support.beds import OURS

ANNOUNCED = ()
KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  client: {switch: ls0, chassis: hv1}
  server1: {switch: ls1, chassis: hv1}
  server2: {switch: ls1, chassis: hv2}
$balancing_router
"""
VERSIONS = (4, 6)
SERVERS = ("server1", "server2")
VIP = {4: "192.168.20.20", 6: "fd20::20"}
ROUTER = {4: "192.168.20.1", 6: "fd20::1"}
VIP_PORT, PORT = 8000, 12345
ROUTER_MAC = {"client": "0e:00:00:00:00:01", "server1": "0e:00:00:00:00:02",
              "server2": "0e:00:00:00:00:02"}  # fmt: skip


class Peer:
    """A guest that sends and sees SCTP while the block runs."""

    def __init__(self, bed: Sandbox, name: str, version: int) -> None:
        self.name, self.version = name, version
        self.address = address(bed, name, version)
        self._bed = bed
        self._wire = traffic.Wire(bed.ports[name].netns, "eth0")

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._wire.close()

    def send(self, target: str, ports: tuple[int, int], tag: int, chunk: Packet) -> None:
        """One chunk; ports: own, theirs."""
        link = Ether(src=self._bed.ports[self.name].mac, dst=ROUTER_MAC[self.name])
        network = IP if self.version == 4 else IPv6
        packet = network(src=self.address, dst=target)
        sctp = SCTP(sport=ports[0], dport=ports[1], tag=tag)
        traffic.send_raw(self._bed, self.name, bytes(link / packet / sctp / chunk))

    def sees(self, chunk: type[Packet], seconds: float = servers.ARRIVES) -> Any:
        """The next packet to this guest with such a chunk, its checksums right."""
        mac = bytes.fromhex(self._bed.ports[self.name].mac.replace(":", ""))
        frame = self._wire.first(lambda f: f[:6] == mac and chunk in Ether(f), seconds)
        if frame is None:
            return None
        assert sums.wrong(frame[14:]) == ""
        return Ether(frame)


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    bed.nbctl("remove", "logical_router", "lr", "options", "lb_force_snat_ip")
    remove_all(bed)


def balance(bed: Sandbox, owner: str, ported: bool, version: int) -> int:
    """Returns the port that the virtual address is asked on."""
    hosts = [endpoint(address(bed, name, version), PORT if ported else 0) for name in SERVERS]
    vip = {endpoint(VIP[version], VIP_PORT if ported else 0): hosts}
    add(bed, "lb", vip, owner, protocol="sctp")
    return VIP_PORT if ported else PORT


def chosen(peers: list[Peer]) -> tuple[Peer, Any]:
    """Which of the servers sees an INIT, and the packet."""
    deadline = time.monotonic() + servers.ARRIVES
    while time.monotonic() < deadline:
        for peer in peers:
            if (seen := peer.sees(SCTPChunkInit, 0.02)) is not None:
                return peer, seen
    pytest.fail("no server sees the INIT")


def associate(bed: Sandbox, version: int, own: int, port: int, hidden: str = "") -> str:
    """An association of the client from its port `own`, and data; who served it.

    hidden: whom the server sees, when that is not the client.
    """
    vip, layer = VIP[version], IP if version == 4 else IPv6
    with ExitStack() as stack:
        client, *peers = (
            stack.enter_context(Peer(bed, name, version)) for name in ("client", *SERVERS)
        )
        client.send(vip, (own, port), 0, SCTPChunkInit(init_tag=1111))
        server, init = chosen(peers)
        source = init[layer].src
        assert source == (hidden or client.address)
        assert init[SCTP].dport == PORT
        back = (PORT, int(init[SCTP].sport))
        server.send(source, back, 1111, SCTPChunkInitAck(init_tag=2222))
        answer = client.sees(SCTPChunkInitAck)
        assert answer is not None
        assert answer[layer].src == vip
        assert (answer[SCTP].sport, answer[SCTP].dport) == (port, own)
        client.send(vip, (own, port), 2222, SCTPChunkCookieEcho(cookie=b"abcd", len=8))
        assert server.sees(SCTPChunkCookieEcho)
        server.send(source, back, 1111, SCTPChunkCookieAck())
        assert client.sees(SCTPChunkCookieAck)
        client.send(vip, (own, port), 2222, SCTPChunkData(data=b"data", beginning=1, ending=1))
        assert server.sees(SCTPChunkData)
        return server.name


def line(orig: tuple[str, str], reply: tuple[str, str], after: str = "") -> str:
    """As conntrack.towards() has it, of an association whose tags associate() chose."""
    state = ",protoinfo=(state=<cleared>,vtag_orig=2222,vtag_reply=1111)"
    return conntrack.udp(orig, reply, after).replace("udp,", "sctp,", 1) + state


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ported", [False, True])
@pytest.mark.parametrize("owner", ["ls:ls0", "lr:lr"])
def test_associations_are_balanced(bed: Sandbox, owner: str, ported: bool, version: int) -> None:
    """All of 24 at one server: 1.2e-7."""
    port = balance(bed, owner, ported, version)
    found = set()
    for own in range(5000, 5024):
        found.add(associate(bed, version, own, port))
        if len(found) == len(SERVERS):
            break
    assert found == set(SERVERS)
    client, vip = address(bed, "client", version), VIP[version]
    hosts = [address(bed, name, version) for name in SERVERS]
    wanted = sorted(line((client, vip), (host, client), ",mark=2") for host in hosts)
    assert conntrack.towards(bed, vip) == wanted


@pytest.mark.parametrize("version", VERSIONS)
def test_associations_pass_forced_snat(bed: Sandbox, version: int) -> None:
    change(bed, "set", "logical_router", "lr", "options:lb_force_snat_ip=router_ip")
    port = balance(bed, "lr:lr", True, version)
    server = associate(bed, version, 6000, port, ROUTER[version])
    client, host, vip = address(bed, "client", version), address(bed, server, version), VIP[version]
    assert conntrack.towards(bed, vip) == [line((client, vip), (host, client), ",mark=10")]
    router = ROUTER[version]
    assert conntrack.towards(bed, router) == [line((client, host), (host, router))]
