# SPDX-License-Identifier: Apache-2.0
"""allow-related: who may begin, who may answer, and what becomes of it when ACLs change.

vm1 and vm2 share a chassis, vm3 is on another, vm4 behind a router.  Every port of
the switch sw0 is guarded: what no test allows is dropped in both directions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk, traffic
from tests.support.balancers import address, change, remove_all

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
port_groups: {guarded: [vm1, vm2, vm3]}
$guarded
"""
VERSIONS = (4, 6)
OPEN = 82  # the port that some may reach
GUARDED = ("vm1", "vm2", "vm3")
BLOCKED = ",mark=1"


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("vm1", "vm3"), ("vm2", "vm3"), ("vm1", "vm4"))
    with servers.Servers(bed) as everybody:
        for guest in bed.ports:
            everybody.serve(guest, OPEN, 83)
        yield


@pytest.fixture(autouse=True)
def guarded(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    guard(bed)
    yield
    remove_all(bed)
    bed.nbctl("pg-add", "guarded", *GUARDED)


def acls(bed: Sandbox, *rows: tuple[str, int, str, str], after_lb: bool = False) -> None:
    """Add (direction, priority, match, action) to the port group and wait."""
    option = ["--apply-after-lb"] if after_lb else []
    command: list[str] = []
    for direction, priority, match, action in rows:
        of = option if direction == "from-lport" else []
        command += ["--", "--type=port-group", *of, "acl-add", "guarded", direction, str(priority)]
        command += [match, action]
    change(bed, *command[1:])


def guard(bed: Sandbox, after_lb: bool = False) -> None:
    """Drop all that no other ACL allows."""
    bed.nbctl("clear", "port_group", "guarded", "acls")
    both = (
        ("from-lport", 1001, "inport == @guarded && ip", "drop"),
        ("to-lport", 1001, "outport == @guarded && ip", "drop"),
    )
    acls(bed, *both, after_lb=after_lb)


def opened(bed: Sandbox, action: str = "allow-related", after_lb: bool = False) -> None:
    """Everybody may begin, and everybody may be asked on the open port."""
    if after_lb:
        guard(bed, after_lb)
    acls(
        bed,
        ("from-lport", 1002, "inport == @guarded && ip", action),
        ("to-lport", 1002, f"outport == @guarded && tcp.dst == {OPEN}", action),
        ("to-lport", 1002, f"outport == @guarded && udp.dst == {OPEN}", action),
        after_lb=after_lb,
    )


def asks(bed: Sandbox, source: str, target: str, port: int, protocol: str, version: int) -> bool:
    """Whether one question is answered; False soon when not."""
    host = address(bed, target, version)
    return not servers.unheard(bed, source, host, port, protocol)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("after_lb", [False, True])
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_answers_come_back_through_a_closed_door(
    bed: Sandbox, protocol: str, after_lb: bool, version: int
) -> None:
    opened(bed, after_lb=after_lb)
    for source, target in itertools.permutations(GUARDED, 2):
        host = address(bed, target, version)
        assert servers.visit(bed, source, host, OPEN, protocol)
    assert not asks(bed, "vm3", "vm1", 83, protocol, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_both_ends_on_one_chassis_have_entries_of_their_own(bed: Sandbox, version: int) -> None:
    opened(bed)
    vm1, vm2, vm3 = (address(bed, name, version) for name in GUARDED)
    zones = {name: conntrack.zone(bed.chassis["hv1"], name) for name in ("vm1", "vm2")}
    assert servers.visit(bed, "vm1", vm2, OPEN)
    both = conntrack.tcp((vm1, vm2), (vm2, vm1))
    assert conntrack.towards(bed, vm2) == [both, both]
    for zone in zones.values():
        assert conntrack.towards(bed, vm2, f"zone={zone}") == [both]
    assert servers.visit(bed, "vm1", vm3, OPEN, "udp")
    one = conntrack.udp((vm1, vm3), (vm3, vm1))
    assert conntrack.towards(bed, vm3, f"zone={zones['vm1']}") == [one]
    assert conntrack.towards(bed, vm3, f"zone={zones['vm2']}") == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_only_one_side_may_begin_to_ping(bed: Sandbox, target: str, version: int) -> None:
    icmp = "icmp4" if version == 4 else "icmp6"
    acls(bed, ("from-lport", 1002, 'inport == "vm1" && ip', "allow-related"),
         ("to-lport", 1002, f'outport == "{target}" && {icmp}', "allow-related"))  # fmt: skip
    if version == 6:  # neighbour discovery is IP, too
        traffic.acquaint(bed, "vm1", "vm2", "vm3")
    assert traffic.answers(bed, "vm1", target, version)
    assert traffic.silent(bed, target, "vm1", version)


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_allow_is_stateful_beside_allow_related(bed: Sandbox, version: int) -> None:
    acls(bed, ("from-lport", 1002, 'inport == "vm1" && udp', "allow"),
         ("from-lport", 1002, 'inport == "vm1" && tcp', "allow-related"),
         ("to-lport", 1002, f'outport == "vm2" && udp.dst == {OPEN}', "allow"))  # fmt: skip
    assert servers.visit(bed, "vm1", address(bed, "vm2", version), OPEN, "udp")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("after_lb", [False, True])
def test_one_open_door_in_a_switch_that_drops_all(
    bed: Sandbox, after_lb: bool, version: int
) -> None:
    """The client is behind a router in a switch without ACLs."""
    option = ["--apply-after-lb"] if after_lb else []
    ip = f"ip{version}"
    bed.nbctl(*option, "acl-add", "sw0", "from-lport", "1002", f'inport == "vm1" && {ip}', "drop")
    bed.nbctl("acl-add", "sw0", "to-lport", "1003", f"tcp.dst == {OPEN}", "allow-related")
    change(bed, "acl-add", "sw0", "to-lport", "1002", ip, "drop")
    host = address(bed, "vm1", version)
    assert servers.visit(bed, "vm4", host, OPEN)
    assert not asks(bed, "vm4", "vm1", 83, "tcp", version)
    assert not asks(bed, "vm4", "vm1", OPEN, "udp", version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_an_acl_blocks_and_frees_an_established_connection(
    bed: Sandbox, target: str, version: int
) -> None:
    opened(bed)
    host = address(bed, target, version)
    with servers.Connection(bed, "vm1", host, OPEN) as connection:
        assert connection.says()
        block = ("to-lport", 1004, f"outport == @guarded && tcp.dst == {OPEN}", "drop")
        acls(bed, block)
        assert not connection.says(servers.ABSENT)
        lines = conntrack.towards(bed, host)
        vm1 = address(bed, "vm1", version)
        assert conntrack.tcp((vm1, host), (host, vm1), BLOCKED) in lines
        change(bed, "--type=port-group", "acl-del", "guarded", block[0], str(block[1]), block[2])
        assert connection.says()
        assert not any("mark=1" in line for line in conntrack.towards(bed, host))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_goes_on_when_its_acl_has_another_name(bed: Sandbox, version: int) -> None:
    """The rule that let it in is replaced by one that lets it in as well."""
    opened(bed)
    with servers.Connection(bed, "vm1", address(bed, "vm2", version), OPEN) as connection:
        match = f"outport == @guarded && tcp.dst == {OPEN}"
        acls(bed, ("to-lport", 1003, f"outport == @guarded && ip{version} && tcp", "allow-related"))
        assert connection.says()
        change(bed, "--type=port-group", "acl-del", "guarded", "to-lport", "1002", match)
        assert connection.says()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_survives_the_end_and_the_return_of_all_acls(
    bed: Sandbox, version: int
) -> None:
    opened(bed)
    with servers.Connection(bed, "vm1", address(bed, "vm3", version), OPEN) as connection:
        remove_all(bed)
        assert connection.says()
        bed.nbctl("pg-add", "guarded", *GUARDED)
        opened(bed)
        assert connection.says()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_an_error_about_an_allowed_packet_is_let_in(
    bed: Sandbox, target: str, version: int
) -> None:
    """Nobody allows ICMP: "port unreachable" comes in because it is related."""
    opened(bed)
    acls(bed, ("to-lport", 1002, "outport == @guarded && udp.dst == 9", "allow-related"))
    assert talk.refused(bed, "vm1", address(bed, target, version))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_error_about_a_foreign_packet_is_not_let_in(bed: Sandbox, version: int) -> None:
    """vm3 tells vm1 of a packet that vm1 never sent, then of one that it did."""
    opened(bed)
    vm1, vm3 = bed.ports["vm1"], bed.ports["vm3"]
    link = Ether(src=vm3.mac, dst=vm1.mac)

    def error(port: int, mark: bytes) -> bytes:
        quoted = UDP(sport=port, dport=OPEN) / mark
        if version == 4:
            packet = IP(src=vm3.ip4, dst=vm1.ip4) / ICMP(type=3, code=3)
            return bytes(link / packet / IP(src=vm1.ip4, dst=vm3.ip4) / quoted)
        unreachable = IPv6(src=vm3.ip6, dst=vm1.ip6) / ICMPv6DestUnreach(code=4)
        return bytes(link / unreachable / IPv6(src=vm1.ip6, dst=vm3.ip6) / quoted)

    host = address(bed, "vm3", version)
    assert servers.visit(bed, "vm1", host, OPEN, "udp", source_port=5005)
    with traffic.Wire(vm1.netns, "eth0") as wire:
        seen: list[bytes] = []

        def tell() -> None:
            traffic.send_raw(bed, "vm3", error(5006, b"never sent"))
            traffic.send_raw(bed, "vm3", error(5005, b"truly sent"))

        def told(frame: bytes) -> bool:
            seen.append(frame)
            return b"truly sent" in frame

        assert traffic.came(bed, wire, tell, told)
        assert not [frame for frame in seen if b"never sent" in frame]
