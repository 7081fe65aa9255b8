# SPDX-License-Identifier: Apache-2.0
"""What port security lets a host send and get, string by string (ovn-nb(5))."""

from __future__ import annotations

import ipaddress

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.layout import pack
from ovn_bpf_controller.compile.port_security import (
    IN,
    OUT,
    Entry,
    Masked,
    default_rules,
    expand,
    instructions,
    parse_entry,
)
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.model import Rule
from tests.support.machine import Machine, Words

DP, PORT = 5, 3
MAC = "0a:00:00:00:00:01"
OTHER = "0a:00:00:00:00:02"
VRRP4 = "00:00:5e:00:01:05"
VRRP6 = "00:00:5e:00:02:05"
LLA = "fe80::800:ff:fe00:1"


def number(value: str | int) -> int:
    """A MAC or IP address as a number."""
    if isinstance(value, int):
        return value
    if value.count(":") == 5 and "::" not in value:
        return int(value.replace(":", ""), 16)
    return int(ipaddress.ip_address(value))


def machine(*port_security: str) -> Machine:
    rules, errors = expand(PORT, port_security)
    assert not errors
    made = []
    for rule in [*rules, *default_rules()]:
        key = pack(rule.conj)
        assert key is not None, rule
        insns = instructions(rule.verdict)
        made.append(Rule(DP, rule.table, rule.priority, key.mask, key.values, insns, 0))
    return Machine(made)


def allowed(m: Machine, table: int, port: int, packet: dict[str, str | int]) -> bool:
    words = Words()
    words[lib.OW_DP] = DP
    words["inport" if table == IN else "outport"] = port
    # Whatever the last check left must not matter.
    words[lib.OW_RESULT] = 0xFFFFFFFF
    for name, value in packet.items():
        words[name.replace("__", ".")] = number(value)
    m.events = []
    m.stage(words, table)
    assert not m.events, "a side table dropped the packet itself"
    return not words[lib.OW_RESULT] & lib.OVN_RES_DROP


def eth(src: str, eth_type: int, **fields: str | int) -> dict[str, str | int]:
    return {"eth.src": src, "eth.type": eth_type, **fields}


def ip4(src_mac: str, src: str, dst: str = "10.0.0.9", **fields: str | int) -> dict[str, str | int]:
    return eth(src_mac, 0x0800, ip4__src=src, ip4__dst=dst, ip__ttl=64, **fields)


def ip6(src_mac: str, src: str, dst: str = "fd00::9", **fields: str | int) -> dict[str, str | int]:
    return eth(src_mac, 0x86DD, ip6__src=src, ip6__dst=dst, **({"ip__ttl": 64} | fields))


def arp(src_mac: str, sha: str, spa: str, op: int = 1) -> dict[str, str | int]:
    return eth(src_mac, 0x0806, arp__op=op, arp__sha=sha, arp__spa=spa)


def ns(src_mac: str, src: str, sll: str | int = 0, **fields: str | int) -> dict[str, str | int]:
    kind = {"ip__proto": 58, "icmp6__type": 135, "nd__sll": sll, "ip__ttl": 255}
    dst = str(fields.pop("ip6__dst", "ff02::1:ff00:9"))
    return ip6(src_mac, src, dst, **(kind | fields))


def na(src_mac: str, src: str, target: str, tll: str | int = 0) -> dict[str, str | int]:
    kind: dict[str, str | int] = {"ip__proto": 58, "icmp6__type": 136, "ip__ttl": 255}
    return ip6(src_mac, src, "fd00::9", nd__target=target, nd__tll=tll, **kind)


DHCP = {"ip__proto": 17, "udp__src": 68, "udp__dst": 67}


