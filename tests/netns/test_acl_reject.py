# SPDX-License-Identifier: Apache-2.0
"""ACLs that reject: the sender is told at once, in words that its kernel believes.

vm1 and vm2 share a chassis, vm3 is on another, vm4 behind a router.  "from" rejects
at the sender's port (TCP 80, UDP 90), "to" at the receiver's (TCP 84, UDP 94).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk, traffic
from tests.support.balancers import address, change, remove_all

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
port_groups: {pg: [vm1, vm2, vm3]}
$guarded
"""
VERSIONS = (4, 6)
PAIRS = (("vm1", "vm2"), ("vm1", "vm3"), ("vm3", "vm2"))
#: (protocol, port): who rejects it
REJECTED = {("tcp", 80): "from", ("udp", 90): "from", ("tcp", 84): "to", ("udp", 94): "to"}
OPEN = 82


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    """Everybody would answer on every port."""
    talk.warm(bed, ("vm1", "vm3"), ("vm2", "vm3"), ("vm1", "vm4"))
    with servers.Servers(bed) as everybody:
        for guest in bed.ports:
            everybody.serve(guest, OPEN, *(port for _, port in REJECTED))
        yield


@pytest.fixture(scope="module", params=["before-lb", "after-lb"])
def rejecting(bed: Sandbox, request: pytest.FixtureRequest) -> Iterator[None]:
    """The port group's ACLs, those of senders before or after load balancing.

    Those that reject are logged, too, which must not be in the way.
    """
    option = ["--apply-after-lb"] if request.param == "after-lb" else []
    rows = [
        ("from-lport", 1001, "inport == @pg && ip", "drop"),
        ("to-lport", 1001, "outport == @pg && ip", "drop"),
        ("from-lport", 1002, "inport == @pg && ip", "allow-related"),
        ("to-lport", 1002, f"outport == @pg && tcp.dst == {OPEN}", "allow-related"),
        ("to-lport", 1002, f"outport == @pg && udp.dst == {OPEN}", "allow-related"),
    ]
    for (protocol, port), side in REJECTED.items():
        direction, port_group = {
            "from": ("from-lport", "inport == @pg"),
            "to": ("to-lport", "outport == @pg"),
        }[side]
        rows.append((direction, 1004, f"{port_group} && {protocol}.dst == {port}", "reject"))
    command: list[str] = []
    for direction, priority, match, action in rows:
        options = [
            *(option if direction == "from-lport" else []),
            *["--log"] * (action == "reject"),
        ]
        command += ["--", "--type=port-group", *options, "acl-add", "pg", direction]
        command += [str(priority), match, action]
    change(bed, *command[1:])
    yield
    remove_all(bed)
    bed.nbctl("pg-add", "pg", "vm1", "vm2", "vm3")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("protocol", "port"), REJECTED)
def test_the_sender_is_told(
    bed: Sandbox, rejecting: None, protocol: str, port: int, version: int
) -> None:
    for source, target in PAIRS:
        assert servers.refused(bed, source, address(bed, target, version), port, protocol)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sender_behind_a_router_is_told(bed: Sandbox, rejecting: None, version: int) -> None:
    for target in ("vm1", "vm3"):
        host = address(bed, target, version)
        assert servers.refused(bed, "vm4", host, 84)
        assert servers.refused(bed, "vm4", host, 94, "udp")
        assert servers.visit(bed, "vm4", host, OPEN)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_what_is_not_rejected_passes(
    bed: Sandbox, rejecting: None, protocol: str, version: int
) -> None:
    for source, target in PAIRS:
        assert servers.visit(bed, source, address(bed, target, version), OPEN, protocol)


def heard(bed: Sandbox, question: Packet, kind: type[Packet]) -> Packet:
    """The first answer of this kind to a frame that vm1 sends to vm2."""
    link = Ether(src=bed.ports["vm1"].mac, dst=bed.ports["vm2"].mac)
    with traffic.Wire(bed.ports["vm1"].netns, "eth0") as wire:
        mac = bytes.fromhex(bed.ports["vm2"].mac.replace(":", ""))

        def answers(frame: bytes) -> bool:
            return frame[6:12] == mac and kind in Ether(frame)

        frame = traffic.asked(bed, wire, bytes(link / question), answers)
    assert frame is not None
    return Ether(frame)


