# SPDX-License-Identifier: Apache-2.0
"""Many devices at once, of which each takes a while: ports come up as their devices run
their programs, whatever happens to the agent or to a device in between.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox

KINDS = ("alone",)
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
"""
COUNT = 16
NAMES = [f"d{number}" for number in range(COUNT)]
DEADLINE = 120.0  # seconds


@pytest.fixture(scope="module")
def ports(bed: Sandbox) -> None:
    """Logical ports d0, d1, …"""
    for name in NAMES:
        bed.nbctl("lsp-add", "sw0", name, "--", "lsp-set-addresses", name, "dynamic")
    bed.sync()


@pytest.fixture
def plugged(bed: Sandbox, ports: None) -> Iterator[dict[str, int]]:
    """A device for each of them, all plugged by one transaction; their ifindexes.  When
    the test is over they go, and with them all programs."""
    hv1 = bed.chassis["hv1"]
    if hv1.agent_pid() is None:
        hv1.start_agent()
    add = "ip link add {0} type veth peer name {0}p && ip link set {0} up"
    hv1.run("sh", "-ec", "; ".join(add.format(name) for name in NAMES))
    listed = json.loads(hv1.run("ip", "-json", "link", "show", "type", "veth"))
    plug: list[str] = []
    for name in NAMES:
        plug += ["--", "add-port", "br-int", name]
        plug += ["--", "set", "interface", name, f"external_ids:iface-id={name}"]
    hv1.vsctl("--no-wait", *plug)
    yield {link["ifname"]: link["ifindex"] for link in listed if link["ifname"] in NAMES}
    for name in NAMES:
        hv1.vsctl("--no-wait", "--if-exists", "del-port", "br-int", name)
        hv1.run("sh", "-c", f"ip link del {name} 2>/dev/null || true")
    bed.sync()
    process.wait_until(lambda: len(pins(bed)) == 1, DEADLINE, "programs of gone ports to go")


def pins(bed: Sandbox) -> set[int]:
    """Devices that run a port's program."""
    found = bed.chassis["hv1"].bpffs.glob("ovn-bpf/*/*/links/*-ovn_vif")
    return {int(Path(pin).name.partition("-")[0]) for pin in found}


def installed(bed: Sandbox) -> set[str]:
    """Interfaces that the agent says are ready."""
    text = bed.chassis["hv1"].vsctl(
        *("--no-headings", "--columns=name", "--data=bare", "--format=csv", "find", "interface"),
        "external_ids:ovn-installed=true",
    )
    return set(text.split())


def test_a_port_is_up_only_when_its_device_runs_its_program(
    bed: Sandbox, plugged: dict[str, int]
) -> None:
    def all_up() -> bool:
        up = installed(bed) & plugged.keys()
        assert {plugged[name] for name in up} <= pins(bed)
        return up == plugged.keys()

    process.wait_until(all_up, DEADLINE, "all ports to be up")
    bed.sync()
    assert pins(bed) >= set(plugged.values())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_ends_in_between_leaves_the_rest_to_the_next(
    bed: Sandbox, plugged: dict[str, int], number: signal.Signals
) -> None:
    hv1 = bed.chassis["hv1"]
    process.wait_until(lambda: len(pins(bed)) > 1, DEADLINE, "the first device")
    hv1.stop_agent(number)
    hv1.start_agent()
    process.wait_until(lambda: installed(bed) >= plugged.keys(), DEADLINE, "all ports to be up")
    bed.sync()
    assert pins(bed) >= set(plugged.values())


def test_a_device_that_goes_in_between_costs_itself(bed: Sandbox, plugged: dict[str, int]) -> None:
    gone = NAMES[-1]
    bed.chassis["hv1"].run("ip", "link", "del", gone)
    others = plugged.keys() - {gone}
    process.wait_until(lambda: installed(bed) >= others, DEADLINE, "the others to be up")
    bed.sync()
    process.wait_until(lambda: plugged[gone] not in pins(bed), DEADLINE, "its pin to go")
    assert pins(bed) >= {plugged[name] for name in others}
    assert "cannot attach" not in bed.chassis["hv1"].log()