@pytest.mark.parametrize(
    ("port_security", "packet", "verdict"),
    [
        # A MAC alone: any address, but no other MAC anywhere.
        ([MAC], ip4(MAC, "10.0.0.1"), True),
        ([MAC], ip6(MAC, "fd00::1"), True),
        ([MAC], eth(MAC, 0x8899), True),
        ([MAC], ip4(OTHER, "10.0.0.1"), False),
        ([MAC], eth(OTHER, 0x8899), False),
        ([MAC], arp(MAC, MAC, "10.0.0.1"), True),
        ([MAC], arp(MAC, OTHER, "10.0.0.1"), False),
        ([MAC], arp(OTHER, MAC, "10.0.0.1"), False),
        ([MAC], ns(MAC, "fd00::1", MAC), True),
        ([MAC], ns(MAC, "fd00::1", 0), True),
        ([MAC], ns(MAC, "fd00::1", OTHER), False),
        ([MAC], na(MAC, "fd00::1", "fd00::1", MAC), True),
        ([MAC], na(MAC, "fd00::1", "fd00::7", 0), True),
        ([MAC], na(MAC, "fd00::1", "fd00::1", OTHER), False),
        # An IPv4 address: IPv4 and ARP with it, no IPv6.
        ([f"{MAC} 10.0.0.1"], ip4(MAC, "10.0.0.1"), True),
        ([f"{MAC} 10.0.0.1"], ip4(MAC, "10.0.0.2"), False),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "10.0.0.1"), False),
        ([f"{MAC} 10.0.0.1"], ip6(MAC, "fd00::1"), False),
        ([f"{MAC} 10.0.0.1"], ip6(MAC, LLA), False),
        ([f"{MAC} 10.0.0.1"], eth(MAC, 0x8899), False),
        ([f"{MAC} 10.0.0.1"], arp(MAC, MAC, "10.0.0.1"), True),
        ([f"{MAC} 10.0.0.1"], arp(MAC, MAC, "10.0.0.2"), False),
        ([f"{MAC} 10.0.0.1"], arp(MAC, OTHER, "10.0.0.1"), False),
        ([f"{MAC} 10.0.0.1"], arp(OTHER, MAC, "10.0.0.1"), False),
        ([f"{MAC} 10.0.0.1"], arp(MAC, MAC, "0.0.0.0"), False),
        # DHCP before there is an address.
        ([f"{MAC} 10.0.0.1"], ip4(MAC, "0.0.0.0", "255.255.255.255", **DHCP), True),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "0.0.0.0", "255.255.255.255", **DHCP), False),
        ([f"{MAC} 10.0.0.1"], ip4(MAC, "0.0.0.0", "10.0.0.255", **DHCP), False),
        (
            [f"{MAC} 10.0.0.1"],
            ip4(MAC, "0.0.0.0", "255.255.255.255", **(DHCP | {"udp__src": 67})),
            False,
        ),
        # A host address with a prefix length means that host only ...
        ([f"{MAC} 10.0.0.1/24"], ip4(MAC, "10.0.0.1"), True),
        ([f"{MAC} 10.0.0.1/24"], ip4(MAC, "10.0.0.2"), False),
        ([f"{MAC} 10.0.0.1/24"], arp(MAC, MAC, "10.0.0.2"), False),
        # ... a network means all of it.
        ([f"{MAC} 10.0.0.0/24"], ip4(MAC, "10.0.0.2"), True),
        ([f"{MAC} 10.0.0.0/24"], ip4(MAC, "10.0.1.2"), False),
        ([f"{MAC} 10.0.0.0/24"], arp(MAC, MAC, "10.0.0.2"), True),
        ([f"{MAC} 10.0.0.0/255.255.255.0"], ip4(MAC, "10.0.0.2"), True),
        ([f"{MAC} fd00::/64"], ip6(MAC, "fd00::5"), True),
        ([f"{MAC} fd00::/64"], ip6(MAC, "fd01::5"), False),
        ([f"{MAC} fd00::1/64"], ip6(MAC, "fd00::5"), False),
        # An IPv6 address: IPv6 with it or the link-local one, no IPv4, no ARP.
        ([f"{MAC} fd00::1"], ip6(MAC, "fd00::1"), True),
        ([f"{MAC} fd00::1"], ip6(MAC, LLA), True),
        ([f"{MAC} fd00::1"], ip6(MAC, "fd00::2"), False),
        ([f"{MAC} fd00::1"], ip6(MAC, "::"), False),
        ([f"{MAC} fd00::1"], ip4(MAC, "10.0.0.1"), False),
        ([f"{MAC} fd00::1"], arp(MAC, MAC, "10.0.0.1"), False),
        # Duplicate address detection and MLD reports come from ::.
        ([f"{MAC} fd00::1"], ns(MAC, "::"), True),
        ([f"{MAC} fd00::1"], ns(OTHER, "::"), False),
        ([f"{MAC} fd00::1"], ns(MAC, "::", icmp6__type=131, ip__ttl=1), True),
        ([f"{MAC} fd00::1"], ns(MAC, "::", icmp6__type=143, ip__ttl=1), True),
        ([f"{MAC} fd00::1"], ns(MAC, "::", icmp6__type=133), False),
        ([f"{MAC} fd00::1"], ns(MAC, "::", icmp6__type=143, ip6__dst="fd00::9"), False),
        # Neighbour discovery is true inside, too.
        ([f"{MAC} fd00::1"], ns(MAC, "fd00::1", MAC), True),
        ([f"{MAC} fd00::1"], ns(MAC, "fd00::1", OTHER), False),
        ([f"{MAC} fd00::1"], ns(MAC, "fd00::2", MAC), False),
        ([f"{MAC} fd00::1"], na(MAC, "fd00::1", "fd00::1", MAC), True),
        ([f"{MAC} fd00::1"], na(MAC, "fd00::1", "fd00::1"), True),
        ([f"{MAC} fd00::1"], na(MAC, "fd00::1", LLA, MAC), True),
        ([f"{MAC} fd00::1"], na(MAC, "fd00::1", "fd00::2", MAC), False),
        ([f"{MAC} fd00::1"], na(MAC, "fd00::1", "fd00::1", OTHER), False),
        ([f"{MAC} fd00::/64"], na(MAC, "fd00::1", "fd00::2", MAC), True),
        # Both families; several elements; commas.
        ([f"{MAC} 10.0.0.1 fd00::1"], ip4(MAC, "10.0.0.1"), True),
        ([f"{MAC} 10.0.0.1 fd00::1"], ip6(MAC, "fd00::1"), True),
        ([f"{MAC} 10.0.0.1,10.0.0.2"], ip4(MAC, "10.0.0.2"), True),
        ([f"{MAC} 10.0.0.1", f"{OTHER} 10.0.0.2"], ip4(OTHER, "10.0.0.2"), True),
        ([f"{MAC} 10.0.0.1", f"{OTHER} 10.0.0.2"], ip4(OTHER, "10.0.0.1"), False),
        ([f"{MAC} 10.0.0.1", MAC], ip4(MAC, "10.0.0.7"), True),
        # VRRPv3 (26.03): the virtual MAC is the source, ARP and ND carry it inside.
        ([f"VRRPv3 {MAC} {VRRP4} 10.0.0.1"], ip4(VRRP4, "10.0.0.1"), True),
        ([f"VRRPv3 {MAC} {VRRP4} 10.0.0.1"], ip4(MAC, "10.0.0.1"), False),
        ([f"VRRPv3 {MAC} {VRRP4} 10.0.0.1"], arp(MAC, VRRP4, "10.0.0.1"), True),
        ([f"VRRPv3 {MAC} {VRRP4} 10.0.0.1"], arp(MAC, MAC, "10.0.0.1"), False),
        ([f"VRRPv3 {MAC} 10.0.0.1"], ip4("00:00:5e:00:01:99", "10.0.0.1"), True),
        ([f"VRRPv3 {MAC} 10.0.0.1"], ip4("00:00:5e:00:03:99", "10.0.0.1"), False),
        ([f"VRRPv3 {MAC} {VRRP6} fd00::1"], ip6(VRRP6, "fd00::1"), True),
        ([f"VRRPv3 {MAC} {VRRP6} fd00::1"], na(VRRP6, "fd00::1", "fd00::1", VRRP6), False),
    ],
)  # fmt: skip
def test_a_host_may_send(
    port_security: list[str], packet: dict[str, str | int], verdict: bool
) -> None:
    m = machine(*port_security)
    assert allowed(m, IN, PORT, packet) is verdict
    assert allowed(m, IN, PORT + 1, packet), "a port without port security was checked"


