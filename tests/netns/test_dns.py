# SPDX-License-Identifier: Apache-2.0
"""Names of the Southbound's DNS rows are answered; other queries reach their server."""

from __future__ import annotations

import socket

import pytest
from scapy.layers.dns import DNS, DNSQR

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""


@pytest.fixture(scope="module", autouse=True)
def records(bed: Sandbox) -> None:
    records = {
        "vm.ovn.org": "10.0.0.4 10.0.0.5 aef0::4",
        "only4.ovn.org": "10.0.0.6",
        "4.0.0.10.in-addr.arpa": "vm.ovn.org",
    }
    text = ",".join(f'"{name}"="{value}"' for name, value in records.items())
    row = bed.nbctl("create", "DNS", f"records={{{text}}}")
    bed.nbctl("set", "logical_switch", "sw0", f"dns_records={row}")
    bed.nbctl("--wait=hv", "sync")


def ask(bed: Sandbox, name: str, kind: str, version: int) -> DNS | None:
    """The response, or None when there is none in time."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    address = bed.ports["vm2"].guest.address(version)
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(family, socket.SOCK_DGRAM)
    with client:
        client.settimeout(traffic.ARRIVES)
        client.connect((address, 53))
        for _ in range(tries(bed)):
            client.send(bytes(DNS(id=0x1234, rd=1, qd=DNSQR(qname=name, qtype=kind))))
            try:
                return DNS(client.recv(4096))
            except (TimeoutError, ConnectionRefusedError):
                continue
    return None


def tries(bed: Sandbox) -> int:
    """Queries a resolver sends: one is enough for ours, a packet-in of OVS's may be lost."""
    return 3 if bed.topology.mixed else 1


def answers(response: DNS | None) -> set[object]:
    assert response is not None and response.id == 0x1234 and response.rcode == 0
    return {record.rdata for record in response.an}


@pytest.mark.parametrize("version", [4, 6])
def test_names_are_answered(bed: Sandbox, version: int) -> None:
    assert answers(ask(bed, "vm.ovn.org", "A", version)) == {"10.0.0.4", "10.0.0.5"}
    assert answers(ask(bed, "VM.OVN.org", "AAAA", version)) == {"aef0::4"}
    assert answers(ask(bed, "vm.ovn.org", "ALL", version)) == {"10.0.0.4", "10.0.0.5", "aef0::4"}
    assert answers(ask(bed, "4.0.0.10.in-addr.arpa", "PTR", version)) == {b"vm.ovn.org."}


def heard(
    client: socket.socket, server: socket.socket, query: bytes, to: tuple[str, int], tries: int
) -> list[bytes]:
    """What the server receives of a query sent until something came, `tries` times at most."""
    for _ in range(tries):
        client.sendto(query, to)
        try:
            return [server.recv(4096)]
        except TimeoutError:
            continue
    return []


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("name", "asked"), [("else.ovn.org", "A"), ("vm.ovn.org", "MX"), ("only4.ovn.org", "AAAA")]
)
def test_other_queries_reach_their_server(
    bed: Sandbox, name: str, asked: str, version: int
) -> None:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    address = bed.ports["vm2"].guest.address(version)
    with netns.entered(bed.ports["vm2"].netns):
        server = socket.socket(family, socket.SOCK_DGRAM)
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(family, socket.SOCK_DGRAM)
    query = bytes(DNS(id=7, rd=1, qd=DNSQR(qname=name, qtype=asked)))
    with server, client:
        server.bind((address, 53))
        server.settimeout(traffic.ARRIVES)
        assert query in heard(client, server, query, (str(address), 53), tries(bed))
