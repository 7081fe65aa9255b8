# SPDX-License-Identifier: Apache-2.0
"""Traffic does not notice that the agent dies or comes back.

Not for ovn-controller, which clears its flows when it starts.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from ovn_bpf_controller.sandbox import ping, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw0, chassis: hv2, port_security: true}
"""

PINGS = 2000
INTERVAL = 0.001


@pytest.fixture(autouse=True)
def running(bed: Sandbox) -> None:
    """Every test begins with every agent up and in step."""
    for chassis in bed.chassis.values():
        if chassis.agent_pid() is None:
            chassis.start_agent()
    bed.sync()
    assert bed.unanswered([("vm1", "vm2"), ("vm1", "vm3")]) == []


class Load:
    """Pings within the chassis and across, every millisecond."""

    def __init__(self, streams: list[ping.Stream]) -> None:
        self._streams = streams

    def wait(self, pings: int) -> None:
        """Return once each stream has sent `pings` in all."""
        for stream in self._streams:
            stream.wait_sent(max(0, pings - stream.sent))

    @property
    def lost(self) -> list[int]:
        assert all(stream.sent >= PINGS for stream in self._streams)
        return [stream.lost for stream in self._streams]


@contextmanager
def load(bed: Sandbox) -> Iterator[Load]:
    source = bed.ports["vm1"].netns
    targets = (bed.ports["vm2"].ip4, bed.ports["vm3"].ip4)
    with ExitStack() as stack:
        yield Load([stack.enter_context(ping.Stream(source, t, INTERVAL)) for t in targets])


@pytest.mark.parametrize("victim", ["hv1", "hv2"])
def test_no_ping_of_2000_is_lost_at_the_kill_nor_at_the_restart(bed: Sandbox, victim: str) -> None:
    chassis = bed.chassis[victim]
    with load(bed) as pings:
        pings.wait(PINGS // 4)
        assert chassis.stop_agent(signal.SIGKILL) == -signal.SIGKILL
        pings.wait(PINGS)
    assert pings.lost == [0, 0]
    with load(bed) as pings:
        pings.wait(PINGS // 4)
        chassis.start_agent()
        bed.sync()
        pings.wait(PINGS)
    assert pings.lost == [0, 0]
    assert traffic.delivers(bed, "vm1", "vm3", 4000)
    bed.nbctl("--wait=hv", "acl-add", "sw0", "to-lport", "1000", "udp.dst == 4000", "drop")
    assert traffic.blocked(bed, "vm1", "vm2", 4000)
    assert traffic.blocked(bed, "vm1", "vm3", 4000)
    bed.nbctl("--wait=hv", "acl-del", "sw0")


def test_a_graceful_restart_loses_nothing(bed: Sandbox) -> None:
    chassis = bed.chassis["hv1"]
    with load(bed) as pings:
        pings.wait(PINGS // 4)
        chassis.exit_agent("--restart")
        chassis.start_agent()
        bed.sync()
        pings.wait(PINGS)
    assert pings.lost == [0, 0]


def test_what_changed_meanwhile_is_obeyed_after_the_restart(bed: Sandbox) -> None:
    chassis = bed.chassis["hv2"]
    chassis.stop_agent(signal.SIGKILL)
    bed.nbctl("acl-add", "sw0", "to-lport", "1000", "udp.dst == 4000", "drop")
    chassis.start_agent()
    bed.sync()
    assert traffic.blocked(bed, "vm1", "vm3", 4000)
    chassis.stop_agent(signal.SIGKILL)
    bed.nbctl("acl-del", "sw0")
    chassis.start_agent()
    bed.sync()
    assert traffic.delivers(bed, "vm1", "vm3", 4000)


def test_a_port_unplugged_meanwhile_is_released(bed: Sandbox) -> None:
    chassis = bed.chassis["hv2"]
    chassis.stop_agent(signal.SIGKILL)
    port = bed.ports["vm3"]
    chassis.vsctl("--no-wait", "del-port", "br-int", port.vif)
    chassis.start_agent()
    bed.sbctl("wait-until", "port_binding", "vm3", "chassis=[]")
    chassis.vsctl("add-port", "br-int", port.vif, "--", "set", "interface", port.vif,
                  "external_ids:iface-id=vm3")  # fmt: skip
    bed.wait_up("vm3")
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm3")


def test_kills_at_any_moment_of_the_start_lose_nothing(bed: Sandbox) -> None:
    """Twelve starts, each killed after a random time, the pings running throughout."""
    chassis = bed.chassis["hv1"]
    moments = random.Random(2016)
    chassis.stop_agent(signal.SIGKILL)
    with load(bed) as pings:
        for _ in range(12):
            pid = chassis.spawn_agent()
            threading.Event().wait(moments.uniform(0.02, 0.8))
            process.stop(pid, signal.SIGKILL)
        chassis.start_agent()
        bed.sync()
        pings.wait(PINGS)
    assert pings.lost == [0, 0]


def test_a_restarted_ovs_vswitchd_is_not_noticed(bed: Sandbox) -> None:
    for chassis in bed.chassis.values():
        if (pid := chassis.vswitchd_pid()) is None:
            assert not chassis.spec.vswitchd
            continue
        with load(bed) as pings:
            pings.wait(PINGS // 4)
            process.stop(pid)
            chassis.start_vswitchd()
            bed.sync()
            pings.wait(PINGS)
        assert pings.lost == [0, 0]