@pytest.mark.parametrize(
    ("port_security", "packet", "verdict"),
    [
        ([MAC], {"eth.dst": MAC, "eth.type": 0x8899}, True),
        ([MAC], {"eth.dst": OTHER, "eth.type": 0x8899}, False),
        ([f"{MAC} 10.0.0.1"], {"eth.dst": MAC, "eth.type": 0x0806}, True),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "1.1.1.1", "10.0.0.1", eth__dst=MAC), True),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "1.1.1.1", "10.0.0.2", eth__dst=MAC), False),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "1.1.1.1", "255.255.255.255", eth__dst=MAC), True),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "1.1.1.1", "224.0.0.5", eth__dst=MAC), True),
        ([f"{MAC} 10.0.0.1"], ip6(OTHER, "fd00::7", "fd00::1", eth__dst=MAC), False),
        ([f"{MAC} 10.0.0.1/24"], ip4(OTHER, "1.1.1.1", "10.0.0.255", eth__dst=MAC), True),
        ([f"{MAC} 10.0.0.1"], ip4(OTHER, "1.1.1.1", "10.0.0.255", eth__dst=MAC), False),
        ([f"{MAC} 10.0.0.0/24"], ip4(OTHER, "1.1.1.1", "10.0.0.77", eth__dst=MAC), True),
        ([f"{MAC} fd00::1"], ip6(OTHER, "fd00::7", "fd00::1", eth__dst=MAC), True),
        ([f"{MAC} fd00::1"], ip6(OTHER, "fd00::7", LLA, eth__dst=MAC), True),
        ([f"{MAC} fd00::1"], ip6(OTHER, "fd00::7", "ff02::1", eth__dst=MAC), True),
        ([f"{MAC} fd00::1"], ip6(OTHER, "fd00::7", "fd00::2", eth__dst=MAC), False),
        ([f"{MAC} fd00::1"], ip4(OTHER, "1.1.1.1", "10.0.0.1", eth__dst=MAC), False),
        ([f"VRRPv3 {MAC} {VRRP4} 10.0.0.1"],
         ip4(OTHER, "1.1.1.1", "10.0.0.1", eth__dst=VRRP4), True),
        ([f"VRRPv3 {MAC} {VRRP4} 10.0.0.1"],
         ip4(OTHER, "1.1.1.1", "10.0.0.1", eth__dst=MAC), False),
    ],
)  # fmt: skip
def test_a_host_may_get(
    port_security: list[str], packet: dict[str, str | int], verdict: bool
) -> None:
    m = machine(*port_security)
    assert allowed(m, OUT, PORT, packet) is verdict
    assert allowed(m, OUT, PORT + 1, packet), "a port without port security was checked"


