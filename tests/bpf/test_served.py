# SPDX-License-Identifier: Apache-2.0
"""Answers of the program itself are, byte for byte, those of the slow-path process.

Requests are random, well-formed and mangled; option sets, names and routers' options
too.  What the process answers leaves by port 2, what it lets go on by port 3; the
program may leave to the process only what is outside its bounds.
"""

from __future__ import annotations

import ipaddress
import json
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import map_info
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.datapath.served import Answers, Template
from ovn_bpf_controller.datapath.trace import Tracer
from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.slowpath import advertisements, dhcpv4, dns, templates
from ovn_bpf_controller.slowpath.duty import Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from tests.bpf.test_trace import packet
from tests.support import sums
from tests.support.dataplane import Bed, bed, mac, reason
from tests.support.taps import Tap

DEADLINE = 30.0
ANSWERED, WENT_ON, LEFT, MALFORMED = "answered", "went on", "left", "malformed"
WORDS = tuple(1 if word == lib.OW_DP else 0 for word in range(lib.OVN_WORDS))
GUEST = "02:00:00:00:00:01"
OPTION_SETS, REQUESTS = 24, 24

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


class Veth:
    """A veth device, used as a Tap is; where there are no taps, too."""

    def __init__(self, name: str, made: Bed) -> None:
        self.ifindex, _ = made.kernel.veth(name, f"{name}-peer")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((f"{name}-peer", 0))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def received(self, count: int) -> list[bytes]:
        self._socket.settimeout(DEADLINE)
        return [self._socket.recv(1 << 16) for _ in range(count)]


class Network:
    """Port 1 asks; 2 gets what was answered, 3 what went on as it was."""

    def __init__(self, made: Bed, taps: Mapping[int, Tap | Veth]) -> None:
        self.bed = made
        self.taps = taps
        self.flows = 0
        for port, tap in taps.items():
            made.attach(f"tap{port}", tap.ifindex, "ovn_vif")
            made.world.ports[1, f"vm{port}"] = port
        rows = [Port(1, port, PortKind.VIF, ifindex=tap.ifindex) for port, tap in taps.items()]
        made.apply(ports_added=list(rows))
        made.flow(0, 1, 2, "reg0[3]", 'outport = "vm2"; output;')
        made.flow(0, 1, 1, "1", 'outport = "vm3"; output;')
        made.flow(1, 0, 0, "1", "output;")
        made.plane.programs.make_callable("ovn_serve")
        self.answers = Answers(made.plane.maps)

    def ask(self, match: str, verb: str) -> None:
        """A flow with the verb."""
        self.flows += 1
        self.bed.flow(0, 0, self.flows, match, f"reg0[3] = {verb}; next;")

    def arguments(self) -> dict[int, dict[str, Any]]:
        """Of all flows, once they are live; what the program has is then made of them."""
        self.bed.flows_live()
        said = {n: json.loads(text) for n, text in self.bed.compiler.arguments().items()}
        made = {}
        for number, argument in said.items():
            made.update(templates.templates(number, argument, KNOWN))
        gone = self.answers.templates() - made.keys()
        assert not self.answers.change_templates(gone, made)
        return said

    def outcome(
        self, frame: bytes, send: Callable[[bytes], None] | None = None
    ) -> tuple[str, bytes]:
        """What became of a frame."""
        before = self.bed.drops()
        (send or self.taps[1].send)(frame)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            ready, _, _ = select.select([self.taps[2], self.taps[3]], [], [], 0.02)
            if ready:
                [data] = ready[0].received(1)
                return (ANSWERED if ready[0] is self.taps[2] else WENT_ON), data
            drops = self.bed.drops()
            if drops != before:
                return self._why(before, drops), b""
        raise AssertionError(f"nothing became of {frame.hex()}")

    def _why(self, before: dict[str, int], drops: dict[str, int]) -> str:
        [why] = [name for name, count in drops.items() if count != before.get(name, 0)]
        if "nobody serves" in why:
            return LEFT
        assert why == "malformed frame", why
        return MALFORMED


@pytest.fixture
def network() -> Iterator[Network]:
    with bed() as made, ExitStack() as stack:
        ends = {port: Veth(f"tap{port}", made) for port in (1, 2, 3)}
        for end in ends.values():
            stack.callback(end.close)
        yield Network(made, ends)


def of_process(
    handler: Handler, frame: bytes, argument: object, known: Knowledge
) -> tuple[str, bytes]:
    """What the process makes of it."""
    found = []
    try:
        for punt in handler(Punt(frame, WORDS), argument, known):  # type: ignore[arg-type]
            found.append(punt)
    except RejectedError:
        pass
    [punt] = found
    return (ANSWERED if punt.answer else WENT_ON), punt.frame


