# SPDX-License-Identifier: Apache-2.0
"""Our agent and the real ovn-controller as neighbours: each obeys the other's headers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from string import Template

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import traffic
from tests.support.beds import AGENTS, OURS

KINDS = OURS
TOPOLOGY = """
underlay: $underlay
chassis: {ours: $agent, real: {agent: ovn-controller}}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: ours, port_security: true}
  vm2: {switch: sw0, chassis: ours}
  vm3: {switch: sw0, chassis: real, port_security: true}
  vm4: {switch: sw0, chassis: real, mac: "0a:00:00:00:00:44", ips: [10.0.0.44/24, "fd00::44/64"],
        addresses: [unknown]}
port_groups: {pg: [vm1, vm3]}
address_sets: {few: [10.0.0.3]}
"""


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def bed(request: pytest.FixtureRequest, kind: str) -> Iterator[Sandbox]:
    """One chassis of each maker, with either underlay."""
    text = Template(TOPOLOGY).substitute(agent=AGENTS[kind], underlay=request.param)
    with Sandbox(parse(text)) as sandbox:
        yield sandbox


def test_all_ping_all(bed: Sandbox) -> None:
    assert bed.unanswered(list(itertools.permutations(bed.ports, 2))) == []


@pytest.mark.parametrize("pair", [("vm1", "vm3"), ("vm3", "vm1")])
@pytest.mark.parametrize("version", [4, 6])
def test_tcp_crosses_in_bulk(bed: Sandbox, pair: tuple[str, str], version: int) -> None:
    assert traffic.carries(bed, *pair, version, 1e6)


def test_a_group_acl_is_enforced_by_whoever_has_the_member(bed: Sandbox) -> None:
    """Egress ACLs need the tunnel's outport, and `inport` the option's other half."""
    rules = (
        ("outport == @pg && ip4.src == $few && udp.dst == 80", "vm2", ("vm1", "vm3")),
        ('inport == "vm3" && udp.dst == 81', "vm3", ("vm1", "vm2")),
        ('inport == "vm2" && udp.dst == 82', "vm2", ("vm1", "vm3")),
    )
    for match, source, targets in rules:
        port = int(match.rpartition(" ")[2])
        bed.nbctl("--wait=hv", "acl-add", "sw0", "to-lport", "1000", match, "drop")
        for target in targets:
            blocked = functools.partial(traffic.blocked, bed, source, target, port)
            assert traffic.obeyed(bed, blocked)
            assert traffic.delivers(bed, source, target, port + 10)
    assert traffic.delivers(bed, "vm1", "vm3", 80)
    bed.nbctl("--wait=hv", "acl-del", "sw0")


@pytest.mark.parametrize("chassis", ["real", "ours"])
def test_a_guest_moves_to_the_other_maker_and_back(bed: Sandbox, chassis: str) -> None:
    bed.move("vm2", chassis)
    bed.wait_up("vm2")
    bed.sync()
    assert bed.unanswered(list(itertools.permutations(("vm1", "vm2", "vm3"), 2))) == []


def test_either_agent_may_leave_and_come_back(bed: Sandbox) -> None:
    for chassis in bed.chassis.values():
        chassis.exit_agent()
        bed.sync()
        chassis.start_agent()
        for lsp in ("vm1", "vm3"):
            bed.wait_up(lsp)
        bed.sync()
        assert traffic.answers(bed, "vm1", "vm3", 6)
        assert traffic.answers(bed, "vm3", "vm1")
