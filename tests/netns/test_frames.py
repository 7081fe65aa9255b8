# SPDX-License-Identifier: Apache-2.0
"""Frames that no guest's kernel would send, through real devices.

tests/bpf sends what PROG_TEST_RUN takes; shorter and longer ones, and what comes
over the underlay, need a wire.  Every one must be counted under a reason, and the
kernel must have no complaint.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from io import FileIO

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
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

COMPLAINTS = ("BUG", "WARNING", "Oops", "RIP:", "hung", "stall")
GENEVE = 6081


@pytest.fixture(autouse=True)
def quiet_kernel() -> Iterator[None]:
    """The kernel must not log a complaint during any test here."""
    with open("/dev/kmsg", "rb", buffering=0) as log:
        os.set_blocking(log.fileno(), False)
        log.seek(0, os.SEEK_END)
        yield
        messages = []
        while line := read_message(log):
            messages.append(line.decode(errors="replace"))
    assert not [line for line in messages if any(word in line for word in COMPLAINTS)]


def read_message(log: FileIO) -> bytes | None:
    """The next one, None where there is none; what the ring has lost meanwhile is lost."""
    while True:
        try:
            return log.read(8192)
        except BrokenPipeError:
            continue


@pytest.fixture(autouse=True)
def unharmed(bed: Sandbox) -> Iterator[None]:
    """Whatever a test sends, the network works before and after."""
    everyone = [("vm1", "vm2"), ("vm1", "vm3"), ("vm3", "vm2")]
    assert bed.unanswered(everyone) == []
    yield
    assert bed.unanswered(everyone) == []


def drops(chassis: Chassis) -> dict[str, int]:
    """Packets dropped by reason."""
    rows = json.loads(chassis.appctl("ovn-bpf/drops", "--json"))
    found: Counter[str] = Counter()
    for row in rows:  # one for each flow
        found[row["reason"]] += row["packets"]
    return dict(found)


def await_drops(chassis: Chassis, before: dict[str, int], count: int) -> dict[str, int]:
    """What has been added to the drops of `before`, once it is at least `count`."""
    start = sum(before.values())
    process.wait_until(
        lambda: sum(drops(chassis).values()) - start >= count,
        60,
        f"{count} more drops on {chassis.name}, which had {before} and has {drops(chassis)}",
    )
    after = drops(chassis)
    return {
        reason: n - before.get(reason, 0) for reason, n in after.items() if n != before.get(reason)
    }


def flood(bed: Sandbox, source: str, frames: list[bytes]) -> None:
    """Send frames from a guest's eth0, as many as the device takes."""
    with netns.entered(bed.ports[source].netns):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with raw:
        raw.bind(("eth0", 0))
        for frame in frames:
            raw.send(frame)


@pytest.mark.parametrize("sizes", [(14, 15), (14, 61), (60, 1456)])
def test_random_frames_of_a_guest_are_all_counted(bed: Sandbox, sizes: tuple[int, int]) -> None:
    chance, hv1 = random.Random(sum(sizes)), bed.chassis["hv1"]
    before = drops(hv1)
    frames = [chance.randbytes(chance.randrange(*sizes)) for _ in range(2000)]
    flood(bed, "vm1", frames)
    assert sum(await_drops(hv1, before, len(frames)).values()) >= len(frames)


def test_headers_cut_anywhere_are_all_counted_or_delivered(bed: Sandbox) -> None:
    """Good frames of vm1 to vm2, truncated at every length."""
    vm1, vm2 = bed.ports["vm1"], bed.ports["vm2"]
    link = Ether(src=vm1.mac, dst=vm2.mac)
    whole = [
        bytes(link / IPv6(src=vm1.ip6, dst=vm2.ip6, nh=nh) / (b"\x3a\x00" + b"\0" * 60))
        for nh in (0, 6, 17, 43, 44, 58, 60, 132)
    ]
    frames = [frame[:length] for frame in whole for length in range(14, len(frame))]
    before = drops(bed.chassis["hv1"])
    with traffic.Wire(vm2.netns, "eth0") as wire:
        flood(bed, "vm1", frames)
        arrived = 0

        def accounted() -> bool:
            nonlocal arrived
            arrived += sum(frame[6:12] == bytes.fromhex(vm1.mac.replace(":", "")) for frame in
                           wire.frames())  # fmt: skip
            gone = sum(drops(bed.chassis["hv1"]).values()) - sum(before.values())
            return arrived + gone >= len(frames)

        process.wait_until(accounted, 60, f"account of {len(frames)} frames")


def test_frames_longer_than_test_runs_take_are_all_counted(bed: Sandbox) -> None:
    vm1, hv1 = bed.ports["vm1"], bed.chassis["hv1"]
    netns.ip(hv1.netns, f"link set {vm1.vif} mtu 9000")
    netns.ip(vm1.netns, "link set eth0 mtu 9000")
    try:
        chance = random.Random(9000)
        before = drops(hv1)
        frames = [chance.randbytes(chance.randrange(3500, 9014)) for _ in range(500)]
        flood(bed, "vm1", frames)
        assert sum(await_drops(hv1, before, len(frames)).values()) >= len(frames)
    finally:
        netns.ip(vm1.netns, f"link set eth0 mtu {bed.topology.vif_mtu}")
        netns.ip(hv1.netns, f"link set {vm1.vif} mtu 1500")