def mangled(rng: random.Random, frame: bytes, start: int) -> bytes:
    data = bytearray(frame)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(start, len(data))] = rng.choice((0, 1, 53, 127, 255, rng.randrange(256)))
    if rng.random() < 0.2:
        del data[rng.randrange(start, len(data)) :]
    return bytes(data)


# --- DHCP ---------------------------------------------------------------------------


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


# --- DNS ----------------------------------------------------------------------------

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


# --- router advertisements ------------------------------------------------------------


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


# --- what the agent writes --------------------------------------------------------------


def test_another_agent_writes_only_what_is_different(network: Network) -> None:
    one, other = Template(b"a" * 300, offer=1), Template(b"b", offer=2)
    network.answers.change_templates([], {(1, 7, 0): one, (1, 8, 0): other})
    network.answers.set_names(templates.names({1: NAMES, 2: {}}))
    before = {name: versions(network, name) for name in ("ovn_templates", "ovn_names")}
    second = Answers(network.bed.plane.maps)
    second.adopt()
    assert second.templates() == {(1, 7, 0), (1, 8, 0)}
    second.change_templates([(1, 8, 0)], {(1, 7, 0): one})
    second.set_names(templates.names({1: {**NAMES, "vm.ovn.org": ("10.9.9.9", False)}}))
    after = {name: versions(network, name) for name in before}
    kept = {n: {k: v for k, v in before[n].items() if after[n].get(k) == v} for n in before}
    assert len(kept["ovn_templates"]) == len(after["ovn_templates"]) == 1
    assert len(after["ovn_names"]) == len(before["ovn_names"]) - 1
    assert len(kept["ovn_names"]) == len(after["ovn_names"]) - 1


def versions(network: Network, name: str) -> dict[bytes, bytes]:
    """Of every element."""
    kind = {"ovn_templates": "ovn_template", "ovn_names": "ovn_name"}[name]
    at = ffi.offsetof(f"struct {kind}", "first")
    fd = network.bed.plane.maps[name]
    key_size, size = map_info(fd).key_size, map_info(fd).value_size
    keys, values = ffi.new("char[]", 1024 * key_size), ffi.new("char[]", 1024 * size)
    more = ffi.new("int *")
    count = lib.ovn_hash_dump(fd, ffi.new("uint64_t *"), keys, values, 1024, more)
    assert not more[0]
    names, read = bytes(ffi.buffer(keys)), bytes(ffi.buffer(values))
    return {
        names[n * key_size : (n + 1) * key_size]: read[n * size + at : n * size + at + 8]
        for n in range(count)
    }


def test_what_finds_no_room_is_left_to_the_process(network: Network) -> None:
    room = map_info(network.bed.plane.maps["ovn_names"]).max_entries
    many = {f"vm{n}.ovn.org": ("10.0.0.4", False) for n in range(room)}
    network.ask("udp.dst == 53", "dns_lookup()")
    network.arguments()
    assert network.answers.set_names(templates.names({1: many, 2: NAMES})) == room + 1
    assert network.outcome(dns_frame())[0] == LEFT
    assert not network.answers.set_names(templates.names({1: NAMES}))
    assert network.outcome(dns_frame())[0] == ANSWERED
    full = {(1, n, 0): Template(b"") for n in range(room + 5)}
    assert network.answers.change_templates([], full) == 5


def test_no_reply_is_half_of_one_and_half_of_another(network: Network) -> None:
    """The agent overwrites what the program reads, and elements whose memory it takes."""
    network.ask(f"eth.src == {GUEST} && udp.dst == 67", "put_dhcp_opts(offerip = 10.0.0.5)")
    [number] = network.arguments()
    texts = [bytes((15, 250, *(byte,) * 250)) * 2 for byte in b"abcd"]
    made = [Template(text, offer=0x0A000005) for text in texts]
    for key in range(3):
        network.answers.change_templates([], {(1, 1000 + key, 0): made[key]})
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            network.answers.change_templates(
                [(1, 1000 + (turn + 1) % 3, 0)],
                {(1, number, 0): made[turn % 4], (1, 1000 + turn % 3, 0): made[(turn + 1) % 4]},
            )

    network.answers.change_templates([], {(1, number, 0): made[0]})
    frame = request(random.Random(2), GUEST, "10.0.0.5")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [network.outcome(frame) for _ in range(1000)]
    finally:
        stop.set()
        writer.join()
    seen = {data[42 + 243 : -9] for what, data in found if what == ANSWERED}
    assert seen <= set(texts) and len(seen) > 1, len(seen)
    left = sum(what == LEFT for what, _ in found)
    assert left < 500


# --- checksums that a device is to fill in ----------------------------------------------


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
