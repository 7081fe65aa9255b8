# SPDX-License-Identifier: Apache-2.0
"""Fragments by way of a load balancer: only the first has ports, all must follow it.

Not for the real ovn-controller here: OVS's userspace data path translates no
fragments (OVN's own test is for the kernel's).

client - ls0 - lr (on hv1) - ls1 - server1 (on hv1), server2 (on hv2)
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk
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
OWNERS = ("ls:ls0", "lr:lr")
SERVERS = ("server1", "server2")
VIP = {4: "192.168.20.20", 6: "fd20::20"}
SIZE = 4000  # three fragments
NARROW = 800
_IP_MTU_DISCOVER, _DONT, _DO = 10, 0, 2  # linux/in.h
_IPV6_MTU_DISCOVER = 23


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("client", "server1"), ("client", "server2"))
    with servers.Servers(bed) as everybody:
        for guest in SERVERS:
            everybody.serve(guest, 4242, protocols=("udp",))
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    remove_all(bed)


def balance(bed: Sandbox, owner: str, version: int, *backends: str) -> None:
    hosts = [endpoint(address(bed, name, version), 4242) for name in backends]
    add(bed, "lb", {endpoint(VIP[version], 80): hosts}, owner, protocol="udp")


def sender(bed: Sandbox, version: int, discover: int) -> socket.socket:
    """The client's UDP socket to the virtual address."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(bed.ports["client"].netns):
        made = socket.socket(family, socket.SOCK_DGRAM)
    if version == 4:
        made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, discover)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, discover)
    made.settimeout(servers.ARRIVES)
    made.connect((VIP[version], 80))
    return made


def answered(one: socket.socket, size: int) -> str:
    """Which server got a datagram of this size whole and sent it back whole."""
    text = os.urandom(size)
    one.send(text)
    greeting, _, back = one.recv(65536).partition(b"\n")
    assert back == text
    return greeting.split()[0].decode()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("owner", OWNERS)
def test_fragments_follow_the_first(bed: Sandbox, owner: str, version: int) -> None:
    """Of 24 datagrams not one may be torn between two backends.  That all go to one
    backend has odds of 1.2e-7.
    """
    balance(bed, owner, version, *SERVERS)
    found = set()
    for _ in range(24):
        with sender(bed, version, _DONT) as one:
            server = answered(one, SIZE)
            assert answered(one, SIZE) == server
            assert answered(one, 10) == server
            found.add(server)
    assert found == set(SERVERS)


@pytest.mark.parametrize("server", SERVERS)
def test_both_sides_learn_what_fits_behind_the_balancer(bed: Sandbox, server: str) -> None:
    """Too big for the router: the client is told so about the address that it knows.

    Then it sends fragments, and the server is told about its answer.
    """
    change(bed, "lrp-set-options", "lr-ls1", f"gateway_mtu={NARROW}")
    try:
        balance(bed, "lr:lr", 4, server)
        with sender(bed, 4, _DO) as one:
            one.send(b"x" * 1000)
            with pytest.raises(OSError, match="Message too long") as told:
                one.recv(4096)
            assert told.value.errno == errno.EMSGSIZE
        with sender(bed, 4, _DONT) as one:
            one.settimeout(servers.ABSENT)
            with pytest.raises(TimeoutError):
                answered(one, 1000)
            one.settimeout(servers.ARRIVES)
            assert answered(one, 1000) == server
    finally:
        change(bed, "clear", "logical_router_port", "lr-ls1", "options")
        for guest in ("client", server):
            netns.ip(bed.ports[guest].netns, "route flush cache")
