# SPDX-License-Identifier: Apache-2.0
"""A guest that asks a virtual address and is the chosen backend itself.

Its packets turn round on the switch with the virtual address as their source, or
the guest's kernel would answer itself past the switch.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers
from tests.support.balancers import add, address, change, endpoint, remove_all

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw: {ipv4: 42.42.42.0/24, ipv6: "fd42::/64"}}
routers:
  rtr:
    ports:
      rtr-sw: {switch: sw, mac: "0e:00:00:00:01:00", networks: [42.42.42.1/24, "fd42::1/64"]}
ports:
  self: {switch: sw, chassis: hv1}
  other: {switch: sw, chassis: hv1}
port_groups: {pg: [self]}
"""
VERSIONS = (4, 6)
VIP = {4: "88.88.88.88", 6: "fd88::88"}
SECOND = {4: "88.88.88.89", 6: "fd88::89"}
PORTLESS = {4: "88.88.88.90", 6: "fd88::90"}
HAIRPIN = {4: "88.88.88.1", 6: "fd88::1"}
ACLS = (
    ("1004", "ip4.dst == 10.0.0.2 || ip6.dst == fd10::2", "drop"),
    ("1002", "tcp", "allow-related"),
    ("1002", "udp", "allow"),
)


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    with servers.Servers(bed) as everybody:
        everybody.serve("self", 4041)
        everybody.serve("other", 4041)
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    remove_all(bed)
    bed.nbctl("pg-add", "pg", "self")


def balance(bed: Sandbox, version: int, protocol: str, **options: str) -> None:
    """VIP and SECOND on port 8080 lead to self, PORTLESS on all ports."""
    backend = address(bed, "self", version)
    ported = {endpoint(vip[version], 8080): [endpoint(backend, 4041)] for vip in (VIP, SECOND)}
    add(bed, "ported", ported, "ls:sw", protocol=protocol, options=options)
    add(bed, "portless", {PORTLESS[version]: [backend]}, "ls:sw", options=options)


def seen_as(bed: Sandbox, client: str, version: int, protocol: str) -> list[str]:
    """Whom the backend sees when asked by VIP, SECOND and PORTLESS."""
    answers = [
        servers.visit(bed, client, VIP[version], 8080, protocol),
        servers.visit(bed, client, SECOND[version], 8080, protocol),
        servers.visit(bed, client, PORTLESS[version], 4041, protocol),
    ]
    return [f"{answer.server} {answer.address}" if answer else "-" for answer in answers]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_a_backend_reaches_itself_as_the_virtual_address(
    bed: Sandbox, protocol: str, version: int
) -> None:
    balance(bed, version, protocol)
    vips = (VIP[version], SECOND[version], PORTLESS[version])
    assert seen_as(bed, "self", version, protocol) == [f"self {vip}" for vip in vips]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_others_keep_their_address(bed: Sandbox, protocol: str, version: int) -> None:
    balance(bed, version, protocol)
    other = address(bed, "other", version)
    assert seen_as(bed, "other", version, protocol) == [f"self {other}"] * 3


@pytest.mark.parametrize("version", VERSIONS)
def test_acls_after_the_balancer_let_hairpins_pass(bed: Sandbox, version: int) -> None:
    for priority, match, action in ACLS:
        words = ("pg", "from-lport", priority, match, action)
        bed.nbctl("--type=port-group", "--apply-after-lb", "acl-add", *words)
    for protocol in servers.BOTH:
        balance(bed, version, protocol)
        vips = (VIP[version], SECOND[version], PORTLESS[version])
        assert seen_as(bed, "self", version, protocol) == [f"self {vip}" for vip in vips]
        change(bed, "--all", "destroy", "load_balancer")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_the_hairpin_address_can_be_chosen(bed: Sandbox, protocol: str, version: int) -> None:
    balance(bed, version, protocol, hairpin_snat_ip=HAIRPIN[version])
    assert seen_as(bed, "self", version, protocol) == [f"self {HAIRPIN[version]}"] * 3
    other = address(bed, "other", version)
    assert seen_as(bed, "other", version, protocol) == [f"self {other}"] * 3


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hairpinned_connection_goes_on(bed: Sandbox, version: int) -> None:
    balance(bed, version, "tcp")
    with servers.Connection(bed, "self", VIP[version], 8080) as connection:
        assert all(connection.says() for _ in range(10))
        states = [line for line in conntrack.dump(bed) if f"dst={VIP[version]}," in line]
        assert states
        assert all("state=ESTABLISHED" in line for line in states)
