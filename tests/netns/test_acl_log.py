# SPDX-License-Identifier: Apache-2.0
"""log(): the lines are those of a real ovn-controller, character for character.

vm1's chassis is ours, vm2's the real one; both are sent the same frames.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, LLC, Dot3, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from tests.support import traffic
from tests.support.acl_lines import acl_lines
from tests.support.beds import OURS

ANNOUNCED = ()
KINDS = OURS
TOPOLOGY = """
chassis: {ours: $agent, real: {agent: ovn-controller}}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: ours, addresses: [unknown]}
  vm2: {switch: sw0, chassis: real, addresses: [unknown]}
port_groups: {pg: [vm1, vm2]}
"""
SOURCE, TARGET = "02:00:00:00:aa:01", "02:00:00:00:aa:02"
PEERS = {"vm1": "ours", "vm2": "real"}
DEADLINE = 30.0
markers = itertools.count(40_000)

ETH = Ether(src=SOURCE, dst=TARGET)
IP4 = IP(src="10.0.0.77", dst="10.0.0.88", id=7)
IP6 = IPv6(src="fd00::77", dst="fd00::88")
WHOLE = bytes(IP4 / UDP(sport=7, dport=8) / Raw(b"f" * 200))[20:]
ND = IPv6(src="fd00::77", dst="ff02::1:ff00:88", hlim=255)

FRAMES: dict[str, Packet] = {
    "tcp": ETH / IP4 / TCP(sport=1000, dport=80, flags="S"),
    "tcp flags": ETH / IP4 / TCP(sport=1001, dport=80, flags="FSRPAUECN"),
    "tcp no flags": ETH / IP4 / TCP(sport=1002, dport=80, flags=0),
    "udp": ETH / IP4 / UDP(sport=1003, dport=53) / b"data",
    "udp tos": ETH / IP(src="10.0.0.77", dst="10.0.0.88", tos=0xBB, ttl=3) / UDP(dport=9),
    "options": ETH / IP(src="10.0.0.77", dst="10.0.0.88", options=[b"\x07\x07\x04\0\0\0\0\0"])
    / UDP(dport=10),
    "icmp": ETH / IP4 / ICMP(type=8, code=0, id=1, seq=2) / b"ping",
    "icmp error": ETH / IP4 / ICMP(type=3, code=3) / IP4 / UDP(sport=1, dport=2),
    "sctp": ETH / IP4 / SCTP(sport=5, dport=6) / SCTPChunkInit(),
    "gre": ETH / IP(src="10.0.0.77", dst="10.0.0.88", proto=47) / Raw(bytes(20)),
    "first": ETH / IP(src="10.0.0.77", dst="10.0.0.88", id=9, flags="MF", proto=17) / WHOLE[:64],
    "later": ETH / IP(src="10.0.0.77", dst="10.0.0.88", id=9, frag=8, proto=17) / WHOLE[64:],
    "later icmp": ETH / IP(src="10.0.0.77", dst="10.0.0.88", id=9, frag=8, proto=1) / WHOLE[64:],
    "arp": ETH / ARP(op=1, hwsrc=SOURCE, psrc="10.0.0.77", pdst="10.0.0.99"),
    "arp reply": ETH / ARP(op=2, hwsrc=SOURCE, psrc="10.0.0.77", hwdst=TARGET, pdst="10.0.0.88"),
    "tcp6": ETH / IP6 / TCP(sport=1004, dport=443, flags="SA"),
    "udp6": ETH / IPv6(src="fd00::77", dst="fd00::88", tc=0xBB, fl=0x12345, hlim=9)
    / UDP(sport=1, dport=2),
    "sctp6": ETH / IP6 / SCTP(sport=5, dport=6) / SCTPChunkInit(),
    "echo6": ETH / IP6 / ICMPv6EchoRequest(id=1, seq=2) / b"ping",
    "error6": ETH / IP6 / ICMPv6DestUnreach(code=4) / IP6 / UDP(sport=1, dport=2),
    "solicitation": ETH / ND / ICMPv6ND_NS(tgt="fd00::99") / ICMPv6NDOptSrcLLAddr(lladdr=SOURCE),
    "bare solicitation": ETH / ND / ICMPv6ND_NS(tgt="fd00::99"),
    "advertisement": ETH / ND / ICMPv6ND_NA(tgt="fd00::99", R=1)
    / ICMPv6NDOptDstLLAddr(lladdr=TARGET),
    "router solicitation": ETH / ND / ICMPv6ND_RS(),
    "mld": Ether(src=SOURCE, dst="33:33:00:00:00:16")
    / IPv6(src="fe80::77", dst="ff02::16", hlim=1) / IPv6ExtHdrHopByHop() / ICMPv6MLReport2(),
    "fragment6": ETH / IP6 / IPv6ExtHdrFragment(id=3, m=1, nh=17) / WHOLE[:64],
    "later6": ETH / IP6 / IPv6ExtHdrFragment(id=3, offset=8, nh=17) / WHOLE[64:],
    "no next header": ETH / IPv6(src="fd00::77", dst="fd00::88", nh=59),
    "unknown type": Ether(src=SOURCE, dst=TARGET, type=0x88B5) / Raw(bytes(50)),
    "llc": Dot3(src=SOURCE, dst=TARGET) / LLC(dsap=0x42, ssap=0x42) / Raw(bytes(50)),
}  # fmt: skip
# By flows above all ACLs.
LET_THROUGH = (
    "solicitation",
    "bare solicitation",
    "advertisement",
    "router solicitation",
    "mld",
)


def logged(bed: Sandbox, name: str, *frames: bytes, count: int = 1) -> dict[str, list[str]]:
    """What each chassis logs of frames that its guest sends, sorted.

    Open vSwitch may hand packets up in another order, or lose some: it is sent all of
    them again then, and its lines are those that differ.  count: lines that there are
    to be.
    """
    found: dict[str, list[str]] = {}
    for guest, of in PEERS.items():
        before = len(acl_lines(bed.chassis[of], name))
        port = next(markers)
        marked = [*frames, bytes(ETH / IP4 / UDP(sport=port, dport=9))]
        for last in (False, True) if of == "real" else (True,):
            for frame in marked:
                traffic.send_raw(bed, guest, frame)
            try:
                lines = awaited(bed.chassis[of], name, all_of(port, count), before)
                break
            except SandboxError:
                if last:
                    raise
        found[guest] = sorted(line for line in lines if f"tp_src={port}," not in line)
    found["vm2"] = found["vm2"] if len(found["vm2"]) == count else sorted(set(found["vm2"]))
    return found


def all_of(port: int, count: int) -> Callable[[list[str]], bool]:
    """Whether the last frame's line is there, and as many others as there are to be."""
    return lambda lines: len(lines) > count and any(f"tp_src={port}," in line for line in lines)