def test_no_port_security_means_no_rules() -> None:
    assert expand(PORT, []) == ([], [])


def test_a_bad_element_costs_itself_only() -> None:
    rules, errors = expand(PORT, ["nonsense", f"{MAC} 10.0.0.1", f"{OTHER} 10.0.0.999"])
    assert rules == expand(PORT, [f"{MAC} 10.0.0.1"])[0]
    assert [e.text for e in errors] == ["nonsense", f"{OTHER} 10.0.0.999"]


def test_bad_elements_alone_check_nothing_as_in_ovn() -> None:
    rules, errors = expand(PORT, ["nonsense"])
    assert not rules
    assert len(errors) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "VRRPv3",
        "10.0.0.1",
        f"{MAC} 10.0.0.0/33",
        f"{MAC} 10.0.0.0/0.0.255.0",
        f"{MAC} fd00::/129",
        f"{MAC} fe80::1%eth0",
        f"{MAC} {OTHER}",
        f"{MAC} 10.0.0.1 x",
        f"{MAC} 10.0.0.1/",
        f"VRRPv3 {MAC} {OTHER}",
        f"VRRPv3 {MAC} 00:00:5e:00:01:00",
        f"VRRPv3 {MAC} 00:00:5e:00:01:05/40",
        f"VRRPv3 {MAC} 00:00:5e:00:00:00/32",
    ],
)
def test_malformed_elements_are_refused(text: str) -> None:
    with pytest.raises(LangError):
        parse_entry(text)


def test_an_element_is_read_whole() -> None:
    entry = parse_entry(f"VRRPv3 {MAC} {VRRP4} 00:00:5e:00:02:10/44 10.0.0.4/24 fd00::/64")
    assert entry == Entry(
        mac=0x0A0000000001,
        ip4=(Masked(0x0A000004, 0xFFFFFFFF),),
        ip6=(Masked(0xFD00 << 112, ((1 << 64) - 1) << 64),),
        broadcast=(0x0A0000FF,),
        vrrp4=(Masked(0x00005E000105, (1 << 48) - 1),),
        vrrp6=(Masked(0x00005E000210, (1 << 48) - 16),),
    )
