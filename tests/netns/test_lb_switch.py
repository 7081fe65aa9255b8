# SPDX-License-Identifier: Apache-2.0
"""Load balancers on logical switches: whom they choose, what the tracker keeps.

foo1, foo3 - foo - r1 - bar - bar1, bar3
foo2 (on hv2) -'           `- bar2 (on hv2)
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk, traffic
from tests.support.balancers import add, address, change, endpoint, remove_all, tracked

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  foo: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  bar: {ipv4: 172.16.1.0/24, ipv6: "fd12::/64"}
routers:
  r1:
    ports:
      r1-foo: {switch: foo, mac: "0e:00:00:01:00:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      r1-bar: {switch: bar, mac: "0e:00:00:01:00:02", networks: [172.16.1.1/24, "fd12::1/64"]}
ports:
  foo1: {switch: foo, chassis: hv1}
  foo2: {switch: foo, chassis: hv2}
  foo3: {switch: foo, chassis: hv1}
  bar1: {switch: bar, chassis: hv1}
  bar2: {switch: bar, chassis: hv2}
  bar3: {switch: bar, chassis: hv1}
"""
VERSIONS = (4, 6)
BARS = ("bar1", "bar2", "bar3")
VIP = {4: "30.0.0.1", 6: "fd30::1"}
OTHER = {4: "30.0.0.2", 6: "fd30::2"}
TRIES = 20  # all to one of three by chance: (1/3)^19


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("foo1", "bar2"), ("foo2", "bar1"))
    with servers.Servers(bed) as everybody:
        for guest in bed.ports:
            everybody.serve(guest, 80, 8000)
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    """Each test begins without load balancers, ACLs and connections."""
    conntrack.flush(bed)
    yield
    remove_all(bed)


def backends(bed: Sandbox, version: int, port: int = 0, names: tuple[str, ...] = BARS) -> list[str]:
    return [endpoint(address(bed, name, version), port) for name in names]


def chosen(bed: Sandbox, vip: str, port: int, source_port: int = 0) -> set[str]:
    """Who answers foo1 over TCP in many tries."""
    answers = [servers.visit(bed, "foo1", vip, port, source_port=source_port) for _ in range(TRIES)]
    return {answer.server if answer else "nobody" for answer in answers}


@pytest.mark.parametrize("version", VERSIONS)
def test_without_ports_every_backend_serves_every_protocol(bed: Sandbox, version: int) -> None:
    vip, client = VIP[version], address(bed, "foo1", version)
    add(bed, "lb", {vip: backends(bed, version)}, "ls:foo")
    assert servers.reached(bed, "foo1", vip, 80, set(BARS)) == set(BARS)
    assert conntrack.towards(bed, vip) == tracked(client, vip, backends(bed, version))
    conntrack.flush(bed)
    assert servers.reached(bed, "foo1", vip, 8000, set(BARS), "udp") == set(BARS)
    assert conntrack.towards(bed, vip) == tracked(
        client, vip, backends(bed, version), protocol="udp"
    )
    assert talk.pings(bed, "foo1", vip)


@pytest.mark.parametrize("version", VERSIONS)
def test_ports_are_translated_too(bed: Sandbox, version: int) -> None:
    vip, client = OTHER[version], address(bed, "foo1", version)
    add(bed, "lb", {endpoint(vip, 8000): backends(bed, version, 80)}, "ls:foo")
    assert servers.reached(bed, "foo1", vip, 8000, set(BARS)) == set(BARS)
    assert conntrack.towards(bed, vip) == tracked(client, vip, backends(bed, version))
    lines = [line for line in conntrack.dump(bed) if f"dst={vip}," in line]
    assert lines
    for line in lines:
        assert ",dport=8000),reply=(" in line
        assert ",sport=80,dport=" in line.partition("reply=")[2]
    assert servers.unheard(bed, "foo1", vip, 80)
    assert servers.unheard(bed, "foo1", vip, 8000, "udp")


