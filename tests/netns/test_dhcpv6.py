# SPDX-License-Identifier: Apache-2.0
"""A guest gets its IPv6 address, and what else its options say, from DHCPv6."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers import dhcp6
from scapy.layers.inet6 import UDP, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv1}
"""
SERVER_MAC = "c0:ff:ee:00:00:01"
# As an EUI-64 makes it of the MAC: where the flows answer from.
SERVER = "fe80::c2ff:eeff:fe00:1"
OPTIONS = {"server_id": SERVER_MAC, "dns_server": "{fd00::53, fd00::54}", "domain_search": '"corp"'}
FOREVER = 0xFFFFFFFF
DUID = dhcp6.DUID_LL(lladdr="0a:00:00:00:00:77")


@pytest.fixture(scope="module", autouse=True)
def options(bed: Sandbox) -> None:
    dhcp.serve6(bed, OPTIONS, "vm1", "vm2")
    dhcp.serve6(bed, {**OPTIONS, "dhcpv6_stateless": "true"}, "vm3")


def test_a_real_client_is_configured(bed: Sandbox, tmp_path: Path) -> None:
    got = dhcp.dhclient(bed, "vm1", tmp_path, "-6")
    assert got["new_ip6_address"] == bed.ports["vm1"].guest.address(6)
    assert got["new_max_life"] == str(FOREVER)
    assert got["new_dhcp6_name_servers"] == "fd00::53 fd00::54"
    assert got["new_dhcp6_domain_search"] == "corp."


@pytest.mark.parametrize("port", ["vm2", "vm3"])
def test_a_real_client_asks_for_information_alone(bed: Sandbox, port: str, tmp_path: Path) -> None:
    got = dhcp.dhclient(bed, port, tmp_path, "-6", "-S")
    assert "new_ip6_address" not in got
    assert got["new_dhcp6_name_servers"] == "fd00::53 fd00::54"


def ask(bed: Sandbox, port: str, message: Packet, answered: bool = True) -> bytes | None:
    """The reply to one message of a guest; its client is DUID.

    answered: whether there should be one; else none is waited for.
    """
    mac = bed.ports[port].mac
    header = IPv6(src="fe80::77", dst="ff02::1:2", hlim=1) / UDP(sport=546, dport=547)
    frame = Ether(src=mac, dst="33:33:00:01:00:02") / header / message
    frame = frame / dhcp6.DHCP6OptClientId(duid=DUID)
    if not isinstance(message, dhcp6.DHCP6_InfoRequest):
        frame = frame / dhcp6.DHCP6OptIA_NA(iaid=0x01020304)
    with traffic.Wire(bed.ports[port].netns, "eth0") as wire:
        if answered:
            return traffic.asked(bed, wire, bytes(frame), is_reply)
        wire.send(bytes(frame))
        return wire.first(is_reply, traffic.ABSENT)


def is_reply(data: bytes) -> bool:
    return UDP in Ether(data) and Ether(data)[UDP].dport == 546


def expected(bed: Sandbox, kind: int, *, address: bool) -> bytes:
    """The reply to the last byte, with a transaction of 0xabcdef."""
    port = bed.ports["vm1"]
    address6 = IPv6(dst=port.ip6).dst
    message = bytes((kind,)) + bytes.fromhex("abcdef") + bytes(dhcp6.DHCP6OptClientId(duid=DUID))
    # The flow has its options in the order of their names.
    parts = [bytes(dhcp6.DHCP6OptDNSServers(dnsservers=["fd00::53", "fd00::54"]))]
    parts.append(bytes.fromhex("00180006 04636f7270 00".replace(" ", "")))
    if address:
        lease = dhcp6.DHCP6OptIAAddress(addr=address6, preflft=FOREVER, validlft=FOREVER)
        parts.append(
            bytes(dhcp6.DHCP6OptIA_NA(iaid=0x01020304, T1=FOREVER, T2=FOREVER, ianaopts=[lease]))
        )
    parts.append(bytes(dhcp6.DHCP6OptServerId(duid=dhcp6.DUID_LL(lladdr=SERVER_MAC))))
    return message + b"".join(parts)


ANSWERED = [
    (dhcp6.DHCP6_Solicit, 2, True),
    (dhcp6.DHCP6_Request, 7, True),
    (dhcp6.DHCP6_Confirm, 7, True),
    (dhcp6.DHCP6_Decline, 7, True),
    (dhcp6.DHCP6_InfoRequest, 7, False),
]


@pytest.mark.parametrize(("message", "reply_type", "address"), ANSWERED)
def test_replies_are_the_oracle_s_to_the_byte(
    bed: Sandbox, message: type[Packet], reply_type: int, address: bool
) -> None:
    frame = ask(bed, "vm1", message(trid=0xABCDEF))
    assert frame is not None
    reply = Ether(frame)
    assert (reply.src, reply.dst) == (SERVER_MAC, bed.ports["vm1"].mac)
    assert (reply[IPv6].src, reply[IPv6].dst) == (SERVER, "fe80::77")
    assert (reply[UDP].sport, reply[UDP].dport) == (547, 546)
    wire, wanted = bytes(reply[UDP].payload), expected(bed, reply_type, address=address)
    assert sorted_options(wire) == sorted_options(wanted)
    assert len(wire) == len(wanted) == reply[UDP].len - 8
    sent = reply[UDP].chksum
    del reply[UDP].chksum
    assert Ether(bytes(reply))[UDP].chksum == sent


def sorted_options(message: bytes) -> tuple[bytes, list[bytes]]:
    """northd may write the options in any order."""
    found, at = [], 4
    while at < len(message):
        end = at + 4 + int.from_bytes(message[at + 2 : at + 4], "big")
        found.append(message[at:end])
        at = end
    return message[:4], sorted(found)


@pytest.mark.parametrize("message", [dhcp6.DHCP6_Renew, dhcp6.DHCP6_Rebind])
def test_an_address_for_ever_is_not_renewed(bed: Sandbox, message: type[Packet]) -> None:
    assert ask(bed, "vm1", message(trid=1), False) is None


def test_a_release_is_confirmed(bed: Sandbox, kind: str) -> None:
    if kind == "oracle":  # 23.03 does not answer; 23.09 does
        assert ask(bed, "vm1", dhcp6.DHCP6_Release(trid=1), False) is None
        return
    frame = ask(bed, "vm1", dhcp6.DHCP6_Release(trid=1))
    assert frame is not None
    reply = Ether(frame)[dhcp6.DHCP6_Reply]
    assert reply[dhcp6.DHCP6OptStatusCode].statuscode == 0
    assert dhcp6.DHCP6OptServerId in reply and dhcp6.DHCP6OptIA_NA not in reply


def test_stateless_mode_gives_no_address(bed: Sandbox) -> None:
    frame = ask(bed, "vm3", dhcp6.DHCP6_InfoRequest(trid=1))
    assert frame is not None
    reply = Ether(frame)[dhcp6.DHCP6_Reply]
    assert reply[dhcp6.DHCP6OptDNSServers].dnsservers == ["fd00::53", "fd00::54"]
    assert dhcp6.DHCP6OptIA_NA not in reply


def test_a_search_list_is_one_that_resolvers_take(bed: Sandbox, kind: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "domain_search": '"example.org,sub.example.org"'}
    dhcp.serve6(bed, options, "vm2")
    got = dhcp.dhclient(bed, "vm2", tmp_path, "-6", "-S").get("new_dhcp6_domain_search")
    # The oracle makes one label of the whole text, which clients throw away.
    assert got == (None if kind == "oracle" else "example.org. sub.example.org.")
