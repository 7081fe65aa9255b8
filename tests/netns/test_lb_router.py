# SPDX-License-Identifier: Apache-2.0
"""Load balancers on gateway routers and on a distributed router's gateway port.

foo1 - foo - r1 - join - r2 (on hv2) - alice - alice1, alice2
bar1 - bar -' |      `-- r3 (on hv1) - bob - bob1
              ext - ext1              (r1's gateway port is on hv2)
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk
from tests.support.balancers import add, address, change, endpoint, remove_all, tracked

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  foo: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  bar: {ipv4: 192.168.2.0/24, ipv6: "fd12::/64"}
  alice: {ipv4: 172.16.1.0/24, ipv6: "fd72::/64"}
  bob: {ipv4: 172.17.1.0/24, ipv6: "fd73::/64"}
  ext: {ipv4: 172.18.1.0/24, ipv6: "fd74::/64"}
  join: {ipv4: 20.0.0.0/24, ipv6: "fd20::/64"}
routers:
  r1:
    ports:
      r1-foo: {switch: foo, mac: "0e:00:00:01:00:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      r1-bar: {switch: bar, mac: "0e:00:00:01:00:02", networks: [192.168.2.1/24, "fd12::1/64"]}
      r1-join: {switch: join, mac: "0e:00:00:01:00:03", networks: [20.0.0.1/24, "fd20::1/64"]}
      r1-ext: {switch: ext, mac: "0e:00:00:01:00:04", networks: [172.18.1.1/24, "fd74::1/64"]}
  r2:
    ports:
      r2-join: {switch: join, mac: "0e:00:00:02:00:01", networks: [20.0.0.2/24, "fd20::2/64"]}
      r2-alice: {switch: alice, mac: "0e:00:00:02:00:02", networks: [172.16.1.1/24, "fd72::1/64"]}
  r3:
    ports:
      r3-join: {switch: join, mac: "0e:00:00:03:00:01", networks: [20.0.0.3/24, "fd20::3/64"]}
      r3-bob: {switch: bob, mac: "0e:00:00:03:00:02", networks: [172.17.1.1/24, "fd73::1/64"]}
ports:
  foo1: {switch: foo, chassis: hv1}
  bar1: {switch: bar, chassis: hv2}
  alice1: {switch: alice, chassis: hv2}
  alice2: {switch: alice, chassis: hv2}
  bob1: {switch: bob, chassis: hv1}
  ext1: {switch: ext, chassis: hv2}
nbctl:
  - set logical_router r2 options:chassis=hv2
  - set logical_router r3 options:chassis=hv1
  - lrp-set-gateway-chassis r1-ext hv2
  - lr-route-add r2 192.168.0.0/16 20.0.0.1
  - lr-route-add r2 fd11::/64 fd20::1
  - lr-route-add r2 fd12::/64 fd20::1
  - lr-route-add r3 192.168.0.0/16 20.0.0.1
  - lr-route-add r3 fd11::/64 fd20::1
  - lr-route-add r3 fd12::/64 fd20::1
"""
TO_ALICE = (("172.16.1.0/24", "20.0.0.2"), ("fd72::/64", "fd20::2"))
BY_SOURCE = (
    ("192.168.1.0/24", "20.0.0.2"),
    ("192.168.2.0/24", "20.0.0.3"),
    ("fd11::/64", "fd20::2"),
    ("fd12::/64", "fd20::3"),
)
VERSIONS = (4, 6)
BACKENDS = ("foo1", "bar1")
VIP = {4: "30.0.0.1", 6: "fd30::1"}
PORTED = {4: "30.0.0.2", 6: "fd30::2"}  # with a port
R2_JOIN = {4: "20.0.0.2", 6: "fd20::2"}
R3_JOIN = {4: "20.0.0.3", 6: "fd20::3"}
R2_ALICE = {4: "172.16.1.1", 6: "fd72::1"}
ON_ALICE = {4: "172.16.1.150", 6: "fd72::150"}
ON_EXT = {4: "172.18.1.150", 6: "fd74::150"}


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("foo1", "bar1"))
    with servers.Servers(bed) as everybody:
        for guest in bed.ports:
            everybody.serve(guest, 80)
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    for router in ("r2", "r3"):
        bed.nbctl("remove", "logical_router", router, "options", "lb_force_snat_ip", "--",
                  "lr-nat-del", router)  # fmt: skip
    remove_all(bed)


def backends(bed: Sandbox, version: int, port: int = 0) -> list[str]:
    return [endpoint(address(bed, name, version), port) for name in BACKENDS]


def balance(bed: Sandbox, version: int, *owners: str) -> None:
    """VIP for everything, PORTED on 8000 for the backends' port 80."""
    vips = {
        VIP[version]: backends(bed, version),
        endpoint(PORTED[version], 8000): backends(bed, version, 80),
    }
    add(bed, "lb", vips, *owners)


def force_snat(bed: Sandbox, router: str, *addresses: str) -> None:
    option = f'options:lb_force_snat_ip="{" ".join(addresses)}"'
    change(bed, "set", "logical_router", router, option)


def through_snat(bed: Sandbox, client: str, version: int, hidden: str) -> list[str]:
    """The tracker's lines of SNAT after load balancing, for all backends."""
    hosts = backends(bed, version)
    return sorted(conntrack.tcp((address(bed, client, version), h), (h, hidden)) for h in hosts)


@pytest.fixture
def one_way(bed: Sandbox) -> Iterator[None]:
    """r1 answers alice by r2."""
    for prefix, hop in TO_ALICE:
        bed.nbctl("lr-route-add", "r1", prefix, hop)
    bed.sync()
    yield
    bed.nbctl("--wait=hv", "lr-route-del", "r1")


