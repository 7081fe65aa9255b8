# SPDX-License-Identifier: Apache-2.0
"""Mirrors of type lport (OVN 25.09): copies of what a port sends and gets, for another port.

Here, on another chassis, and at another switch than the port that is mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import newest, traffic

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TOPOLOGY = """
chassis:
  hv1: {agent: ovn-bpf-controller}
  hv2: {agent: ovn-bpf-controller}
switches:
  sw0: {ipv4: 10.0.0.0/24}
  sw1: {ipv4: 10.0.1.0/24}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  near: {switch: sw0, chassis: hv1}
  far: {switch: sw0, chassis: hv2}
  beyond: {switch: sw1, chassis: hv2}
"""
TARGETS = ("near", "far", "beyond")


@pytest.fixture(scope="module")
def newest_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with newest.sandbox(TOPOLOGY, tmp_path_factory.mktemp("programs")) as made:
        yield made


@pytest.fixture(autouse=True)
def unmirrored(newest_bed: Sandbox) -> Iterator[None]:
    yield
    newest_bed.nbctl("clear", "logical_switch_port", "vm1", "mirror_rules")
    newest_bed.nbctl("--wait=hv", "mirror-del")


def mirror(bed: Sandbox, way: str, target: str) -> None:
    """A mirror of vm1 whose port is bound when this returns."""
    bed.nbctl("mirror-add", "m", "lport", way, target)
    bed.nbctl("--wait=hv", "lsp-attach-mirror", "vm1", "m")
    process.wait_until(lambda: bound(bed, target), 60, "the mirror's port to be bound")
    bed.sync()


def bound(bed: Sandbox, target: str) -> bool:
    """Whether the mirror's port is up where its target is."""
    where = ("find", "port_binding", "type=mirror", f"mirror_port={target}", "up=true")
    found = bed.sbctl("--bare", "--columns=chassis", *where)
    there = bed.sbctl(
        "--bare", "--columns=chassis", "find", "port_binding", f"logical_port={target}"
    )
    return found != "" and found == there


def frame(bed: Sandbox, a: str, b: str, mark: str) -> bytes:
    one, other = bed.ports[a], bed.ports[b]
    ip = IP(src=one.ip4, dst=other.ip4) / UDP(sport=7, dport=9)
    return bytes(Ether(src=one.mac, dst=other.mac) / ip / Raw(mark.encode().ljust(40, b".")))


class Eyes:
    """What guests get; seen: all that was looked at, but for what their kernels send."""

    def __init__(self, bed: Sandbox, stack: ExitStack, *names: str) -> None:
        self.seen: dict[str, list[bytes]] = {name: [] for name in names}
        self._wires = {
            name: stack.enter_context(traffic.Wire(bed.ports[name].netns, "eth0")) for name in names
        }

    def get(self, name: str, mark: str) -> bytes | None:
        """The first frame that says so."""

        def look(data: bytes) -> bool:
            self.seen[name].append(data)
            return mark.encode() + b"." in data

        return self._wires[name].first(look, traffic.ARRIVES)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("way", ["from-lport", "to-lport", "both"])
def test_copies_of_what_a_port_sends_and_gets(newest_bed: Sandbox, way: str, target: str) -> None:
    bed = newest_bed
    mirror(bed, way, target)
    with ExitStack() as stack:
        eyes = Eyes(bed, stack, "vm1", "vm2", target)
        sent, got = frame(bed, "vm1", "vm2", "sent"), frame(bed, "vm2", "vm1", "got")
        for a, b, data in (("vm1", "vm2", sent), ("vm2", "vm1", got)):
            traffic.send_raw(bed, a, data)
            assert eyes.get(b, "sent" if data is sent else "got") == data
        # Whichever way is mirrored, one of these is the last that the target gets.
        traffic.send_raw(bed, "vm1", frame(bed, "vm1", "vm2", "last"))
        assert eyes.get("vm2", "last")
        traffic.send_raw(bed, "vm2", frame(bed, "vm2", "vm1", "last"))
        assert eyes.get(target, "last")
        seen = [data for data in eyes.seen[target] if data in (sent, got)]
        wanted = {"from-lport": [sent], "to-lport": [got], "both": [sent, got]}
        assert seen == wanted[way]


def test_the_target_still_speaks_for_itself(newest_bed: Sandbox) -> None:
    """Its device is two ports' way out, and its own way in."""
    bed = newest_bed
    mirror(bed, "both", "near")
    with ExitStack() as stack:
        eyes = Eyes(bed, stack, "vm2")
        data = frame(bed, "near", "vm2", "own")
        traffic.send_raw(bed, "near", data)
        assert eyes.get("vm2", "own") == data


def test_a_mirror_that_goes_gives_its_port_back(newest_bed: Sandbox) -> None:
    bed = newest_bed
    mirror(bed, "both", "far")
    bed.nbctl("--wait=hv", "lsp-detach-mirror", "vm1", "m")
    assert bed.sbctl("--bare", "--columns=_uuid", "find", "port_binding", "type=mirror") == ""
    with ExitStack() as stack:
        eyes = Eyes(bed, stack, "vm2", "far")
        traffic.send_raw(bed, "vm1", frame(bed, "vm1", "vm2", "alone"))
        assert eyes.get("vm2", "alone")
        direct = frame(bed, "vm1", "far", "direct")
        traffic.send_raw(bed, "vm1", direct)
        assert eyes.get("far", "direct") == direct
        assert not [data for data in eyes.seen["far"] if b"alone." in data]
    assert "type : [MIRROR]" not in bed.chassis["hv2"].appctl("debug/dump-local-bindings")