def network(bed: Sandbox, version: int) -> Packet:
    """The IP header of a packet from vm1 to vm2."""
    vm1, vm2 = (address(bed, name, version) for name in ("vm1", "vm2"))
    return IP(src=vm1, dst=vm2) if version == 4 else IPv6(src=vm1, dst=vm2)


def true_sums(answer: Packet) -> bool:
    """Whether the checksums are those that scapy computes; a quoted packet's is its own."""
    again: Any = answer.copy()
    layer = again.payload
    while layer:
        for name in {"chksum", "cksum"} & layer.fields.keys():
            delattr(layer, name)
        layer = None if isinstance(layer, ICMP | ICMPv6DestUnreach) else layer.payload
    return bytes(again) == bytes(answer)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("port", [80, 84])
def test_a_reset_answers_the_syn(bed: Sandbox, rejecting: None, port: int, version: int) -> None:
    conntrack.flush(bed)
    syn = TCP(sport=40000 + port, dport=port, seq=1000, flags="S")
    reset = heard(bed, network(bed, version) / syn, TCP)
    ip = reset[IP] if version == 4 else reset[IPv6]
    assert (ip.src, ip.dst) == (address(bed, "vm2", version), address(bed, "vm1", version))
    tcp = reset[TCP]
    assert (tcp.sport, tcp.dport, tcp.flags) == (port, 40000 + port, "RA")
    assert (tcp.seq, tcp.ack) == (0, 1001)
    assert true_sums(reset)


@pytest.mark.parametrize("port", [90, 94])
def test_port_unreachable_quotes_the_datagram(bed: Sandbox, rejecting: None, port: int) -> None:
    conntrack.flush(bed)
    datagram = network(bed, 4) / UDP(sport=40000, dport=port) / Raw(b"to be quoted")
    error = heard(bed, datagram, ICMP)
    assert (error[IP].src, error[IP].dst) == (bed.ports["vm2"].ip4, bed.ports["vm1"].ip4)
    assert (error[ICMP].type, error[ICMP].code) == (3, 3)
    quoted = bytes(error[ICMP].payload)
    assert quoted[:28] == bytes(datagram)[:28]
    assert true_sums(error)


@pytest.mark.parametrize("port", [90, 94])
def test_ipv6_port_unreachable_quotes_the_datagram(
    bed: Sandbox, rejecting: None, port: int
) -> None:
    conntrack.flush(bed)
    datagram = network(bed, 6) / UDP(sport=40000, dport=port) / Raw(b"to be quoted")
    error = heard(bed, datagram, ICMPv6DestUnreach)
    assert (error[IPv6].src, error[IPv6].dst) == (bed.ports["vm2"].ip6, bed.ports["vm1"].ip6)
    assert error[ICMPv6DestUnreach].code == 4
    assert bytes(error[ICMPv6DestUnreach].payload) == bytes(datagram)
    assert true_sums(error)


def gets_through(connection: servers.Connection) -> bool:
    try:
        return connection.says(servers.ABSENT)
    except ConnectionResetError:
        return False


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_nothing_passes_an_established_connection_any_more(
    bed: Sandbox, rejecting: None, target: str, version: int
) -> None:
    """The ACL comes when the connection is there already.

    Whether the client is told is left open: the reset of OVN 23.03 has sequence
    number 0, which the tracker of the client's port takes for invalid.
    """
    match = f"outport == @pg && tcp.dst == {OPEN}"
    with servers.Connection(bed, "vm1", address(bed, target, version), OPEN) as connection:
        assert connection.says()
        change(bed, "--type=port-group", "acl-add", "pg", "to-lport", "1005", match, "reject")
        try:
            assert not gets_through(connection)
            assert servers.refused(bed, "vm1", address(bed, target, version), OPEN)
        finally:
            change(bed, "--type=port-group", "acl-del", "pg", "to-lport", "1005", match)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("protocol", servers.BOTH)
def test_one_acl_rejects_all_protocols(
    bed: Sandbox, rejecting: None, protocol: str, version: int
) -> None:
    acl = ("pg", "from-lport", "1006", "inport == @pg && ip && (tcp || udp)")
    change(bed, "--type=port-group", "acl-add", *acl, "reject")
    try:
        for source, target in PAIRS:
            assert servers.refused(bed, source, address(bed, target, version), OPEN, protocol)
    finally:
        change(bed, "--type=port-group", "acl-del", *acl)
