# SPDX-License-Identifier: Apache-2.0
"""Tracked and translated connections do not notice that the agent dies or comes back.

    foo1 - foo - r1 - join - r2 - alice - alice1
           (hv1)             (gateway, on hv2)

Stateful ACLs on both switches, SNAT for foo1 and DNAT to it: each packet crosses the
zones of two ports and of the gateway router.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from tests.support import conntrack, talk
from tests.support.beds import OURS
from tests.support.talk import address

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  foo1: {switch: foo, chassis: hv1, port_security: true}
  alice1: {switch: alice, chassis: hv2, port_security: true}
  alice2: {switch: alice, chassis: hv2, port_security: true}
acls:
  - {switch: foo, direction: from-lport, match: ip, action: allow-related}
  - {switch: foo, direction: to-lport, match: ip && udp.dst != 9999, action: allow-related}
  - {switch: alice, direction: to-lport, match: ip, action: allow-related}
$gateway
  - lr-route-add r2 192.168.1.0/24 20.0.0.1
  - lr-nat-add r2 snat 172.16.1.1 192.168.1.0/24
  - lr-nat-add r2 snat fd21::1 fd11::/64
  - lr-nat-add r2 dnat 30.0.0.2 192.168.1.2
  - lr-nat-add r2 dnat fd30::2 fd11::2
"""
VERSIONS = (4, 6)
SNAT = {4: "172.16.1.1", 6: "fd21::1"}
DNAT = {4: "30.0.0.2", 6: "fd30::2"}
CHASSIS = ("hv1", "hv2")


@pytest.fixture(scope="module", autouse=True)
def warm(bed: Sandbox) -> None:
    talk.warm(bed, ("foo1", "alice1"), ("foo1", "alice2"))


@pytest.fixture(autouse=True)
def running(bed: Sandbox) -> None:
    """Every test begins with every agent up and in step, and with no connections."""
    for chassis in bed.chassis.values():
        if chassis.agent_pid() is None:
            chassis.start_agent()
    bed.sync()
    conntrack.flush(bed)


class Talks:
    """TCP and UDP of either family from foo1 by SNAT and from alice1 by DNAT."""

    def __init__(self, bed: Sandbox, stack: ExitStack) -> None:
        self._bed = bed
        self.all: list[talk.Pair] = []
        for version in VERSIONS:
            alice = address(bed, "alice1", version)
            for kind in (talk.Tcp, talk.Udp):
                self.all.append(stack.enter_context(kind(bed, "foo1", "alice1", alice)))
                self.all.append(stack.enter_context(kind(bed, "alice1", "foo1", DNAT[version])))
        self._seen = [each.seen for each in self.all]

    def exchange(self) -> None:
        """All go on; a lost datagram is a TimeoutError."""
        for each in self.all:
            each.exchange()
        assert [each.seen for each in self.all] == self._seen

    def tracked(self) -> set[str]:
        """Who is tracked as what in which zone; without TCP states."""
        return {line.partition(",protoinfo")[0] for line in conntrack.dump(self._bed)}


@pytest.fixture
def talks(bed: Sandbox) -> Iterator[Talks]:
    with ExitStack() as stack:
        yield Talks(bed, stack)


def restarted(bed: Sandbox, talks: Talks, chassis: Chassis) -> None:
    """Start the agent; the talks go on at every moment until it obeys Northbound again."""
    pid = chassis.spawn_agent()
    bed.nbctl("--wait=sb", "sync")
    wanted = int(bed.sbctl("get", "sb_global", ".", "nb_cfg"))
    find = ("--bare", "--columns=nb_cfg", "find", "chassis_private", f"name={chassis.name}")

    def obeys() -> bool:
        talks.exchange()
        return int(bed.sbctl(*find)) >= wanted

    process.wait_until(obeys, 60, f"nb_cfg {wanted} of {chassis.name}")
    chassis.await_agent(pid)


@pytest.mark.parametrize("victim", CHASSIS)
def test_connections_outlive_a_killed_agent(bed: Sandbox, talks: Talks, victim: str) -> None:
    chassis = bed.chassis[victim]
    before, zones = talks.tracked(), chassis.appctl("ct-zone-list")
    assert len(before) > 4 * len(VERSIONS)
    assert chassis.stop_agent(signal.SIGKILL) == -signal.SIGKILL
    talks.exchange()
    restarted(bed, talks, chassis)
    talks.exchange()
    assert talks.tracked() == before
    assert sorted(chassis.appctl("ct-zone-list").splitlines()) == sorted(zones.splitlines())


@pytest.mark.parametrize("victim", CHASSIS)
def test_connections_outlive_a_graceful_restart(bed: Sandbox, talks: Talks, victim: str) -> None:
    chassis = bed.chassis[victim]
    before = talks.tracked()
    chassis.exit_agent("--restart")
    talks.exchange()
    restarted(bed, talks, chassis)
    talks.exchange()
    assert talks.tracked() == before


@pytest.mark.parametrize("version", VERSIONS)
def test_connections_begin_while_the_agents_are_dead(bed: Sandbox, version: int) -> None:
    """And go on when they are back."""
    alice = address(bed, "alice1", version)
    for chassis in bed.chassis.values():
        chassis.stop_agent(signal.SIGKILL)
    with (
        talk.Tcp(bed, "foo1", "alice1", alice) as stream,
        talk.Udp(bed, "foo1", "alice1", alice) as flow,
    ):
        assert stream.seen[0] == flow.seen[0] == SNAT[version]
        for chassis in bed.chassis.values():
            chassis.start_agent()
        bed.sync()
        stream.exchange()
        flow.exchange()
        lines = conntrack.towards(bed, SNAT[version])
        assert sum("tcp," in line for line in lines) == 2 == sum("udp," in line for line in lines)


def test_the_zone_of_a_port_that_went_meanwhile_is_emptied(bed: Sandbox, talks: Talks) -> None:
    """Once the agent knows that it is gone; the others' connections are none the wiser."""
    chassis, port = bed.chassis["hv2"], bed.ports["alice2"]
    zone = conntrack.zone(chassis, "alice2")
    assert talk.udp(bed, "foo1", "alice2", bed.ports["alice2"].ip4) == SNAT[4]
    assert conntrack.dump(chassis, f"zone={zone}") != []
    chassis.stop_agent(signal.SIGKILL)
    chassis.vsctl("--no-wait", "clear", "interface", port.vif, "external_ids")
    chassis.start_agent()
    bed.sbctl("wait-until", "port_binding", "alice2", "chassis=[]")
    bed.sync()
    process.wait_until(lambda: conntrack.dump(chassis, f"zone={zone}") == [], 30, "flush")
    talks.exchange()
    chassis.vsctl("set", "interface", port.vif, "external_ids:iface-id=alice2")
    bed.wait_up("alice2")
