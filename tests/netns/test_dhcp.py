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
from ovn_bpf_controller.slowpath.dhcpv4 import parse
from tests.support import dhcp, traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv1}
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
        reply = traffic.asked(
            bed,
            wire,
            bytes(frame),
            lambda data: DHCP in Ether(data) and Ether(data)[BOOTP].op == 2,
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


# An option of each type of DHCP_Options, and how it looks (RFC 2132, 3397, 3442).
ALL = {
    "netmask": ("255.255.255.0", 1, "ffffff00"),
    "router": ("{10.0.0.1, 10.0.0.2}", 3, "0a000001 0a000002"),
    "hostname": ('"vm3"', 12, "766d33"),
    "ip_forward_enable": ("1", 19, "01"),
    "default_ttl": ("99", 23, "63"),
    "mtu": ("1400", 26, "0578"),
    "broadcast_address": ("10.0.0.255", 28, "0a0000ff"),
    "lease_time": ("3600", 51, "00000e10"),
    "server_id": (SERVER, 54, "0a000001"),
    "T1": ("1800", 58, "00000708"),
    "tftp_server": ('"tftp.org"', 66, "746674702e6f7267"),
    "domain_search_list": (
        '"abc.com,xyz.abc.com"',
        119,
        "03616263 03636f6d 00 0378797a c000",
    ),
    "classless_static_route": (
        "{172.16.0.0/12,10.0.0.9, 0.0.0.0/0,10.0.0.1}",
        121,
        "0c ac10 0a000009 00 0a000001",
    ),
    "tftp_server_address": ("{10.0.0.7, 10.0.0.8}", 150, "0a000007 0a000008"),
    "next_server": ("10.0.0.66", 253, "0a000042"),
    "wpad": ('"http://10.0.0.1/wpad"', 252, "687474703a2f2f31302e302e302e312f77706164"),
}
BOOT = {"bootfile_name": '"ipxe.efi"', "bootfile_name_alt": '"other.efi"'}


@pytest.mark.parametrize("ipxe", [False, True])
def test_options_of_every_type_are_the_oracle_s_to_the_byte(
    bed: Sandbox, kind: str, ipxe: bool
) -> None:
    said = {name: value for name, (value, _, _) in ALL.items()}
    dhcp.serve(bed, {**said, **BOOT, "server_mac": SERVER_MAC}, "vm3")
    port = bed.ports["vm3"]
    asked = [("message-type", "discover"), *([(175, b"\1")] if ipxe else []), "end"]
    message = BOOTP(chaddr=bytes.fromhex(port.mac.replace(":", "")), xid=7) / DHCP(options=asked)
    header = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    question = bytes(Ether(src=port.mac, dst="ff:ff:ff:ff:ff:ff") / header / message)
    with traffic.Wire(port.netns, "eth0") as wire:
        frame = traffic.asked(bed, wire, question, lambda data: b"abc" in data and data[42] == 2)
    assert frame is not None
    options = frame[282:]
    # What is for booting comes first, and then what the flow says, in any order.
    boot = b"\x43" + (b"\x08ipxe.efi" if ipxe else b"\x09other.efi")
    assert options[:3] == b"\x35\x01\x02" and options[3 : 3 + len(boot)] == boot
    found = {code: value.hex() for code, value in parse(options).items()}
    wanted = {code: value.replace(" ", "") for _, code, value in ALL.values()}
    assert found == {53: "02", 67: boot[2:].hex()} | wanted
    assert options.endswith(bytes(4) + b"\xff" + bytes(4))
    # The oracle loses its place among the options when it drops the other boot file.
    if not (ipxe and kind == "oracle"):
        assert Ether(frame)[BOOTP].siaddr == "10.0.0.66"
