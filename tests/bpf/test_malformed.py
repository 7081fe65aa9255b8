# SPDX-License-Identifier: Apache-2.0
"""Hostile frames: 10,000 of them through every program, none lost without a reason.

Random bytes, real packets cut short or with bytes changed, and Geneve that lies.
Seeded, so that a failure comes back.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.model import Port, PortKind
from tests.support.dataplane import Bed, mac

FRAMES = 10_000
FLOOD = 32768
SHOT, REDIRECT, UNSPEC = 2, 7, 0xFFFFFFFF
LEAST = 14  # PROG_TEST_RUN takes no frame without a whole Ethernet header
DEVICES = {"ovn_vif": ("v1", "p1"), "ovn_underlay": ("u0", "w0"), "ovn_tunnel": ("t0", "x0")}
MOST = 3500  # of what it takes besides the kernel's own headroom

ETH = Ether(src=mac(1), dst=mac(2))
SEEDS: list[Packet] = [
    ETH / IP() / UDP() / Raw(b"x" * 40),
    ETH / IP(options=[b"\x94\x04\x00\x00"]) / TCP(options=[("MSS", 1400)]),
    ETH / IP(frag=100, flags="MF") / Raw(b"y" * 64),
    ETH / IP() / ICMP() / Raw(b"z" * 8),
    ETH / IP(proto=132) / SCTP(),
    ETH / IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(offset=8, m=1) / UDP(),
    ETH / IPv6() / TCP(),
    ETH / IPv6(hlim=255) / ICMPv6ND_NS(tgt="fd00::2") / ICMPv6NDOptSrcLLAddr(lladdr=mac(1)),
    ETH / IPv6(hlim=255) / ICMPv6ND_NA(tgt="fd00::2"),
    ETH / ARP(),
    ETH / Dot1Q(vlan=9) / IP() / UDP(),
]


def mutate(rng: random.Random, frame: bytes) -> bytes:
    """The frame with some bytes changed, cut or grown."""
    data = bytearray(frame)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 16))):
        data[rng.randrange(12, len(data))] = rng.choice(
            (0, 1, 0x7F, 0x80, 0xFF, rng.getrandbits(8))
        )
    if rng.random() < 0.4:
        del data[rng.randrange(LEAST, len(data) + 1) :]
    if rng.random() < 0.2:
        data += rng.randbytes(rng.randrange(200))
    return bytes(data[:MOST]).ljust(LEAST, b"\0")


def frames(rng: random.Random, seeds: list[bytes]) -> Iterator[bytes]:
    """FRAMES frames: a fifth random bytes, the rest mutations."""
    for _ in range(FRAMES):
        if rng.random() < 0.2:
            yield rng.randbytes(rng.randrange(LEAST, 300))
        else:
            yield mutate(rng, rng.choice(seeds))


def tunnelled(rng: random.Random) -> list[bytes]:
    """Geneve packets, right and wrong in the ways that a mutation seldom finds."""
    option = GeneveOptions(classid=0x102, type=0x80, data=b"\0\3\0\2")
    options = [
        [option],
        [],
        [GeneveOptions(classid=0x102, type=0x80, data=b"\0\3")],
        [GeneveOptions(classid=9, type=9, data=b"abcd")] * 12 + [option],
        [GeneveOptions(classid=9, type=0x89, data=b"abcd"), option],
    ]
    made = []
    for inner in SEEDS:
        for source, vni in (("192.0.2.2", 1), ("192.0.2.2", 7), ("192.0.2.66", 1)):
            outer = Ether() / IP(src=source, dst="192.0.2.1") / UDP(dport=6081, chksum=0)
            tunnel = GENEVE(proto=0x6558, vni=vni, options=rng.choice(options))
            made.append(bytes(outer / tunnel / inner))
        outer6 = Ether() / IPv6(src="2001:db8::2", dst="2001:db8::1") / UDP(dport=6081)
        made.append(bytes(outer6 / GENEVE(proto=0x6558, vni=1, options=[option]) / inner))
    return made


def kernel_complaints() -> list[str]:
    """Lines of the kernel's log that no packet may cause."""
    words = ("BUG:", "WARNING:", "Oops", "general protection", "hw csum failure", "Call Trace")
    return [line for line in kernel_log() if any(word in line for word in words)]


def kernel_log() -> list[str]:
    """All of /dev/kmsg as it is now."""
    lines = []
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                lines.append(os.read(fd, 8192).decode(errors="replace"))
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                continue  # records were overwritten; the next read goes on after them
    finally:
        os.close(fd)


