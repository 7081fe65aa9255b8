# SPDX-License-Identifier: Apache-2.0
"""What the slow path answers goes on while the agent is dead, and after it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA
from scapy.layers.l2 import Ether

from ovn_bpf_controller.datapath import libbpf
from ovn_bpf_controller.datapath.maps import pinned
from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, punting, traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: ["fd00::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
"""
OPTIONS = {"server_id": "10.0.0.1", "server_mac": "c0:ff:ee:00:00:01", "lease_time": "3600"}
# Only the process answers these; the program itself answers DHCPv4.
OPTIONS6 = {"server_id": "c0:ff:ee:00:00:01", "dns_server": "fd00::53"}
RA = {"address_mode": "slaac", "send_periodic": "true", "min_interval": "3", "max_interval": "4"}


@pytest.fixture(scope="module", autouse=True)
def options(bed: Sandbox) -> None:
    dhcp.serve(bed, OPTIONS, "vm1")
    values = [f"ipv6_ra_configs:{name}={value}" for name, value in RA.items()]
    bed.nbctl("set", "logical_router_port", "r0-sw0", *values)
    dhcp.serve6(bed, OPTIONS6, "vm1")


def slow_path(bed: Sandbox) -> int:
    """Its pid, once it runs."""
    found: list[int] = []

    def runs() -> bool:
        pid = process.read_pid(bed.chassis["hv1"].root / "ovn-slowpath.pid")
        found[:] = [pid] if pid else []
        return pid is not None

    process.wait_until(runs, 60.0, "slow path")
    return found[0]


def leased6(bed: Sandbox, tmp_path: Path) -> bool:
    """Whether a DHCPv6 client gets its address.  It asks again until it does."""
    got = dhcp.dhclient(bed, "vm1", tmp_path, "-6")
    return got["new_ip6_address"] == bed.ports["vm1"].guest.address(6)


def test_dhcp_goes_on_while_the_agent_is_dead(bed: Sandbox, tmp_path: Path) -> None:
    hv1, address = bed.chassis["hv1"], bed.ports["vm1"].guest.address(4)
    before = slow_path(bed)
    hv1.stop_agent(signal.SIGKILL)
    assert dhcp.client(bed, "vm1", tmp_path)["ip"] == address
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        assert leased6(bed, tmp_path)
        # By the clock, nobody has asked: of a router's, to all nodes.
        assert wire.first(lambda data: ICMPv6ND_RA in Ether(data), 60.0) is not None
    hv1.start_agent()
    bed.sync()
    process.wait_until(lambda: slow_path(bed) != before, 60.0, "another slow path")
    assert dhcp.client(bed, "vm1", tmp_path)["ip"] == address
    assert leased6(bed, tmp_path)


def test_no_question_is_lost_while_agents_change(bed: Sandbox) -> None:
    """The one's process answers until the other's knows as much."""
    hv1, port, before = bed.chassis["hv1"], bed.ports["vm1"], slow_path(bed)
    with Asking(port.netns, "eth0", punting.dhcpv6(port.mac)) as asking:
        hv1.exit_agent("--restart")
        hv1.start_agent()
        bed.sync()
        process.wait_until(lambda: slow_path(bed) != before, 30.0, "another slow path")
        process.wait_until(lambda: not Path(f"/proc/{before}").exists(), 30.0, "its end")
    assert float("inf") not in asking.found and len(asking.found) > 5


class Asking:
    """A guest that asks all the time while the block runs; found: how long answers took."""

    def __init__(self, namespace: str, device: str, question: punting.Question) -> None:
        self.found: list[float] = []
        self._whom = (namespace, device, question)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._over.is_set():
            self.found += punting.asked(*self._whom, 0.2)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_the_agent_tells_what_the_kernel_answered(bed: Sandbox, tmp_path: Path) -> None:
    """Without the slow path, and also while another agent ran."""
    dhcp.client(bed, "vm1", tmp_path)
    said = bed.chassis["hv1"].appctl("ovn-bpf/status")
    [line] = [line for line in said.splitlines() if "kernel answers, DHCPv4:" in line]
    assert int(line.split(":")[1].split()[0]) >= 2


def test_a_slow_path_that_dies_is_started_again(bed: Sandbox, tmp_path: Path) -> None:
    before = slow_path(bed)
    bed.chassis["hv1"].run("kill", "-9", str(before))
    assert dhcp.client(bed, "vm1", tmp_path)["ip"] == bed.ports["vm1"].guest.address(4)
    process.wait_until(lambda: slow_path(bed) != before, 60.0, "another slow path")
    counted = pin_packets(bed)
    assert leased6(bed, tmp_path)
    process.wait_until(lambda: pin_packets(bed) >= counted + 2, 60.0, "packets counted")


def pin_packets(bed: Sandbox) -> int:
    """Of all slow paths of this agent, which exporters read."""
    return int(bed.chassis["hv1"].appctl("coverage/read-counter", "pinctrl_total_pin_pkts"))


def test_it_starts_beside_what_another_build_left(bed: Sandbox, tmp_path: Path) -> None:
    """An agent that is killed while it takes another build's place leaves both programs."""
    before = slow_path(bed)
    [pin] = bed.chassis["hv1"].bpffs.glob("**/programs-*/ovn_resume")
    other = pin.parents[1] / "programs-0000" / pin.name
    other.parent.mkdir()
    fd = pinned(pin)
    try:
        libbpf.pin(fd, other)
    finally:
        os.close(fd)
    bed.chassis["hv1"].run("kill", "-9", str(before))
    process.wait_until(lambda: slow_path(bed) != before, 60.0, "another slow path")
    assert leased6(bed, tmp_path)


def test_an_exit_ends_what_an_earlier_agent_left(bed: Sandbox) -> None:
    """However little the agent that exits has come to do."""
    hv1, before = bed.chassis["hv1"], slow_path(bed)
    hv1.stop_agent(signal.SIGKILL)
    hv1.start_agent()
    hv1.exit_agent()
    process.wait_until(lambda: not Path(f"/proc/{before}").exists(), 30.0, "its end")
    hv1.start_agent()
    bed.sync()


def test_a_clean_exit_ends_it(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    pid = slow_path(bed)
    hv1.exit_agent()
    assert not Path(f"/proc/{pid}").exists()
    assert not (hv1.root / "ovn-slowpath.pid").exists()
