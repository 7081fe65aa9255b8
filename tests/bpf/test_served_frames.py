# SPDX-License-Identifier: Apache-2.0
"""Answers of the program itself, as packets: checksums left to a device, copies, traces.

A tap is a real egress, as a virtual machine sees it; a veth would hide wrong sums.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, closing

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.trace import Tracer
from ovn_bpf_controller.datapath.witness import ALL, IN, OUT, Watcher
from ovn_bpf_controller.slowpath import dhcpv4, dns, templates
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from tests.bpf.test_trace import packet
from tests.support import sums
from tests.support.asked import GUEST, KNOWN, NAMES, canonical, dns_frame, query, request
from tests.support.dataplane import bed, mac, reason
from tests.support.served import ANSWERED, DEADLINE, Network, of_process
from tests.support.taps import Tap


def offloaded(frame: bytes, l4: int) -> bytes:
    seed = sums.pseudo_sum(frame[14:], sums.UDP, len(frame) - l4)
    return frame[: l4 + 6] + seed + frame[l4 + 8 :]


@pytest.mark.parametrize("version", [4, 6])
def test_checksums_left_to_a_device_are_right_on_the_wire(version: int) -> None:
    with bed() as made, ExitStack() as stack:
        taps = {port: Tap(f"tap{port}") for port in (1, 2, 3)}
        for tap in taps.values():
            stack.callback(tap.close)
        checksums_are_right(Network(made, taps), taps[1], version)


def checksums_are_right(network: Network, tap: Tap, version: int) -> None:
    network.ask("udp.dst == 53", "dns_lookup()")
    network.ask(f"eth.src == {GUEST} && udp.dst == 67", "put_dhcp_opts(offerip = 10.0.0.5)")
    arguments = network.arguments()
    network.answers.set_names(templates.names({1: NAMES}))
    header = (
        IP(src="10.0.0.1", dst="10.0.0.2") if version == 4 else IPv6(src="fd00::1", dst="fd00::2")
    )
    l4 = 34 if version == 4 else 54
    rng = random.Random(8)
    frames: list[bytes] = []
    while len(frames) < 40:
        frame = query(rng, header)[2]
        if of_process(dns.handle, frame, {}, Knowledge(dns={1: NAMES}))[0] == ANSWERED:
            frames.append(frame)
    if version == 4:
        frames += [request(rng, GUEST, "10.0.0.5") for _ in range(20)]
    known = Knowledge(dns={1: NAMES}, dhcp_options=KNOWN)
    for frame in frames:
        got, data = network.outcome(
            offloaded(frame, l4),
            lambda left: tap.send_offloaded(left, l4, proto=sums.UDP),
        )
        if got != ANSWERED:
            continue
        sums.assert_right(data)
        assert data[l4 + 6 : l4 + 8] != b"\0\0"
        is_dns = frame[l4 + 2 : l4 + 4] == b"\0\x35"
        [argument] = [a for a in arguments.values() if "options" in a]
        handler = dns.handle if is_dns else dhcpv4.handle
        _, answer = of_process(handler, frame, argument, known)
        for each in (data, answer):
            assert len(data) == len(answer), each
        strip = data[: l4 + 6] + answer[l4 + 6 : l4 + 8] + data[l4 + 8 :]
        if is_dns:
            assert canonical(strip, l4) == canonical(answer, l4)
        else:
            assert strip == answer
    counts = network.answers.counts()
    assert counts[lib.OVN_PUNT_DNS].answered.packets > 20
    assert version == 6 or counts[lib.OVN_PUNT_DHCP].answered.packets > 5


@pytest.mark.parametrize("copy_first", [True, False])
def test_a_packet_that_others_need_is_theirs_as_it_was(network: Network, copy_first: bool) -> None:
    """A clone asks, and the packet goes on as it was, or the other way round."""
    asks, goes = "reg0[3] = dns_lookup(); next;", 'outport = "vm3"; output;'
    first, second = (asks, goes) if copy_first else (goes, asks)
    network.flows += 1
    network.bed.flow(0, 0, network.flows, "udp.dst == 53", f"clone {{ {first} }}; {second}")
    network.arguments()
    network.answers.set_names(templates.names({1: NAMES}))
    frame = dns_frame(255)
    expected, answer = of_process(dns.handle, frame, {}, Knowledge(dns={1: NAMES}))
    assert expected == ANSWERED
    for _ in range(3):
        network.taps[1].send(frame)
        assert network.taps[3].received(1) == [frame]
        [data] = network.taps[2].received(1)
        assert canonical(data, 34) == canonical(answer, 34)
    assert not network.bed.all_dropped()
    if copy_first:  # what is longer cannot be kept for the others
        network.taps[1].send(dns_frame(255, 400))
        assert network.taps[3].received(1) == [dns_frame(255, 400)]
        assert network.bed.dropped(reason("DROP_NO_SLOWPATH")) == 1


def test_a_trace_takes_no_answer(network: Network) -> None:
    """It assumes what ovn-trace does, whatever the program has, and counts nothing."""
    network.ask("udp.dst == 53", "dns_lookup()")
    network.arguments()
    network.answers.set_names(templates.names({1: NAMES}))
    asks = {"eth_type": 0x0800, "ip_proto": 17, "ip_ttl": 64, "udp_dst": 53}
    tracer = Tracer(network.bed.plane.maps, network.bed.plane.programs["ovn_trace"])
    with closing(tracer):
        events = tracer.run(packet(1, mac(2), **asks)).events
    assert [event.port for event in events if event.kind == lib.TRACE_DEVICE] == [3]
    assert not network.answers.counts()


def test_without_the_program_packets_go_to_the_slow_path() -> None:
    with bed() as made:
        made.plug(1, 2)
        made.flow(0, 0, 1, "udp.dst == 53", "reg0[3] = dns_lookup(); next;")
        made.flows_live()
        made.send("p1", dns_frame())
        assert made.dropped(reason("DROP_NO_SLOWPATH")) == 1
        assert made.all_dropped() == 1


def test_a_watcher_sees_a_packet_that_is_answered_come_once(network: Network) -> None:
    network.ask(f"eth.src == {GUEST} && udp.dst == 67", "put_dhcp_opts(offerip = 10.0.0.5)")
    network.arguments()
    frame = request(random.Random(8), GUEST, "10.0.0.5")
    with Watcher("test") as watcher:
        watcher.watch(ALL)
        assert network.outcome(frame)[0] == ANSWERED
        seen: list[int] = []
        until = time.monotonic() + DEADLINE
        while OUT not in seen and time.monotonic() < until:
            # Of the device itself come neighbour and multicast messages, too.
            dhcp = (each for each in watcher.read(0.1) if each.frame[23:24] == b"\x11")
            seen += [each.seen for each in dhcp]
    assert seen == [IN, OUT]
