# SPDX-License-Identifier: Apache-2.0
"""Geneve by the kernel's device, by our program, and by a real ovn-controller.

hv1 uses the device, hv2 writes headers inline, hv3 is ovn-controller with Open
vSwitch's kernel data path: each speaks with each.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.datapath.tunnel_netdev import device_name
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from ovn_bpf_controller.sandbox.process import wait_until
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import traffic

TOPOLOGY = """
underlay: {underlay}
chassis:
  hv1: {{}}
  hv2: {{external_ids: {{ovn-bpf-tunnel: inline}}}}
  hv3: {{agent: ovn-controller, datapath: system}}
switches: {{sw0: {{ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}}}
ports:
  vm1: {{switch: sw0, chassis: hv1, port_security: true}}
  vm2: {{switch: sw0, chassis: hv2, port_security: true}}
  vm3: {{switch: sw0, chassis: hv3, port_security: true}}
"""

DEVICE = device_name("geneve", 6081)
PAIRS = list(itertools.permutations(("vm1", "vm2", "vm3"), 2))


@pytest.fixture(scope="module", params=["ipv4", "ipv6"])
def bed(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(parse(TOPOLOGY.format(underlay=request.param))) as sandbox:
        yield sandbox


def devices(chassis: Chassis) -> list[str]:
    """Names of the Geneve devices of a chassis."""
    said = json.loads(chassis.run("ip", "-j", "link", "show", "type", "geneve"))
    return [device["ifname"] for device in said if device]


def set_tunnel(chassis: Chassis, mode: str) -> None:
    chassis.vsctl("--no-wait", "set", "Open_vSwitch", ".", f"external_ids:ovn-bpf-tunnel={mode}")


def transmitted(chassis: Chassis) -> int:
    """Packets that the Geneve device has sent."""
    said = json.loads(chassis.run("ip", "-s", "-j", "link", "show", DEVICE))
    return int(said[0]["stats64"]["tx"]["packets"])


def test_all_ping_all(bed: Sandbox) -> None:
    assert bed.unanswered(PAIRS) == []


def test_each_chassis_tunnels_in_its_own_way(bed: Sandbox) -> None:
    assert devices(bed.chassis["hv1"]) == [DEVICE]
    assert devices(bed.chassis["hv2"]) == []
    assert devices(bed.chassis["hv3"]) == [DEVICE]
    before = transmitted(bed.chassis["hv1"])
    assert traffic.answers(bed, "vm1", "vm2")
    assert transmitted(bed.chassis["hv1"]) > before


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("version", [4, 6])
def test_the_largest_packet_that_fits_passes(
    bed: Sandbox, pair: tuple[str, str], version: int
) -> None:
    room = bed.topology.vif_mtu - (28 if version == 4 else 48)
    target = bed.ports[pair[1]].guest.address(version)
    assert target is not None
    bed.ports[pair[0]].run("ping", "-c1", "-W4", "-q", "-M", "do", "-s", str(room), target)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("version", [4, 6])
def test_tcp_crosses_in_bulk(bed: Sandbox, pair: tuple[str, str], version: int) -> None:
    # Frames that are lost on the way give 4 to 12 Mb/s, each time.
    assert traffic.carries(bed, *pair, version, 20e6)


def test_the_way_is_changed_while_traffic_runs(bed: Sandbox) -> None:
    hv2 = bed.chassis["hv2"]
    set_tunnel(hv2, "netdev")
    wait_until(lambda: devices(hv2) == [DEVICE], 30, "Geneve device on hv2")
    assert bed.unanswered(PAIRS) == []
    set_tunnel(hv2, "inline")
    before = transmitted(hv2)

    def unused() -> bool:
        nonlocal before
        assert traffic.answers(bed, "vm2", "vm1")
        before, last = transmitted(hv2), before
        return before == last

    wait_until(unused, 30, "tunnel packets past the device of hv2")
    assert bed.unanswered(PAIRS) == []


def test_a_device_that_somebody_deletes_comes_back(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    hv1.run("ip", "link", "del", DEVICE)

    def answered() -> bool:
        return traffic.answers(bed, "vm1", "vm2") and traffic.answers(bed, "vm3", "vm1")

    wait_until(answered, 30, "an answer through a new device")
    assert devices(hv1) == [DEVICE]


def test_the_agents_restart_loses_nothing_of_the_way(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    ifindex = hv1.run("cat", f"/sys/class/net/{DEVICE}/ifindex")
    hv1.exit_agent("--restart")
    assert bed.unanswered(PAIRS) == []
    hv1.start_agent()
    bed.sync()
    assert bed.unanswered(PAIRS) == []
    assert hv1.run("cat", f"/sys/class/net/{DEVICE}/ifindex") == ifindex
