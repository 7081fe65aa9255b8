# SPDX-License-Identifier: Apache-2.0
"""DHCPv4 through a relay, with the flows that ovn-northd 26.03 writes for it."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.datapath.punts import Punts
from ovn_bpf_controller.slowpath.all_duties import duties
from ovn_bpf_controller.slowpath.knowledge import Knowledge, Teacher
from ovn_bpf_controller.slowpath.service import Service
from tests.support.dataplane import DEADLINE, Bed, bed, mac, reason

RELAY, SERVER, CLIENT = "10.0.0.1", "172.16.0.1", "10.0.0.5"
REQUEST = 'inport == "vm1" && ip4.dst == 255.255.255.255 && udp.src == 68 && udp.dst == 67'
REPLY = f"ip4.src == {SERVER} && udp.src == 67 && udp.dst == 67"
HERE = f"ip4.dst == {RELAY}"
# Port 1 is the client's side of a router, port 2 the server's.
FLOWS = (
    (0, 110, REQUEST, f"reg9[7] = dhcp_relay_req_chk({RELAY}, {SERVER}); next;"),
    (0, 110, f"{REPLY} && {HERE}", "next;"),
    (
        1,
        100,
        f"{REQUEST} && reg9[7]",
        f"ip4.src = {RELAY}; ip4.dst = {SERVER}; udp.src = 67; next;",
    ),
    (1, 1, f"{REQUEST} && reg9[7] == 0", "drop;"),
    (1, 0, "1", "next;"),
    (2, 50, f"ip4.dst == {SERVER}", 'outport = "vm2"; output;'),
    (
        2,
        100,
        f"{REPLY} && {HERE}",
        f"reg2 = ip4.dst; reg9[8] = dhcp_relay_resp_chk({RELAY}, {SERVER}); next;",
    ),
    (
        3,
        100,
        f"{REPLY} && reg2 == {RELAY} && reg9[8]",
        f'ip4.src = {RELAY}; udp.dst = 68; outport = "vm1"; output;',
    ),
    (3, 1, f"{REPLY} && reg2 == {RELAY} && reg9[8] == 0", "drop;"),
)


@pytest.fixture
def plane() -> Iterator[Bed]:
    with bed() as made:
        made.plug(1, 2)
        for table, priority, match, actions in FLOWS:
            made.flow(0, table, priority, match, actions)
        made.flow(1, 0, 0, "1", "output;")
        made.flows_live()
        yield made


class Loop:
    """The process's loop, as far as one packet needs it."""

    def __init__(self, plane: Bed) -> None:
        maps = plane.plane.maps
        self.punts = Punts(maps, plane.plane.programs["ovn_resume"], plane.plane.directory)
        known = Knowledge()
        arguments = {str(n): text for n, text in plane.compiler.arguments().items()}
        known.learn(line(arguments))
        self._agent, ours = socket.socketpair()
        self._teacher = Teacher(ours.detach(), known)
        self.service = Service(self.punts, self._teacher, known, duties(maps))

    def close(self) -> None:
        self.punts.close()
        self._agent.close()
        os.close(self._teacher.fd)

    def serve(self) -> None:
        """The next packet."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            for punt in self.punts.read(1):
                self.service.serve(punt)
                return
            select.select(self.punts.fds, [], [], 0.1)
        raise AssertionError("nothing came")


def line(arguments: dict[str, str]) -> bytes:
    return json.dumps({"arguments": arguments, "lesson": 1}).encode()


@pytest.fixture
def loop(plane: Bed) -> Iterator[Loop]:
    made = Loop(plane)
    yield made
    made.close()


def request(**fields: object) -> bytes:
    message = BOOTP(chaddr=bytes.fromhex(mac(1).replace(":", "")), xid=7, hops=3, **fields)
    options = DHCP(options=[("message-type", "discover"), "end"])
    network = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    return bytes(Ether(src=mac(1), dst=mac(9)) / network / message / options)


def reply(server: str = SERVER, giaddr: str = RELAY, yiaddr: str = CLIENT, flags: int = 0) -> bytes:
    chaddr = bytes.fromhex(mac(1).replace(":", ""))
    message = BOOTP(op=2, chaddr=chaddr, giaddr=giaddr, yiaddr=yiaddr, flags=flags)
    options = [("message-type", "offer"), ("server_id", server), ("subnet_mask", "255.255.255.0")]
    network = IP(src=SERVER, dst=RELAY) / UDP(sport=67, dport=67)
    frame = Ether(src=mac(2), dst=mac(9)) / network / message
    return bytes(frame / DHCP(options=[*options, "end"]))


def right(frame: bytes) -> Packet:
    """The frame as scapy sees it; its checksums are what scapy makes of it."""
    packet = Ether(frame)
    sent = packet[IP].chksum, packet[UDP].chksum
    del packet[IP].chksum, packet[UDP].chksum
    again = Ether(bytes(packet))
    assert sent == (again[IP].chksum, again[UDP].chksum)
    return packet


def test_a_request_reaches_the_server_with_the_relay_s_address(plane: Bed, loop: Loop) -> None:
    plane.send("p1", request())
    loop.serve()
    [(port, frame)] = plane.received(1)
    packet = right(frame)
    assert port == "p2" and (packet[IP].src, packet[IP].dst) == (RELAY, SERVER)
    assert (packet[UDP].sport, packet[UDP].dport) == (67, 67)
    assert (packet[BOOTP].giaddr, packet[BOOTP].hops, packet[BOOTP].xid) == (RELAY, 4, 7)


def test_a_request_that_is_relayed_already_is_dropped(plane: Bed, loop: Loop) -> None:
    plane.send("p1", request(giaddr="10.0.0.7"))
    loop.serve()
    assert plane.dropped(reason("DROP_ACTION")) == 1
    assert loop.service.counts["DHCP message that is relayed already"] == 1


@pytest.mark.parametrize(("flags", "address"), [(0, CLIENT), (0x8000, "255.255.255.255")])
def test_a_reply_reaches_the_client(plane: Bed, loop: Loop, flags: int, address: str) -> None:
    plane.send("p2", reply(flags=flags))
    loop.serve()
    [(port, frame)] = plane.received(1)
    packet = right(frame)
    assert port == "p1" and packet.dst == mac(1)
    assert (packet[IP].src, packet[IP].dst) == (RELAY, address)
    assert (packet[UDP].sport, packet[UDP].dport) == (67, 68)


@pytest.mark.parametrize(
    "frame",
    [reply(server="172.16.0.9"), reply(giaddr="10.0.0.9"), reply(yiaddr="10.0.1.5")],
    ids=["server", "relay", "subnet"],
)
def test_a_reply_that_is_not_ours_is_dropped(plane: Bed, loop: Loop, frame: bytes) -> None:
    plane.send("p2", frame)
    loop.serve()
    assert plane.dropped(reason("DROP_ACTION")) == 1