@pytest.fixture
def two_ways(bed: Sandbox) -> Iterator[None]:
    """r1 sends what foo says by r2 and what bar says by r3, as to one outer world.

    Only SNAT on the way in brings answers back by the way that the question took.
    """
    for prefix, hop in BY_SOURCE:
        bed.nbctl("--policy=src-ip", "lr-route-add", "r1", prefix, hop)
    bed.sync()
    yield
    bed.nbctl("--wait=hv", "lr-route-del", "r1")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gateway_router_balances_beside_snat(bed: Sandbox, one_way: None, version: int) -> None:
    """SNAT of one backend to the virtual address must not come between."""
    bar, alice = address(bed, "bar1", version), address(bed, "alice1", version)
    change(bed, "lr-nat-add", "r2", "snat", PORTED[version], bar)
    balance(bed, version, "lr:r2")
    for vip, port in ((VIP[version], 80), (PORTED[version], 8000)):
        assert servers.reached(bed, "alice1", vip, port, set(BACKENDS)) == set(BACKENDS)
        assert conntrack.towards(bed, vip) == tracked(alice, vip, backends(bed, version))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_backends_see_the_client(bed: Sandbox, one_way: None, protocol: str, version: int) -> None:
    vip = {endpoint(PORTED[version], 80): backends(bed, version, 80)}
    add(bed, "lb", vip, "lr:r2", protocol=protocol)
    answer = servers.visit(bed, "alice1", PORTED[version], 80, protocol)
    assert answer
    assert answer.address == address(bed, "alice1", version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("hidden", ["given", "router_ip"])
def test_forced_snat_hides_the_client(
    bed: Sandbox, one_way: None, hidden: str, version: int
) -> None:
    alice = address(bed, "alice1", version)
    force_snat(bed, "r2", *((R2_JOIN[4], R2_JOIN[6]) if hidden == "given" else (hidden,)))
    balance(bed, version, "lr:r2")
    vip = PORTED[version]
    assert servers.reached(bed, "alice1", vip, 8000, set(BACKENDS)) == set(BACKENDS)
    hosts = backends(bed, version)
    assert conntrack.towards(bed, vip) == tracked(alice, vip, hosts, ",mark=10")
    assert conntrack.towards(bed, R2_JOIN[version]) == through_snat(
        bed, "alice1", version, R2_JOIN[version]
    )
    for protocol in servers.BOTH:
        answer = servers.visit(bed, "alice1", VIP[version], 80, protocol)
        assert answer
        assert answer.address == R2_JOIN[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_two_gateway_routers_balance(bed: Sandbox, two_ways: None, version: int) -> None:
    for router, own in (("r2", R2_JOIN), ("r3", R3_JOIN)):
        force_snat(bed, router, own[4], own[6])
    balance(bed, version, "lr:r2", "lr:r3")
    vip, hosts = VIP[version], backends(bed, version)
    for client, own in (("alice1", R2_JOIN), ("bob1", R3_JOIN)):
        assert servers.reached(bed, client, vip, 80, set(BACKENDS)) == set(BACKENDS)
        source = address(bed, client, version)
        seen = conntrack.towards(bed, vip)
        assert [line for line in seen if f"orig=(src={source}," in line] == tracked(
            source, vip, hosts, ",mark=10"
        )
        hidden = own[version]
        assert conntrack.towards(bed, hidden) == through_snat(bed, client, version, hidden)


@pytest.mark.parametrize("version", VERSIONS)
def test_two_gateway_routers_balance_both_families(
    bed: Sandbox, two_ways: None, version: int
) -> None:
    """One load balancer for each family, on both routers at once."""
    for router in ("r2", "r3"):
        force_snat(bed, router, "router_ip")
    for family in VERSIONS:
        vips = {VIP[family]: backends(bed, family)}
        add(bed, f"lb{family}", vips, "lr:r2", "lr:r3")
    for client, own in (("alice1", R2_JOIN), ("bob1", R3_JOIN)):
        vip = VIP[version]
        assert servers.reached(bed, client, vip, 80, set(BACKENDS)) == set(BACKENDS)
        answer = servers.visit(bed, client, vip, 80, "udp")
        assert answer
        assert answer.address == own[version]


@pytest.mark.parametrize("version", VERSIONS)
def test_client_and_backend_on_one_side_of_the_gateway(bed: Sandbox, version: int) -> None:
    """The backend must answer the router, not its neighbour the client."""
    vip, server = ON_ALICE[version], address(bed, "alice2", version)
    add(bed, "lb", {endpoint(vip, 80): [endpoint(server, 80)]}, "lr:r2")
    answer = servers.visit(bed, "alice1", server, 80)
    assert answer
    assert answer.address == address(bed, "alice1", version)
    force_snat(bed, "r2", "router_ip")
    for _ in range(5):
        answer = servers.visit(bed, "alice1", vip, 80)
        assert answer
        assert (answer.server, answer.address) == ("alice2", R2_ALICE[version])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_distributed_router_balances_at_its_gateway_port(bed: Sandbox, version: int) -> None:
    vip, client = ON_EXT[version], address(bed, "ext1", version)
    ported = endpoint(vip, 8000)
    hosts = backends(bed, version)
    add(bed, "lb", {vip: hosts, ported: backends(bed, version, 80)}, "lr:r1")
    for port in (80, 8000):
        conntrack.flush(bed)
        assert servers.reached(bed, "ext1", vip, port, set(BACKENDS)) == set(BACKENDS)
        assert conntrack.towards(bed, vip) == tracked(client, vip, hosts)
        assert servers.reached(bed, "ext1", vip, 80, set(BACKENDS), "udp") == set(BACKENDS)
