# SPDX-License-Identifier: Apache-2.0
"""Answers of the program itself are, byte for byte, those of the slow-path process.

Requests are random, well-formed and mangled; option sets, names and routers' options
too.  The program may leave to the process only what is outside its bounds.
"""

from __future__ import annotations

import ipaddress
import random

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.slowpath import advertisements, dhcpv4, dns, templates
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from tests.support import sums
from tests.support.asked import (
    KNOWN,
    NAMES,
    address,
    canonical,
    dns_frame,
    mangled,
    option_set,
    query,
    request,
    word,
)
from tests.support.served import ANSWERED, LEFT, MALFORMED, WENT_ON, Network, of_process

OPTION_SETS, REQUESTS = 24, 24


def may_leave_dhcp(frame: bytes, fits: bool) -> bool:
    return not fits or len(frame) > 14 + 28 + 240 + 400 or frame[14] != 0x45


def test_dhcp_replies_are_those_of_the_process(network: Network) -> None:
    rng = random.Random(17)
    known = Knowledge(dhcp_options=KNOWN)
    sources = {f"02:00:00:00:01:{n:02x}": address(rng) for n in range(OPTION_SETS)}
    for source, offer in sources.items():
        network.ask(f"eth.src == {source} && udp.dst == 67", option_set(rng, offer))
    by_offer = {
        argument["options"][0][1][0][1]: argument for argument in network.arguments().values()
    }
    seen: dict[str, int] = {}
    for source, offer in sources.items():
        argument = by_offer[int(ipaddress.IPv4Address(offer))]
        fits = bool(templates.templates(1, argument, KNOWN))
        for n in range(REQUESTS):
            frame = request(rng, source, offer)
            if n % 4 == 0:
                frame = mangled(rng, frame, 42)
            got, data = network.outcome(frame)
            seen[got] = seen.get(got, 0) + 1
            if got == LEFT:
                assert may_leave_dhcp(frame, fits), frame.hex()
            elif got != MALFORMED:
                assert (got, data) == of_process(dhcpv4.handle, frame, argument, known), frame.hex()
    assert seen[ANSWERED] > OPTION_SETS * REQUESTS // 3 and seen[WENT_ON] > 20, seen
    counts = network.answers.counts()[lib.OVN_PUNT_DHCP]
    assert (counts.answered.packets, counts.passed.packets) == (seen[ANSWERED], seen[WENT_ON])


def may_leave_dns(frame: bytes, l4: int) -> bool:
    try:
        name, end = dns.question(frame[l4 + 8 :])
    except RejectedError:
        return False
    kind = int.from_bytes(frame[l4 + 8 + end :][:2], "big")
    label_end, odd = l4 + 20, False
    while frame[label_end]:
        label = frame[label_end + 1 : label_end + 1 + frame[label_end]]
        odd |= any(byte == ord(".") or byte > 127 for byte in label)
        label_end += 1 + frame[label_end]
    many = name.lower() == "more.ovn.org" and kind != 12
    pointer = kind == 12 and len(NAMES.get(name.lower(), ("", False))[0]) > 100
    return odd or many or pointer or end - 12 > lib.OVN_NAME_BYTES


@pytest.mark.parametrize("version", [4, 6])
def test_dns_responses_are_those_of_the_process(network: Network, version: int) -> None:
    rng = random.Random(version)
    known = Knowledge(dns={1: NAMES})
    network.ask("udp.dst == 53", "dns_lookup()")
    network.arguments()
    assert not network.answers.set_names(templates.names({1: NAMES}))
    header = (
        IP(src="10.0.0.1", dst="10.0.0.2") if version == 4 else IPv6(src="fd00::1", dst="fd00::2")
    )
    l4 = 34 if version == 4 else 54
    seen: dict[str, int] = {}
    for n in range(500):
        _, _, frame = query(rng, header)
        if n % 3 == 0:
            frame = mangled(rng, frame, l4 + 8)
        got, data = network.outcome(frame)
        seen[got] = seen.get(got, 0) + 1
        if got == LEFT:
            assert may_leave_dns(frame, l4), frame.hex()
            continue
        if got == MALFORMED:
            continue
        expected, answer = of_process(dns.handle, frame, {}, known)
        assert got == expected, frame.hex()
        if got == ANSWERED:
            assert canonical(data, l4) == canonical(answer, l4), frame.hex()
            sums.assert_right(data)
        else:
            assert data == frame
    assert seen[ANSWERED] > 40 and seen[WENT_ON] > 50 and seen[LEFT] > 5, seen


def test_addresses_take_turns(network: Network) -> None:
    network.ask("udp.dst == 53", "dns_lookup()")
    network.arguments()
    network.answers.set_names(templates.names({1: NAMES}))
    frame = dns_frame()
    first = {network.outcome(frame)[1][-32:-16] for _ in range(64)}
    assert len(first) == 2


def test_names_of_a_datapath_that_is_not_here_are_left_to_the_process(network: Network) -> None:
    network.ask("udp.dst == 53", "dns_lookup()")
    network.arguments()
    frame = dns_frame()
    assert network.outcome(frame)[0] == LEFT
    network.answers.set_names(templates.names({1: {}}))
    assert network.outcome(frame) == (WENT_ON, frame)
    network.answers.set_names(templates.names({1: NAMES}))
    assert network.outcome(frame)[0] == ANSWERED
    network.answers.set_names({})
    assert network.outcome(frame)[0] == LEFT


def advertised(rng: random.Random, slla: int) -> str:
    said = [f"slla = 00:00:00:00:00:{slla:02x}"]
    said.append(f'addr_mode = "{rng.choice(("slaac", "dhcpv6_stateful", "dhcpv6_stateless"))}"')
    said += [f"prefix = aef{n}::/{rng.choice((48, 64))}" for n in range(rng.randint(1, 3))]
    if rng.random() < 0.5:
        said.append(f"mtu = {rng.randint(1280, 9000)}")
    if rng.random() < 0.3:
        said.append(f'router_preference = "{rng.choice(("HIGH", "LOW"))}"')
    if rng.random() < 0.3:
        said.append('route_info = "HIGH-fd01::/64,LOW-fd02::/48"')
    if rng.random() < 0.3:
        said.append(f'dnssl = "{word(rng, 60)}.org,{word(rng, 60)}.com"')
    if rng.random() < 0.3:
        said.append("rdnss = 1000::11")
    return f"put_nd_ra_opts({', '.join(said)})"


def test_advertisements_are_those_of_the_process(network: Network) -> None:
    rng = random.Random(3)
    sources = [f"02:00:00:00:01:{n:02x}" for n in range(OPTION_SETS)]
    for n, source in enumerate(sources):
        network.ask(f"eth.src == {source} && nd_rs", advertised(rng, n))
    found = network.arguments().values()
    by_slla = {dict(each["options"])["slla"][0][1]: each for each in found}
    for n, source in enumerate(sources):
        for from_ in ("::", "fe80::1"):
            options = ICMPv6NDOptSrcLLAddr(lladdr=source) if from_ != "::" else Raw(b"")
            frame = bytes(
                Ether(src=source, dst="33:33:00:00:00:02")
                / IPv6(src=from_, dst="ff02::2", hlim=255)
                / ICMPv6ND_RS()
                / options
            )
            got = network.outcome(frame)
            assert got == of_process(advertisements.handle, frame, by_slla[n], Knowledge())
            assert got[0] == ANSWERED
            sums.assert_right(got[1])
