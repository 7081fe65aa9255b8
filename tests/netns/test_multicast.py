# SPDX-License-Identifier: Apache-2.0
"""Multicast snooping with real receivers: only members get what is sent to a group.

sw0 has the sender vm1, vm2 and vm3, which join, and vm4, which does not; vm5 is on sw1,
behind a router that relays.  OVN's system test 25, "2 LSs IGMP and MLD", is among it.
"""

from __future__ import annotations

import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6MLQuery2, IPv6, RouterAlert
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support import traffic

ANNOUNCED = ()
KINDS = ("alone", "oracle")
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 10.1.0.0/24, ipv6: "fd01::/64"}
routers:
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      lr0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [10.1.0.1/24, "fd01::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
  vm4: {switch: sw0, chassis: hv2}
  vm5: {switch: sw1, chassis: hv2}
nbctl:
  - set logical_switch sw0 other_config:mcast_snoop=true other_config:mcast_querier=false
  - set logical_switch sw1 other_config:mcast_snoop=true other_config:mcast_querier=false
  - set logical_router lr0 options:mcast_relay=true
"""
GROUP = {4: "239.1.2.3", 6: "ff0e::1234"}
PORT = 5000
PATIENCE = 60.0
IGMP_QUERY = bytes((0x11, 100, 0xEE, 0x9B, 0, 0, 0, 0))  # RFC 2236, section 2


class Member:
    """A guest's socket in a group, until it is closed."""

    def __init__(self, bed: Sandbox, name: str, version: int) -> None:
        self.name = name
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with netns.entered(bed.ports[name].netns):
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((GROUP[version], PORT))
            group = socket.inet_pton(family, GROUP[version])
            index = socket.if_nametoindex("eth0")
            if version == 4:
                request = struct.pack("4s4si", group, bytes(4), index)
                self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                request = struct.pack("=16si", group, index)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def receives(self, data: bytes, seconds: float) -> bool:
        """In time; what came before it is skipped."""
        self._socket.settimeout(seconds)
        try:
            while self._socket.recv(100) != data:
                continue
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def joined(bed: Sandbox, version: int) -> Iterator[ExitStack]:
    """What is entered here leaves its group in the end."""
    with ExitStack() as stack:
        yield stack
    wait_members(bed, version, set())


def join(bed: Sandbox, stack: ExitStack, version: int, *names: str) -> dict[str, Member]:
    made = {}
    for name in names:
        made[name] = Member(bed, name, version)
        stack.callback(made[name].close)
    return made


def members(bed: Sandbox, address: str) -> set[str]:
    """Logical ports of the IGMP_Group rows of an address."""
    out = bed.sbctl("--bare", "--columns=ports", "find", "igmp_group", f'address="{address}"')
    return {
        bed.sbctl("--bare", "get", "port_binding", uuid, "logical_port").strip().strip('"')
        for uuid in out.split()
    }


def wait_members(bed: Sandbox, version: int, wanted: set[str]) -> None:
    seen: list[set[str]] = []

    def holds() -> bool:
        seen[:] = [members(bed, GROUP[version])]
        return seen == [wanted]

    try:
        wait_until(holds, PATIENCE, f"{wanted} as members of {GROUP[version]}")
    except SandboxError as error:
        raise AssertionError(f"{error}: {seen}") from error
    bed.nbctl("--wait=hv", "sync")


def cast(bed: Sandbox, version: int, data: bytes) -> None:
    """vm1 sends to the group, further than its own network."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(bed.ports["vm1"].netns):
        sender = socket.socket(family, socket.SOCK_DGRAM)
        index = socket.if_nametoindex("eth0")
    with sender:
        if version == 4:
            request = struct.pack("4s4si", bytes(4), bytes(4), index)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 8)
        else:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 8)
        sender.sendto(data, (GROUP[version], PORT))


def reaches(
    bed: Sandbox, version: int, data: bytes, *wanted: Member, spare: traffic.Wire | None = None
) -> bool:
    """Whether all of them get it, and who is not to; see traffic.obeyed."""
    patience = traffic.AGAIN if bed.topology.mixed else traffic.ARRIVES

    def reached() -> bool:
        if spare is not None:
            spare.frames()
        cast(bed, version, data)
        there = all(member.receives(data, patience) for member in wanted)
        return there and not (spare and any(data in frame for frame in spare.frames()))

    return traffic.obeyed(bed, reached)


def test_members_alone_get_it(bed: Sandbox, joined: ExitStack, version: int) -> None:
    """On both chassis, and across the router, which asks on the far switch's behalf."""
    made = join(bed, joined, version, "vm2", "vm3", "vm5")
    wait_members(bed, version, {"vm2", "vm3", "vm5"})
    with traffic.Wire(bed.ports["vm4"].netns, "eth0") as wire:
        assert reaches(bed, version, b"one", *made.values())
        made["vm2"].close()
        wait_members(bed, version, {"vm3", "vm5"})
        with traffic.Wire(bed.ports["vm2"].netns, "eth0") as left:
            assert reaches(bed, version, b"two", made["vm3"], made["vm5"], spare=left)
        assert all(b"one" not in f and b"two" not in f for f in wire.frames())


def flush(bed: Sandbox, version: int) -> None:
    """More than once: hosts say twice that they join, up to a second later."""

    def flushed() -> bool:
        bed.sbctl("ip-multicast-flush", "sw0")
        bed.nbctl("--wait=hv", "sync")
        return not members(bed, GROUP[version])

    wait_until(flushed, PATIENCE, f"flush of {GROUP[version]}")


def test_a_flush_forgets_all(bed: Sandbox, joined: ExitStack, version: int) -> None:
    join(bed, joined, version, "vm2", "vm3")
    wait_members(bed, version, {"vm2", "vm3"})
    flush(bed, version)


def test_a_port_that_is_unplugged_is_no_member(
    bed: Sandbox, joined: ExitStack, version: int, kind: str
) -> None:
    """ovn-controller waits until it has not been heard of for minutes."""
    join(bed, joined, version, "vm2", "vm3")
    wait_members(bed, version, {"vm2", "vm3"})
    bed.unplug("vm2")
    if kind == "oracle":
        flush(bed, version)
    else:
        wait_members(bed, version, {"vm3"})
    bed.plug("vm2", "hv1")


def test_members_outlive_the_agent(
    bed: Sandbox, joined: ExitStack, version: int, kind: str
) -> None:
    """ovn-controller forgets them, and they have to say it again; which the second word
    of theirs, up to a second behind the first, may be.
    """
    made = join(bed, joined, version, "vm2", "vm3")
    wait_members(bed, version, {"vm2", "vm3"})
    chassis = bed.chassis["hv1"]
    chassis.stop_agent(signal.SIGKILL)
    if kind != "oracle":
        assert reaches(bed, version, b"dead", *made.values())
    chassis.start_agent()
    bed.sync()
    if kind == "oracle":
        assert "vm3" in members(bed, GROUP[version])
        return
    bed.nbctl("--wait=hv", "sync")
    assert reaches(bed, version, b"back", *made.values())
    assert members(bed, GROUP[version]) == {"vm2", "vm3"}


def frame_of(bed: Sandbox, version: int) -> bytes:
    """A query of a multicast router, vm4."""
    mac = bed.ports["vm4"].guest.mac
    if version == 4:
        ether = Ether(src=mac, dst="01:00:5e:00:00:01")
        return bytes(ether / IP(src="10.0.0.5", dst="224.0.0.1", ttl=1, proto=2) / IGMP_QUERY)
    ether = Ether(src=mac, dst="33:33:00:00:00:01")
    return bytes(ether / IPv6(src="fe80::5", dst="ff02::1", hlim=1) / ICMPv6MLQuery2())


def test_routers_get_everything(bed: Sandbox, joined: ExitStack, version: int) -> None:
    """Reports, and what is sent to groups."""
    with traffic.Wire(bed.ports["vm4"].netns, "eth0") as wire:
        wire.send(frame_of(bed, version))
        wait_until(lambda: members(bed, "mrouters") == {"vm4"}, PATIENCE, "vm4 as a router")
        bed.nbctl("--wait=hv", "sync")
        wire.frames()
        made = join(bed, joined, version, "vm2")
        group = socket.inet_pton(
            socket.AF_INET if version == 4 else socket.AF_INET6, GROUP[version]
        )
        assert wire.first(lambda frame: group in frame, PATIENCE), "no report"
        wait_members(bed, version, {"vm2"})
        assert reaches(bed, version, b"three", made["vm2"])
        assert wire.first(lambda frame: b"three" in frame, traffic.ARRIVES), "no traffic"
    bed.sbctl("ip-multicast-flush", "sw0")
    wait_until(lambda: members(bed, "mrouters") == set(), PATIENCE, "no routers")


def test_queries_are_as_the_rfcs_have_them(bed: Sandbox, version: int) -> None:
    settings = {
        "mcast_querier": "true",
        "mcast_eth_src": '"0e:00:00:00:00:99"',
        "mcast_ip4_src": "10.0.0.99",
        "mcast_ip6_src": '"fe80::99"',
        "mcast_query_interval": "1",
        "mcast_query_max_response": "2",
    }
    with traffic.Wire(bed.ports["vm4"].netns, "eth0") as wire:
        pairs = [f"other_config:{name}={value}" for name, value in settings.items()]
        bed.nbctl("set", "logical_switch", "sw0", *pairs)
        for _ in range(2):
            frame = wire.first(lambda f: query(f, version), PATIENCE)
            assert frame is not None
        packet = Ether(frame)
    bed.nbctl("set", "logical_switch", "sw0", "other_config:mcast_querier=false")
    assert packet.src == "0e:00:00:00:00:99"
    if version == 4:
        assert (packet[IP].src, packet[IP].dst, packet[IP].ttl) == ("10.0.0.99", "224.0.0.1", 1)
        # RFC 3376, section 4.1: type, delay in tenths, group, no sources.
        message = bytes(packet[IP].payload)[:12]
        kind, delay, _sum, group, _robust, interval, sources = struct.unpack("!BBH4sBBH", message)
        assert (kind, delay, group, sources) == (0x11, 20, bytes(4), 0)
        assert checksum(message) == 0
    else:
        assert (packet[IPv6].src, packet[IPv6].dst) == ("fe80::99", "ff02::1")
        assert packet[IPv6].hlim == 1 and packet.haslayer(RouterAlert)
        asked = packet[ICMPv6MLQuery2]
        assert (asked.mrd, asked.mladdr, asked.sources_number) == (2000, "::", 0)
        sent = asked.cksum
        del asked.cksum
        assert Ether(bytes(packet))[ICMPv6MLQuery2].cksum == sent


def query(frame: bytes, version: int) -> bool:
    """From the switch itself."""
    if frame[6:12] != bytes.fromhex("0e0000000099"):
        return False
    return frame[12:14] == (b"\x08\x00" if version == 4 else b"\x86\xdd")