@pytest.fixture
def full(bed: Bed) -> Iterator[Bed]:
    """A switch that does something with everything: rewrites, replies, tunnels."""
    before = kernel_complaints()
    underlay = bed.device("u0", "w0", "ovn_underlay")
    bed.device("t0", "x0", "ovn_tunnel")
    bed.tunnel("hv2", underlay)
    bed.tunnel("hv3", underlay, local="2001:db8::1", remote="2001:db8::2")
    bed.plug(1, 2)
    bed.world.ports[1, "vm3"] = 3
    bed.apply(ports_added=[Port(1, 3, PortKind.REMOTE, chassis="hv2")])
    bed.group(FLOOD, "_MC_flood", (1, 2), "hv2", "hv3")
    bed.flow(0, 0, 90, "vlan.present", "drop;")
    bed.flow(0, 0, 80, "nd_ns", "nd_na { outport = inport; flags.loopback = 1; output; };")
    bed.flow(0, 0, 70, "arp", 'arp.op = 2; arp.tpa = arp.spa; outport = "vm2"; output;')
    bed.flow(0, 0, 60, "tcp", 'ip.ttl--; tcp.dst = 9; outport = "vm3"; output;')
    bed.flow(0, 0, 50, "udp && ip4", 'ip4.src = 1.1.1.1; udp.src = 7; outport = "vm2"; output;')
    bed.flow(0, 0, 40, "ip6", 'ip6.dst = fd00::5; ip.ttl--; outport = "_MC_flood"; output;')
    bed.flow(0, 0, 30, "eth.mcast", 'outport = "_MC_flood"; output;')
    bed.flow(0, 0, 20, "ip4 && icmp4", 'icmp4.type = 3; outport = "vm3"; output;')
    bed.flow(0, 0, 10, "ip.is_frag", "drop;")
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    yield bed
    assert kernel_complaints() == before


def run_or_send(bed: Bed, program: str, frame: bytes) -> int:
    """The verdict; by the device, and unknown, for what the kernel will not run."""
    device, peer = DEVICES[program]
    try:
        return bed.run(program, frame, bed.devices[device]).verdict
    except OSError as error:
        assert error.errno == errno.EINVAL  # cut within the IP header (since 6.17)
        bed.send(peer, frame)
        return UNSPEC if program == "ovn_underlay" else SHOT


def accounted(bed: Bed, program: str, frame: bytes) -> None:
    """Runs one frame; fails if it went nowhere and was counted nowhere."""
    before = bed.all_dropped()
    verdict = run_or_send(bed, program, frame)
    dropped = bed.all_dropped() - before
    assert verdict in (SHOT, REDIRECT, UNSPEC)
    if verdict == SHOT and not dropped:
        # Then all copies left by clones, and the last user was the sender itself.
        assert not bed.nothing_received(), "lost without a reason"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("program", ["ovn_vif", "ovn_underlay", "ovn_tunnel"])
def test_every_hostile_frame_is_sent_or_counted(full: Bed, program: str) -> None:
    rng = random.Random(f"malformed {program}")
    seeds = [bytes(seed) for seed in SEEDS]
    if program != "ovn_vif":
        seeds += tunnelled(rng)
    for frame in frames(rng, seeds):
        accounted(full, program, frame)
    assert full.dropped(lib.DROP_BUG) == 0
    assert full.dropped(lib.DROP_REENTRY) == 0
    reasons = set(full.drops())
    if program == "ovn_vif":
        assert "malformed frame" in reasons
    elif program == "ovn_underlay":
        assert {"tunnel packet from an unknown address", "malformed frame"} <= reasons
    else:  # nothing of this came by a tunnel device
        assert reasons == {"unreadable tunnel header"}


@pytest.mark.parametrize("size", [1, 6, 13, 14, 15, 33, 8999])
def test_frames_that_only_a_device_carries(full: Bed, size: int) -> None:
    """Shorter or longer than PROG_TEST_RUN takes."""
    frame = bytes(SEEDS[0] / Raw(b"q" * 9000))[: size + 14]
    before = full.all_dropped()
    try:
        full.send("p1", frame[:size] if size < 14 else frame)
    except OSError:
        assert size < 14  # the kernel takes no frame without an Ethernet header
        return
    assert full.all_dropped() > before or not full.nothing_received()


def test_the_verdict_of_a_frame_is_the_same_every_time(full: Bed) -> None:
    """Nothing of one packet is left in scratch memory for the next."""
    rng = random.Random("again")
    seeds = [bytes(seed) for seed in SEEDS]
    # Frames of a length that every kernel takes.
    sample = [mutate(rng, rng.choice(seeds)).ljust(60, b"\0") for _ in range(300)]
    ifindex = full.devices["v1"]
    first = [full.run("ovn_vif", frame, ifindex) for frame in sample]
    for order in (range(299, -1, -1), rng.sample(range(300), 300)):
        for at in order:
            again = full.run("ovn_vif", sample[at], ifindex)
            assert (again.verdict, again.data) == (first[at].verdict, first[at].data)


def test_the_kernel_log_can_be_read() -> None:
    """Otherwise the checks of it above would prove nothing."""
    assert Path("/dev/kmsg").exists()
    assert kernel_log()