def geneve(vni: int, inport: int, outport: int, inner: bytes) -> bytes:
    """A Geneve header with OVN's option, and `inner` after it."""
    option = struct.pack("!HBBI", 0x0102, 0x80, 1, inport << 16 | outport)
    return struct.pack("!BBHI", len(option) // 4, 0, 0x6558, vni << 8) + option + inner


def keys(bed: Sandbox) -> tuple[int, int, int]:
    """Tunnel keys of the switch, of vm1 and of vm3."""
    dp = int(bed.sbctl("--bare", "--columns=tunnel_key", "list", "datapath_binding"))
    vm1, vm3 = (int(bed.sbctl("get", "port_binding", n, "tunnel_key")) for n in ("vm1", "vm3"))
    return dp, vm1, vm3


def send_to_hv1(bed: Sandbox, namespace: str, payload: bytes) -> None:
    """A datagram to hv1's Geneve port from a host of the underlay."""
    with netns.entered(namespace):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.sendto(payload, (bed.chassis["hv1"].addresses.ipv4, GENEVE))


def inner_for_vm1(bed: Sandbox, mark: bytes) -> bytes:
    """A frame as vm3 would send it to vm1."""
    vm1, vm3 = bed.ports["vm1"], bed.ports["vm3"]
    return bytes(Ether(src=vm3.mac, dst=vm1.mac, type=0x88B5)) + mark.ljust(46, b"\0")


def test_geneve_as_it_should_be_is_delivered(bed: Sandbox) -> None:
    """So that the tests below fail for the reason that they name."""
    dp, vm1, vm3 = keys(bed)
    payload = geneve(dp, vm3, vm1, inner_for_vm1(bed, b"honest"))
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        send_to_hv1(bed, bed.chassis["hv2"].netns, payload)
        assert wire.first(lambda frame: b"honest" in frame, traffic.ARRIVES)


Liar = Callable[[int, int, int, bytes], bytes]
LIES: dict[str, Liar] = {
    "wrong VNI": lambda dp, vm1, vm3, inner: geneve(0xABCDEF, vm3, vm1, inner),
    "no such outport": lambda dp, vm1, vm3, inner: geneve(dp, vm3, 0x7FFF, inner),
    "outport of another chassis": lambda dp, vm1, vm3, inner: geneve(dp, vm1, vm3, inner),
    "outport zero": lambda dp, vm1, vm3, inner: geneve(dp, vm3, 0, inner),
    "no such group": lambda dp, vm1, vm3, inner: geneve(dp, vm3, 0xFFFF, inner),
    "no option": lambda dp, vm1, vm3, inner: struct.pack("!BBHI", 0, 0, 0x6558, dp << 8) + inner,
    "another critical option": lambda dp, vm1, vm3, inner: geneve(dp, vm3, vm1, inner).replace(
        b"\x01\x02\x80", b"\x01\x03\x80"
    ),
    "options past the end": lambda dp, vm1, vm3, inner: b"\x3f" + geneve(dp, vm3, vm1, b"")[1:],
    "not Ethernet": lambda dp, vm1, vm3, inner: geneve(dp, vm3, vm1, inner).replace(
        b"\x65\x58", b"\x08\x00", 1
    ),
    "another version": lambda dp, vm1, vm3, inner: b"\xc2" + geneve(dp, vm3, vm1, inner)[1:],
    "inner frame cut": lambda dp, vm1, vm3, inner: geneve(dp, vm3, vm1, inner[:9]),
    "header cut": lambda dp, vm1, vm3, inner: geneve(dp, vm3, vm1, inner)[:7],
}


@pytest.mark.parametrize("lie", LIES)
def test_geneve_that_lies_is_dropped_and_counted(bed: Sandbox, lie: str) -> None:
    hv1 = bed.chassis["hv1"]
    payload = LIES[lie](*keys(bed), inner_for_vm1(bed, b"liar"))
    before = drops(hv1)
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        send_to_hv1(bed, bed.chassis["hv2"].netns, payload)
        await_drops(hv1, before, 1)
        assert traffic.answers(bed, "vm3", "vm1")  # what was sent before has arrived
        assert not [frame for frame in wire.frames() if b"liar" in frame]


def test_geneve_from_a_stranger_is_not_delivered(bed: Sandbox) -> None:
    """The databases' host is in the underlay, but no chassis."""
    dp, vm1, vm3 = keys(bed)
    hv1 = bed.chassis["hv1"]
    before = drops(hv1)
    payload = geneve(dp, vm3, vm1, inner_for_vm1(bed, b"stranger"))
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        send_to_hv1(bed, bed.layout.underlay_netns, payload)
        await_drops(hv1, before, 1)
        assert traffic.answers(bed, "vm3", "vm1")  # what was sent before has arrived
        assert not [frame for frame in wire.frames() if b"stranger" in frame]


def test_an_answer_made_in_the_kernel_has_a_true_checksum(bed: Sandbox) -> None:
    """The neighbour advertisement for vm3, which hv1 makes out of vm1's solicitation."""
    vm1, vm3 = bed.ports["vm1"], bed.ports["vm3"]
    ask = (
        Ether(src=vm1.mac, dst="33:33:ff:00:00:04")
        / IPv6(src=vm1.ip6, dst="ff02::1:ff00:4", hlim=255)
        / ICMPv6ND_NS(tgt=vm3.ip6)
        / ICMPv6NDOptSrcLLAddr(lladdr=vm1.mac)
    )
    with traffic.Wire(vm1.netns, "eth0") as wire:
        flood(bed, "vm1", [bytes(ask)])
        frame = wire.first(
            lambda f: f[12:14] == b"\x86\xdd" and f[54:55] == b"\x88", traffic.ARRIVES
        )
    assert frame is not None
    answer = Ether(frame)
    assert answer[ICMPv6ND_NA].tgt == vm3.ip6
    told = answer[ICMPv6ND_NA].cksum
    del answer[ICMPv6ND_NA].cksum
    assert Ether(bytes(answer))[ICMPv6ND_NA].cksum == told
