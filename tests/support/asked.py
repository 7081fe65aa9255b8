# SPDX-License-Identifier: Apache-2.0
"""What guests ask of the program: DHCP and DNS requests, well-formed and mangled.

With the option sets and names that the agent would tell it; all drawn from a
generator that the test seeds.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.slowpath import dns

GUEST = "02:00:00:00:00:01"

KNOWN = {
    "router": (3, "ipv4"),
    "dns_server": (6, "ipv4"),
    "domain_name": (15, "str"),
    "mtu": (26, "uint16"),
    "netmask": (1, "ipv4"),
    "lease_time": (51, "uint32"),
    "server_id": (54, "ipv4"),
    "T1": (58, "uint32"),
    "ip_forward_enable": (19, "bool"),
    "classless_static_route": (121, "static_routes"),
    "domain_search_list": (119, "domains"),
    "bootfile_name": (67, "str"),
    "bootfile_name_alt": (254, "str"),
    "next_server": (253, "ipv4"),
}


def address(rng: random.Random) -> str:
    return str(ipaddress.IPv4Address(rng.getrandbits(32) | 1 << 24))


def word(rng: random.Random, most: int) -> str:
    return "".join(rng.choice("abcxyz019-") for _ in range(rng.randint(1, most)))


FORMS: dict[str, Callable[[random.Random], str]] = {
    "ipv4": address,
    "str": lambda rng: f'"{word(rng, 120)}"',
    "uint16": lambda rng: str(rng.randrange(1 << 16)),
    "uint32": lambda rng: str(rng.randrange(1 << 32)),
    "bool": lambda rng: str(rng.randrange(2)),
    "static_routes": lambda rng: f"{{10.0.0.0/{rng.randint(0, 8) or 8},{address(rng)}}}",
    "domains": lambda rng: f'"{word(rng, 40)}.org,{word(rng, 40)}.{word(rng, 9)}.org"',
}


def mangled(rng: random.Random, frame: bytes, start: int) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(start, len(data))] = rng.choice((0, 1, 53, 127, 255, rng.randrange(256)))
    if rng.random() < 0.2:
        del data[rng.randrange(start, len(data)) :]
    return bytes(data)


def option_set(rng: random.Random, offer: str) -> str:
    names = rng.sample(sorted(KNOWN), rng.randint(1, len(KNOWN)))
    said = [f"{name} = {FORMS[KNOWN[name][1]](rng)}" for name in names]
    return f"put_dhcp_opts({', '.join([f'offerip = {offer}', *said])})"


def request(rng: random.Random, source: str, offer: str) -> bytes:
    kind = rng.choice(("discover", "request", "request", "inform", "release", "decline"))
    options: list[object] = [("message-type", kind)]
    if rng.random() < 0.5:
        options.append(("requested_addr", rng.choice((offer, "10.9.9.9", "0.0.0.0"))))
    if rng.random() < 0.3:
        options.append((175, b"\x01\x02"))
    if rng.random() < 0.3:
        options.append(("hostname", word(rng, 30)))
    rng.shuffle(options)
    options += ["pad"] * rng.choice((0, 0, 3, 60, 700)) + ["end"]
    message = BOOTP(
        chaddr=bytes.fromhex(source.replace(":", "")),
        xid=rng.getrandbits(32),
        flags=rng.choice((0, 0x8000)),
        ciaddr=rng.choice(("0.0.0.0", offer)),
        siaddr=rng.choice(("0.0.0.0", "10.1.1.1")),
        giaddr=rng.choice(("0.0.0.0", "10.2.2.2")),
    )
    renewal = rng.random() < 0.5
    ip = IP(src=offer, dst="10.0.0.1") if renewal else IP(src="0.0.0.0", dst="255.255.255.255")
    ip.id, ip.tos = rng.getrandbits(16), rng.choice((0, 16))
    frame = Ether(src=source, dst="ff:ff:ff:ff:ff:ff") / ip / UDP(sport=68, dport=67)
    return bytes(frame / message / DHCP(options=options) / Raw(bytes(rng.choice((0, 0, 5)))))


NAMES: dict[str, tuple[str, bool]] = {
    "vm.ovn.org": ("10.0.0.4 10.0.0.5 aef0::4", False),
    "one.ovn.org": ("10.0.0.6", True),
    "six.ovn.org": ("aef0::6 aef0::7", True),
    "many.ovn.org": (" ".join(f"10.0.1.{n}" for n in range(16)), False),
    "more.ovn.org": (" ".join(f"10.0.1.{n}" for n in range(17)), False),
    "none.ovn.org": ("", True),
    "text.ovn.org": ("some.where", False),
    "4.0.0.10.in-addr.arpa": ("vm.ovn.org", False),
    f"{'a' * 63}.{'b' * 63}.org": ("10.0.0.9", False),
    f"{'a' * 60}.{'b' * 60}.org": ("10.0.0.10", False),
    "pointer.ovn.org": (".".join("c" * 60 for _ in range(4)), False),
    "label.ovn.org": ("d" * 70, False),
}


def dns_frame(kind: int = 1, padding: int = 0) -> bytes:
    """A query for the addresses of vm.ovn.org."""
    head = bytes.fromhex("000101000001000000000000")
    question = head + dns.encoded("vm.ovn.org") + bytes((0, kind, 0, 1)) + bytes(padding)
    header = Ether(src=GUEST) / IP(src="10.0.0.1", dst="10.0.0.2")
    return bytes(header / UDP(sport=4000, dport=53) / Raw(question))


def query(rng: random.Random, network: IP | IPv6) -> tuple[str, int, bytes]:
    name = rng.choice([*NAMES, "else.ovn.org", "a.b", "vm.ovn.org.x"])
    cased = "".join(rng.choice((c.upper(), c)) for c in name)
    kind = rng.choice((1, 28, 12, 255, 15))
    head = rng.getrandbits(16).to_bytes(2, "big") + rng.choice(
        (b"\1\0", b"\0\0", b"\1\x20", b"\x81\0")
    )
    head += rng.choice((b"\0\1",) * 9 + (b"\0\2",)) + bytes(6)
    question = dns.encoded(cased) + kind.to_bytes(2, "big") + b"\0\1"
    extra = rng.choice((b"", b"", b"\0\0\x29\x10\0\0\0\0\0\0\0"))
    frame = Ether(src=GUEST, dst="02:00:00:00:00:02") / network / UDP(sport=4000, dport=53)
    return name, kind, bytes(frame / Raw(head + question + extra))


def canonical(frame: bytes, l4: int) -> tuple[bytes, list[bytes]]:
    """A response with its records in order."""
    at = l4 + 8 + 12
    while frame[at]:
        at += 1 + frame[at]
    at += 5
    head, records = frame[:at], []
    while at < len(frame):
        size = 12 + int.from_bytes(frame[at + 10 : at + 12], "big")
        records.append(frame[at : at + size])
        at += size
    return head, sorted(records)
