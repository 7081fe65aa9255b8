# SPDX-License-Identifier: Apache-2.0
"""A guest gets its address, and what else its options say, from DHCPv4."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, traffic

TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""
SERVER, SERVER_MAC = "10.0.0.1", "c0:ff:ee:00:00:01"
OPTIONS = {
    "server_id": SERVER,
    "server_mac": SERVER_MAC,
    "lease_time": "3600",
    "router": SERVER,
    "dns_server": "{10.0.0.53, 10.0.0.54}",
    "mtu": "1400",
    "domain_name": '"example.org"',
    "classless_static_route": "{172.16.0.0/12,10.0.0.9, 0.0.0.0/0,10.0.0.1}",
}


@pytest.fixture(scope="module", autouse=True)
def options(bed: Sandbox) -> None:
    dhcp.serve(bed, OPTIONS, "vm1", "vm2")


def test_a_real_client_is_configured(bed: Sandbox, tmp_path: Path) -> None:
    got = dhcp.client(bed, "vm1", tmp_path)
    assert got["ip"] == bed.ports["vm1"].guest.address(4)
    assert got["serverid"] == SERVER
    assert got["mask"] in ("24", "255.255.255.0")
    assert got["dns"] == "10.0.0.53 10.0.0.54"
    assert (got["mtu"], got["domain"], got["lease"]) == ("1400", "example.org", "3600")
    assert got["staticroutes"] == "172.16.0.0/12 10.0.0.9 0.0.0.0/0 10.0.0.1"


def ask(bed: Sandbox, kind: str, **fields: object) -> Packet:
    """The reply to one request of vm2."""
    port = bed.ports["vm2"]
    mac = bytes.fromhex(port.mac.replace(":", ""))
    flags = fields.pop("flags", 0)
    ciaddr = fields.pop("ciaddr", "0.0.0.0")
    message = BOOTP(chaddr=mac, xid=7, flags=flags, ciaddr=ciaddr) / DHCP(
        options=[("message-type", kind), *fields.items(), "end"]
    )
    header = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    frame = Ether(src=port.mac, dst="ff:ff:ff:ff:ff:ff") / header / message
    with traffic.Wire(port.netns, "eth0") as wire:
        wire.send(bytes(frame))
        reply = wire.first(
            lambda data: DHCP in Ether(data) and Ether(data)[BOOTP].op == 2, traffic.ARRIVES
        )
    assert reply is not None
    return Ether(reply)


def told(reply: Packet) -> dict[str, object]:
    return dict(o[:2] for o in reply[DHCP].options if isinstance(o, tuple))


def test_an_offer_is_addressed_as_asked(bed: Sandbox) -> None:
    address = bed.ports["vm2"].guest.address(4)
    for flags, destination in ((0, address), (0x8000, "255.255.255.255")):
        offer = ask(bed, "discover", flags=flags)
        assert told(offer)["message-type"] == 2
        assert (offer[BOOTP].yiaddr, offer[IP].dst) == (address, destination)
        assert (offer.src, offer[IP].src) == (SERVER_MAC, SERVER)
        assert (offer[UDP].sport, offer[UDP].dport) == (67, 68)


def test_a_request_for_another_address_is_refused(bed: Sandbox) -> None:
    nak = ask(bed, "request", requested_addr="10.0.0.200")
    assert told(nak)["message-type"] == 6
    assert nak[BOOTP].yiaddr == "0.0.0.0"


def test_an_inform_gets_options_and_no_lease(bed: Sandbox) -> None:
    ack = ask(bed, "inform", ciaddr=bed.ports["vm2"].guest.address(4))
    assert told(ack)["message-type"] == 5
    assert ack[BOOTP].yiaddr == "0.0.0.0"
    assert "lease_time" not in told(ack) and "name_server" in told(ack)
