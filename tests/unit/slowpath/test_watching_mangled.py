# SPDX-License-Identifier: Apache-2.0
"""No IGMP, MLD, BFD or service-check packet, however mangled, does more than be rejected.

As in test_fuzz.py; `pytest -rP -m long` shows what became of them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6MLReport,
    IPerror6,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath import compose
from ovn_bpf_controller.slowpath.bfd import Bfd
from ovn_bpf_controller.slowpath.bfd_message import Message, State
from ovn_bpf_controller.slowpath.duty import Duty, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.multicast import Multicast
from ovn_bpf_controller.slowpath.services import Services
from tests.unit.slowpath.test_snooping import G4, igmp, igmp3, mld, mld2, record

SHARE, WHOLE = 2_000, 50_000  # packets of a kind
MOST_REASONS = 32
WORDS = tuple(1 if word in (lib.OW_DP, lib.OW_INPORT) else 0 for word in range(lib.OVN_WORDS))
IP4 = {"src": "0a000002", "dst": "0a000001"}
IP6 = {"src": "fd" + "00" * 14 + "02", "dst": "fd" + "00" * 14 + "01"}
ROW = {
    "dp": 1, "port": 1, "out": 1, "mac": "020000000001", "src_mac": "020000000002",
    "interval": 5, "timeout": 3, "success_count": 1, "failure_count": 1,
}  # fmt: skip
SESSION = {
    "sport": 49152,
    "disc": 9,
    "min_tx": 100,
    "min_rx": 100,
    "mult": 3,
    "wanted": True,
    "up": False,
}
TOLD = {
    "multicast": {"1": {"size": 100, "idle": 60, "seq": 1, "ports": [1], "querier": None}},
    "bfd": {
        "four": {**ROW, **SESSION, "src": IP4["dst"], "dst": IP4["src"]},
        "six": {**ROW, **SESSION, "src": IP6["dst"], "dst": IP6["src"]},
    },
    "services": {
        f"{protocol}{version}": {
            **ROW,
            "protocol": protocol,
            "number": 0 if protocol == "icmp" else 80,
            "ip": ip["src"],
            "src_ip": ip["dst"],
        }
        for protocol in ("tcp", "udp", "icmp")
        for version, ip in ((4, IP4), (6, IP6))
    },
}


def taught(duty: Duty) -> Duty:
    """The duty, knowing what TOLD says of it; its first packets are on their way."""
    known = Knowledge(hears=duty.hears())
    for name in duty.hears():
        known.facts[name] = duty.hears()[name](TOLD.get(name, {}))
    duty.learnt(known)
    list(duty.run(duty.due))
    return duty


def bfd(ip: IP | IPv6) -> bytes:
    message = Message(State.DOWN, 3, 7, 0, 100_000, 100_000)
    return bytes(Ether() / ip / UDP(sport=49152, dport=3784) / Raw(message.pack()))


V4, V6 = IP(src="10.0.0.2", dst="10.0.0.1"), IPv6(src="fd00::2", dst="fd00::1")
QUOTE4 = IPerror(src="10.0.0.1", dst="10.0.0.2") / UDPerror(sport=1024, dport=80)
QUOTE6 = IPerror6(src="fd00::1", dst="fd00::2") / UDPerror(sport=1024, dport=80)
FRAMES: dict[str, tuple[Callable[[], Duty], bytes]] = {
    "igmp1": (Multicast, igmp(0x12, G4)),
    "igmp3": (Multicast, igmp3(record(4, G4), record(3, G4), record(1, G4, G4))),
    "mld1": (Multicast, mld(ICMPv6MLReport(mladdr="ff0e::1"))),
    "mld2": (Multicast, mld(mld2((4, "ff0e::1", []), (6, "ff0e::2", ["fd00::1"])))),
    "bfd4": (Bfd, bfd(V4)),
    "bfd6": (Bfd, bfd(V6)),
    "tcp4": (Services, bytes(Ether() / V4 / TCP(sport=80, dport=1024, flags="SA"))),
    "tcp6": (Services, bytes(Ether() / V6 / TCP(sport=80, dport=1024, flags="R"))),
    "unreachable4": (Services, bytes(Ether() / V4 / ICMP(type=3, code=3) / QUOTE4)),
    "unreachable6": (Services, bytes(Ether() / V6 / ICMPv6DestUnreach(code=4) / QUOTE6)),
    "echo4": (Services, bytes(Ether() / V4 / ICMP(type=0))),
    "echo6": (Services, bytes(Ether() / V6 / ICMPv6EchoReply())),
}


def mutated(frame: bytes, rng: random.Random) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(12, len(data))
        data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    if rng.random() < 0.2:
        del data[rng.randrange(len(data)) :]
    if rng.random() < 0.5:
        repair(data)
    return bytes(data)


def repair(data: bytearray) -> None:
    """An IGMP or MLD checksum that is right again, so that what is behind it is looked at."""
    if data[12:14] == b"\x08\x00" and len(data) >= 42 and data[23] == compose.IGMP:
        data[34:] = compose.summed((b"", b""), compose.IGMP, bytes(data[34:]))
    elif data[12:14] == b"\x86\xdd" and len(data) >= 70 and not data[20]:
        addresses = (bytes(data[22:38]), bytes(data[38:54]))
        data[62:] = compose.summed(addresses, compose.ICMP6, bytes(data[62:]))


@pytest.mark.parametrize("name", FRAMES)
def test_a_share_of_mangled_packets(name: str) -> None:
    mangle(name, SHARE)


@pytest.mark.long
@pytest.mark.parametrize("name", FRAMES)
def test_all_mangled_packets(name: str) -> None:
    mangle(name, WHOLE)


def mangle(name: str, packets: int) -> None:
    """Each goes on, or is rejected for a reason of few that is counted."""
    make, frame = FRAMES[name]
    rng = random.Random(name)
    duty = taught(make())
    [handler] = duty.verbs().values()
    outcomes: Counter[str] = Counter()
    for _ in range(packets):
        made = mutated(frame, rng)
        try:
            for punt in handler(Punt(made, WORDS), {}, Knowledge()):
                assert punt.pc == 0 and len(punt.frame) <= max(len(made), 100)
            outcomes["taken"] += 1
        except RejectedError as error:
            outcomes[str(error)] += 1
    assert outcomes.total() == packets
    assert 2 < len(outcomes) <= MOST_REASONS
    print(f"{name}: {packets} packets:", *(f"{n} {what};" for what, n in outcomes.most_common()))
    duty.reports()