@pytest.mark.parametrize("version", VERSIONS)
def test_udp_and_tcp_of_one_port_are_two_services(bed: Sandbox, version: int) -> None:
    vip = endpoint(OTHER[version], 53)
    add(bed, "tcp", {vip: backends(bed, version, 80, ("bar1",))}, "ls:foo")
    add(bed, "udp", {vip: backends(bed, version, 8000, ("bar2",))}, "ls:foo", protocol="udp")
    assert servers.reached(bed, "foo1", OTHER[version], 53, {"bar1"}) == {"bar1"}
    assert servers.reached(bed, "foo1", OTHER[version], 53, {"bar2"}, "udp") == {"bar2"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client", ["foo1", "foo2"])
def test_backends_in_the_clients_own_switch(bed: Sandbox, client: str, version: int) -> None:
    others = {"foo1", "foo2", "foo3"} - {client}
    add(bed, "lb", {VIP[version]: backends(bed, version, names=tuple(others))}, "ls:foo")
    assert servers.reached(bed, client, VIP[version], 80, others) == others
    assert conntrack.towards(bed, VIP[version]) == tracked(
        address(bed, client, version), VIP[version], backends(bed, version, names=tuple(others))
    )
    assert servers.reached(bed, client, VIP[version], 80, others, "udp") == others


@pytest.mark.parametrize("named", [True, False], ids=["protocol", "no protocol"])
@pytest.mark.parametrize("version", VERSIONS)
def test_selection_by_ports_follows_the_ports(bed: Sandbox, version: int, named: bool) -> None:
    """Without a protocol northd leaves the fields' names as they are."""
    vip = OTHER[version]
    add(bed, "lb", {endpoint(vip, 8000): backends(bed, version, 80)}, "ls:foo")
    if not named:
        change(bed, "clear", "load_balancer", "lb", "protocol")
    fields = "selection_fields=ip_src,ip_dst,tp_src,tp_dst"
    change(bed, "set", "load_balancer", "lb", fields)
    assert servers.reached(bed, "foo1", vip, 8000, set(BARS)) == set(BARS)
    conntrack.flush(bed)
    assert len(chosen(bed, vip, 8000, source_port=30000)) == 1


def test_selection_by_source_address_sticks_to_a_backend(bed: Sandbox) -> None:
    """IPv4 alone: 23.03's ip_src is no field of an IPv6 packet."""
    add(bed, "lb", {endpoint(OTHER[4], 8000): backends(bed, 4, 80)}, "ls:foo")
    change(bed, "set", "load_balancer", "lb", "selection_fields=ip_src")
    assert len(chosen(bed, OTHER[4], 8000)) == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_a_balancer_without_backends_refuses_if_told_so(
    bed: Sandbox, protocol: str, version: int
) -> None:
    silent, refusing = endpoint(VIP[version], 80), endpoint(OTHER[version], 80)
    add(bed, "silent", {silent: ()}, "ls:foo", protocol=protocol)
    add(bed, "refusing", {refusing: ()}, "ls:foo", protocol=protocol, options={"reject": "true"})
    assert servers.refused(bed, "foo1", OTHER[version], 80, protocol)
    assert servers.unheard(bed, "foo1", VIP[version], 80, protocol)


@pytest.mark.parametrize("version", VERSIONS)
def test_acls_after_the_balancer_see_the_backends(bed: Sandbox, version: int) -> None:
    vip = VIP[version]
    add(bed, "lb", {vip: backends(bed, version)}, "ls:foo")
    match = f"ip{version}.dst == {{{','.join(backends(bed, version))}}} && ct.new"
    bed.nbctl(
        "--wait=hv", "--apply-after-lb", "acl-add", "foo", "from-lport", "1002", match, "drop"
    )
    assert servers.unheard(bed, "foo1", vip, 80)
    assert servers.unheard(bed, "foo1", vip, 80, "udp")
    conntrack.flush(bed)
    change(bed, "clear", "acl", only_acl(bed), "options")
    assert servers.visit(bed, "foo1", vip, 80, "udp")
    assert servers.reached(bed, "foo1", vip, 80, set(BARS)) == set(BARS)


def only_acl(bed: Sandbox) -> str:
    """The only ACL's UUID."""
    return bed.nbctl("--bare", "--columns=_uuid", "list", "acl")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("flushed", [True, False])
def test_a_backend_that_goes_takes_its_connections_if_told_so(
    bed: Sandbox, version: int, flushed: bool
) -> None:
    vip, client = VIP[version], address(bed, "foo1", version)
    options = {"ct_flush": "true"} if flushed else {}
    add(bed, "lb", {vip: backends(bed, version)}, "ls:foo", options=options)
    add(bed, "kept", {OTHER[version]: backends(bed, version)}, "ls:foo", options=options)
    for target in (vip, OTHER[version]):
        assert servers.reached(bed, "foo1", target, 80, set(BARS)) == set(BARS)
    left = ",".join(backends(bed, version, names=BARS[:2]))
    change(bed, "set", "load_balancer", "lb", f'vips={{"{vip}"="{left}"}}')
    stay = BARS[:2] if flushed else BARS
    wanted = tracked(client, vip, backends(bed, version, names=stay))
    assert traffic.obeyed(bed, lambda: conntrack.towards(bed, vip) == wanted)
    change(bed, "lb-del", "lb")
    wanted = [] if flushed else wanted
    assert traffic.obeyed(bed, lambda: conntrack.towards(bed, vip) == wanted)
    assert conntrack.towards(bed, OTHER[version]) == tracked(
        client, OTHER[version], backends(bed, version)
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_outlives_its_backend_in_the_balancer(bed: Sandbox, version: int) -> None:
    vip = VIP[version]
    add(bed, "lb", {vip: backends(bed, version, names=BARS[:1])}, "ls:foo")
    with servers.Connection(bed, "foo1", vip, 80) as connection:
        assert connection.seen.server == "bar1"
        left = ",".join(backends(bed, version, names=BARS[1:2]))
        change(bed, "set", "load_balancer", "lb", f'vips={{"{vip}"="{left}"}}')
        assert connection.says()
        later = servers.reached(bed, "foo1", vip, 80, {"bar2"})
        assert later == {"bar2"}
        assert connection.says()


@pytest.mark.parametrize("version", VERSIONS)
def test_stateless_acls_pass_the_tracker_and_the_balancer_by(bed: Sandbox, version: int) -> None:
    vip, client, bar = VIP[version], address(bed, "foo1", version), address(bed, "bar1", version)
    zone = f"zone={conntrack.zone(bed.chassis['hv1'], 'foo1')}"
    add(bed, "lb", {endpoint(vip, 80): [endpoint(bar, 80)]}, "ls:foo")
    assert servers.visit(bed, "foo1", bar, 80)
    assert conntrack.towards(bed, client, zone) == tracked(client, bar, [bar], after="")
    conntrack.flush(bed)
    assert servers.visit(bed, "foo1", vip, 80)
    assert conntrack.towards(bed, vip, zone) == tracked(client, vip, [bar])
    for direction in ("from-lport", "to-lport"):
        bed.nbctl("acl-add", "foo", direction, "1", "1", "allow-stateless")
    change(bed, "ls-lb-del", "foo", "lb")
    conntrack.flush(bed)
    assert servers.visit(bed, "foo1", bar, 80)
    assert conntrack.towards(bed, client, zone) == []
    change(bed, "ls-lb-add", "foo", "lb")
    assert servers.unheard(bed, "foo1", vip, 80)
    assert conntrack.towards(bed, vip, zone) == []
