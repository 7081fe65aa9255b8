# SPDX-License-Identifier: Apache-2.0
"""A packet for a next hop that nobody has asked for yet is delivered, not lost."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import talk, traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw1, chassis: hv1}
$routed
"""
EXTRA = {4: "10.1.0.77", 6: "fd01::77"}


@pytest.fixture(scope="module", autouse=True)
def unknown(bed: Sandbox) -> None:
    """vm2 may use addresses that Northbound does not know, and has one."""
    bed.nbctl("lsp-set-addresses", "vm2", f"{bed.ports['vm2'].mac}", "unknown")
    for version, address in EXTRA.items():
        length = 24 if version == 4 else 64
        netns.ip(bed.ports["vm2"].netns, f"addr add {address}/{length} dev eth0 nodad")
    bed.nbctl("--wait=hv", "sync")


@pytest.mark.parametrize("version", [4, 6])
def test_the_first_packet_arrives(bed: Sandbox, version: int) -> None:
    assert talk.all_of_three(bed, "vm1", EXTRA[version])


@pytest.mark.parametrize("version", [4, 6])
def test_what_was_learnt_serves_the_next(bed: Sandbox, version: int) -> None:
    find = ("--bare", "--columns=_uuid", "find", "mac_binding", f'ip="{EXTRA[version]}"')
    process.wait_until(lambda: bed.sbctl(*find) != "", 60.0, "what was learnt")
    bed.sync()

    def unasked() -> bool:
        with traffic.Wire(bed.ports["vm2"].netns, "eth0") as wire:
            assert talk.pings(bed, "vm1", EXTRA[version])
            return not [f for f in wire.frames() if is_request(f, version)]

    assert traffic.obeyed(bed, unasked)


@pytest.mark.parametrize("version", [4, 6])
def test_what_waits_goes_on_when_another_chassis_learns(bed: Sandbox, version: int) -> None:
    """Nobody here answers; a row is all that says where the next hop is.

    What Open vSwitch has lost of it goes the same way when it is said again.
    """
    hop = "10.1.0.99" if version == 4 else "fd01::99"
    vm2 = bed.ports["vm2"]
    with traffic.Wire(vm2.netns, "eth0") as wire:
        missing = {b"waits %d" % n for n in range(3)}  # OVN 23.03 keeps no more

        def say() -> None:
            for text in sorted(missing):
                traffic.send_udp(bed, "vm1", hop, 9, text)

        assert traffic.came(bed, wire, say, lambda frame: is_request(frame, version))
        uuid = bed.sbctl("--bare", "--columns=datapath", "find", "port_binding",
                         "logical_port=r0-sw1").strip()  # fmt: skip
        bed.sbctl("create", "mac_binding", "logical_port=r0-sw1", f"datapath={uuid}",
                  f'ip="{hop}"', f'mac="{vm2.mac}"')  # fmt: skip

        def last_is_here(frame: bytes) -> bool:
            missing.discard(frame[-7:])
            return not missing

        if wire.first(last_is_here, traffic.ARRIVES) is None and bed.topology.mixed:
            traffic.came(bed, wire, say, last_is_here)
    assert missing == set()


def is_request(frame: bytes, version: int) -> bool:
    """ARP, or a neighbour solicitation, of the router."""
    if frame[6:12] != bytes.fromhex("0e0000000002"):
        return False
    if version == 4:
        return frame[12:14] == b"\x08\x06" and frame[21] == 1
    return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 135