def awaited(
    chassis: Chassis, name: str, complete: Callable[[list[str]], bool], before: int
) -> list[str]:
    """Lines of the ACL behind the first `before`, once they are complete."""
    found: list[str] = []

    def there() -> bool:
        found[:] = acl_lines(chassis, name)[before:]
        return bool(found) and complete(found)

    process.wait_until(there, DEADLINE, f"lines of {name} on {chassis.name}")
    return found


def acl(bed: Sandbox, direction: str, match: str, verdict: str, *options: str) -> None:
    command = ["--log", *options, "--type=port-group", "acl-add", "pg", direction, "1000"]
    bed.nbctl("--wait=hv", *command, match, verdict)


@pytest.fixture(autouse=True)
def _clean(bed: Sandbox) -> Iterator[None]:
    yield
    bed.nbctl("--wait=hv", "--type=port-group", "acl-del", "pg")


def test_every_kind_of_packet_is_told_in_the_same_words(bed: Sandbox) -> None:
    acl(bed, "from-lport", f"inport == @pg && eth.src == {SOURCE}", "drop", "--name=all")
    count = len(FRAMES) - len(LET_THROUGH)
    found = logged(bed, '"all"', *map(bytes, FRAMES.values()), count=count)
    assert found["vm1"] == found["vm2"]
    assert len(found["vm1"]) == count
    line = acl_lines(bed.chassis["ours"], '"all"')[0]
    assert line.startswith(
        'acl_log(ovn_pinctrl0)|INFO|name="all", verdict=drop, severity=info, '
        "direction=from-lport: tcp,vlan_tci=0x0000,dl_src="
    )
    # The whole line is as the C library has it: ovn-kubernetes splits it by "|".
    whole = next(line for line in bed.chassis["ours"].log().splitlines() if "|acl_log(" in line)
    assert re.match(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|00001\|acl_log\(ovn_pinctrl0\)\|", whole
    )


@pytest.mark.parametrize("severity", ["alert", "warning", "notice", "info", "debug"])
def test_severity_and_names(bed: Sandbox, severity: str) -> None:
    name = "an ACL, é|x"
    tags = f"--severity={severity}", f"--name={name}"
    acl(bed, "from-lport", "inport == @pg && ip4.src == 10.0.0.77", "reject", *tags)
    found = logged(bed, f'"{name}"', bytes(FRAMES["udp"]))
    assert found["vm1"] == found["vm2"]
    assert f"verdict=reject, severity={severity}, " in found["vm1"][0]


def test_without_a_name(bed: Sandbox) -> None:
    acl(bed, "from-lport", "inport == @pg && ip4.src == 10.0.0.77", "drop")
    found = logged(bed, '"<unnamed>"', bytes(FRAMES["tcp"]))
    assert found["vm1"] == found["vm2"] and len(found["vm1"]) == 1


def test_towards_a_port(bed: Sandbox) -> None:
    """allow-related is logged for the packet that begins."""
    tags = "--name=in", "--severity=notice"
    acl(bed, "to-lport", "outport == @pg && ip4 && icmp4.type == 8", "allow-related", *tags)
    for source, target, chassis in (("vm1", "vm2", "real"), ("vm2", "vm1", "ours")):
        before = len(acl_lines(bed.chassis[chassis], '"in"'))
        assert traffic.answers(bed, source, target)
        awaited(bed.chassis[chassis], '"in"', bool, before)
    ours, real = (acl_lines(bed.chassis[name], '"in"')[-1] for name in ("ours", "real"))
    guests = {name: bed.ports[name] for name in PEERS}
    for name, port in guests.items():
        other = "vm2" if name == "vm1" else "vm1"
        real = real.replace(port.mac, f"<{other} mac>")
        real = real.replace(str(port.guest.address(4)), f"<{other} ip>")
    for name, port in guests.items():
        real = real.replace(f"<{name} mac>", port.mac)
        real = real.replace(f"<{name} ip>", str(port.guest.address(4)))
    assert ours == real
    assert "direction=to-lport: icmp," in ours
