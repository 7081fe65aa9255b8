# SPDX-License-Identifier: Apache-2.0
"""Port_Binding.port_security as rules of the side tables that check_*_port_sec ask.

northd writes no flows for it: every chassis expands the strings by itself.  The
rules, tables and priorities are ovn-controller's (controller/lflow.c of 24.03 and
later with the VRRPv3 entries of 26.03; 23.03.1 let neighbour solicitations with
a forged source link-layer address pass, which its successors mended).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.compile.layout import Conj
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.plaindata import NamedTuple, dataclass

IN: Final[int] = lib.OVN_TABLE_IN_PORT_SEC
IN_ND: Final[int] = lib.OVN_TABLE_IN_PORT_SEC_ND
OUT: Final[int] = lib.OVN_TABLE_OUT_PORT_SEC

_MAC48: Final = (1 << 48) - 1
_IP4: Final = (1 << 32) - 1
_IP6: Final = (1 << 128) - 1
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")

_ARP: Final[Conj] = (("eth.type", 0x0806, 0xFFFF),)
_IPV4: Final[Conj] = (("eth.type", 0x0800, 0xFFFF),)
_IPV6: Final[Conj] = (("eth.type", 0x86DD, 0xFFFF),)
_ICMP6: Final[Conj] = (*_IPV6, ("ip.proto", 58, 0xFF))
_UDP4: Final[Conj] = (*_IPV4, ("ip.proto", 17, 0xFF))
_FROM_ANY: Final[Conj] = (("ip6.src", 0, _IP6),)
_TO_FF02: Final[Conj] = (("ip6.dst", 0xFF02 << 112, 0xFFFF << 112),)
_DHCP_REQUEST: Final[Conj] = (
    *_UDP4,
    ("ip4.src", 0, _IP4),
    ("ip4.dst", _IP4, _IP4),
    ("udp.src", 68, 0xFFFF),
    ("udp.dst", 67, 0xFFFF),
)


class Verdict(IntEnum):
    """What a rule of a side table says."""

    ALLOW = 0
    DENY = 1
    ASK_ND = 2


class SideRule(NamedTuple):
    """A rule of a side table, still without its datapath."""

    table: int
    priority: int
    conj: Conj
    verdict: Verdict


class Masked(NamedTuple):
    """An address with a mask, both as numbers."""

    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of port_security.

    ip4, ip6: what the host may use; a masked element whose host part is not zero
    stands for that host alone.  broadcast: of the subnets of such IPv4 elements.
    vrrp4, vrrp6: virtual MACs; they take the place of `mac` as source.
    """

    mac: int
    ip4: tuple[Masked, ...] = ()
    ip6: tuple[Masked, ...] = ()
    broadcast: tuple[int, ...] = ()
    vrrp4: tuple[Masked, ...] = ()
    vrrp6: tuple[Masked, ...] = ()


_ANY_VRRP4: Final = Masked(0x00005E000100, _MAC48 & ~0xFF)
_ANY_VRRP6: Final = Masked(0x00005E000200, _MAC48 & ~0xFF)

_INSNS: Final[dict[Verdict, bytes]] = {
    Verdict.ALLOW: program([Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_DROP)]),
    Verdict.DENY: program(
        [Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_DROP, b=lib.OVN_RES_DROP)]
    ),
    Verdict.ASK_ND: program([Insn(lib.OP_NEXT, aux=IN_ND)]),
}


def instructions(verdict: Verdict) -> bytes:
    """What a rule with that verdict runs, up to and including OP_END."""
    return _INSNS[verdict]


def default_rules() -> list[SideRule]:
    """For every datapath: a port without port security may send and get anything."""
    return [SideRule(table, 0, (), Verdict.ALLOW) for table in (IN, IN_ND, OUT)]


def expand(port_key: int, port_security: Sequence[str]) -> tuple[list[SideRule], list[LangError]]:
    """The rules for a port, and what is wrong with the elements left out of them.

    With no valid element there are no rules, so nothing is checked: so does
    ovn-controller.
    """
    entries, errors = [], []
    for text in port_security:
        try:
            entries.append(parse_entry(text))
        except LangError as error:
            errors.append(error)
    if not entries:
        return [], errors
    rules = list(_deny_all(port_key))
    for entry in entries:
        rules += _entry_rules(port_key, entry)
    return rules, errors


# --- the strings ---------------------------------------------------------


def parse_entry(text: str) -> Entry:
    """One element: "[VRRPv3 ]MAC [VMAC[/PLEN]…] [IP[/PLEN]…]", see ovn-nb(5).

    Elements are separated by spaces or commas.  Raises LangError.
    """
    tokens = [(m.group(), m.start()) for m in re.finditer(r"[^ ,\t]+", text)]
    vrrp = bool(tokens) and tokens[0][0] == "VRRPv3"
    if vrrp:
        del tokens[0]
    if not tokens or not _MAC.fullmatch(tokens[0][0]):
        raise LangError("port security needs an Ethernet address", text, 0)
    lists: dict[str, list[Masked]] = {"ip4": [], "ip6": [], "vrrp4": [], "vrrp6": []}
    broadcast: list[int] = []
    for token, at in tokens[1:]:
        try:
            if vrrp and token.count(":") == 5 and _MAC.match(token):
                _add_vrrp(token, lists)
            else:
                _add_ip(token, lists, broadcast)
        except ValueError as error:
            raise LangError(f"port security: {error}", text, at) from error
    if vrrp and not lists["vrrp4"] and not lists["vrrp6"]:
        lists["vrrp4"], lists["vrrp6"] = [_ANY_VRRP4], [_ANY_VRRP6]
    return Entry(
        _mac(tokens[0][0]),
        broadcast=tuple(broadcast),
        **{name: tuple(addresses) for name, addresses in lists.items()},
    )


def _mac(text: str) -> int:
    value = 0
    for byte in text.split(":"):
        value = value << 8 | int(byte, 16)
    return value


def _prefix(plen: int, width: int) -> int:
    return (1 << width) - (1 << (width - plen))


def _add_vrrp(token: str, lists: dict[str, list[Masked]]) -> None:
    text, slash, plen = token.partition("/")
    mac = Masked(_mac(text), _prefix(_plen(plen, 48) if slash else 48, 48))
    for name, whole in (("vrrp4", _ANY_VRRP4), ("vrrp6", _ANY_VRRP6)):
        if mac.mask & whole.mask != whole.mask or (mac.value ^ whole.value) & whole.mask:
            continue
        # Identifiers begin with 1; and a mask must not cut set bits off.
        if mac.value & ~mac.mask or mac == Masked(whole.value, _MAC48):
            break
        lists[name].append(mac)
        return
    raise ValueError(f"{token} is no VRRPv3 address")


def _plen(text: str, width: int) -> int:
    if not text.isdecimal() or int(text) > width:
        raise ValueError(f"prefix length {text!r} is not between 0 and {width}")
    return int(text)


def _add_ip(token: str, lists: dict[str, list[Masked]], broadcast: list[int]) -> None:
    host, slash, length = token.partition("/")
    address = ipaddress.ip_address(host)
    if "%" in host:
        raise ValueError(f"{host} has a scope")
    width = address.max_prefixlen
    value = int(address)
    if length.count(".") == 3 and width == 32:
        mask = int(ipaddress.IPv4Address(length))
        if mask != _prefix(mask.bit_count(), 32):
            raise ValueError(f"{length} is no CIDR mask")
    else:
        mask = _prefix(_plen(length, width) if slash else width, width)
    hosts = (1 << width) - 1 & ~mask
    if value & hosts:
        if width == 32:
            broadcast.append(value | hosts)
        mask |= hosts
    lists["ip4" if width == 32 else "ip6"].append(Masked(value, mask))


# --- the rules -----------------------------------------------------------


def _inport(port_key: int) -> Conj:
    return (("inport", port_key, 0xFFFFFFFF),)


def _outport(port_key: int) -> Conj:
    return (("outport", port_key, 0xFFFFFFFF),)


def _eq(field: str, addresses: Sequence[Masked]) -> Iterator[Conj]:
    for address in addresses:
        yield ((field, address.value, address.mask),)


def _deny_all(port_key: int) -> Iterator[SideRule]:
    port = _inport(port_key)
    neighbour = (*_ICMP6, ("ip.ttl", 255, 0xFF))
    yield SideRule(IN, 80, port, Verdict.DENY)
    yield SideRule(IN, 95, port + _ARP, Verdict.ASK_ND)
    yield SideRule(IN_ND, 80, port + _ARP, Verdict.DENY)
    for icmp6_type in (135, 136):
        conj = (*port, *neighbour, ("icmp6.type", icmp6_type, 0xFF))
        yield SideRule(IN_ND, 80, conj, Verdict.DENY)
    yield SideRule(OUT, 80, _outport(port_key), Verdict.DENY)


def _entry_rules(port_key: int, entry: Entry) -> Iterator[SideRule]:
    vrrp = bool(entry.vrrp4 or entry.vrrp6)
    own = (Masked(entry.mac, _MAC48),)
    macs4 = entry.vrrp4 if vrrp else own
    macs6 = entry.vrrp6 if vrrp else own
    both = entry.vrrp4 + entry.vrrp6 if vrrp else own
    port = _inport(port_key)
    if not entry.ip4 and not entry.ip6:
        for mac in _eq("eth.src", both):
            yield SideRule(IN, 90, port + mac, Verdict.ASK_ND)
    if entry.ip4:
        yield from _in_ip4(port, macs4, entry)
    if entry.ip6:
        yield from _in_ip6(port, macs6, entry)
    if entry.ip4 or not entry.ip6:
        yield from _in_arp(port, macs4, entry)
    yield from _in_nd(port, macs6, entry)
    yield from _out(_outport(port_key), both, entry)


def _in_ip4(port: Conj, macs: Sequence[Masked], entry: Entry) -> Iterator[SideRule]:
    for mac in _eq("eth.src", macs):
        for source in _eq("ip4.src", entry.ip4):
            yield SideRule(IN, 90, port + mac + _IPV4 + source, Verdict.ALLOW)
        yield SideRule(IN, 90, port + mac + _DHCP_REQUEST, Verdict.ALLOW)


def _link_local(mac: Masked) -> Masked:
    """The EUI-64 link-local address of a MAC, with the MAC's mask."""

    def spread(m: int) -> int:
        return (m >> 24) << 40 | (m & 0xFFFFFF)

    host = spread(mac.value ^ 0x02 << 40) | 0xFFFE << 24
    bits = spread(mac.mask) | 0xFFFF << 24
    return Masked(0xFE80 << 112 | host & bits, _prefix(64, 128) | bits)


def _in_ip6(port: Conj, macs: Sequence[Masked], entry: Entry) -> Iterator[SideRule]:
    for mac in macs:
        ether = port + ((("eth.src", mac.value, mac.mask)),)
        for source in _eq("ip6.src", (*entry.ip6, _link_local(mac))):
            yield SideRule(IN, 90, ether + _IPV6 + source, Verdict.ASK_ND)
        # From the unspecified address: MLD reports and address detection.
        for icmp6_type, verdict in (
            (131, Verdict.ALLOW),
            (143, Verdict.ALLOW),
            (135, Verdict.ASK_ND),
        ):
            kind: Conj = (("icmp6.type", icmp6_type, 0xFF), ("icmp6.code", 0, 0xFF))
            conj = ether + _ICMP6 + _FROM_ANY + _TO_FF02 + kind
            yield SideRule(IN, 90, conj, verdict)


def _in_arp(port: Conj, macs: Sequence[Masked], entry: Entry) -> Iterator[SideRule]:
    """ARP goes out from the physical MAC, with the sender that the element names."""
    base = (*port, ("eth.src", entry.mac, _MAC48), *_ARP)
    for sha in _eq("arp.sha", macs):
        for spa in _eq("arp.spa", entry.ip4) if entry.ip4 else ((),):
            yield SideRule(IN_ND, 90, base + sha + spa, Verdict.ALLOW)


def _in_nd(port: Conj, macs: Sequence[Masked], entry: Entry) -> Iterator[SideRule]:
    """Neighbour discovery: its link-layer option is absent (0) or the element's."""
    base = (*port, ("eth.src", entry.mac, _MAC48), *_ICMP6)
    base += (("ip.ttl", 255, 0xFF), ("icmp6.code", 0, 0xFF))
    options = (Masked(0, _MAC48), *macs)
    for sll in _eq("nd.sll", options):
        conj = (*base, ("icmp6.type", 135, 0xFF), *sll)
        yield SideRule(IN_ND, 90, conj, Verdict.ALLOW)
    own = _link_local(Masked(entry.mac, _MAC48))
    targets: Iterator[Conj] = _eq("nd.target", (own, *entry.ip6) if entry.ip6 else ())
    for target in targets if entry.ip6 else ((),):
        for tll in _eq("nd.tll", options):
            conj = (*base, ("icmp6.type", 136, 0xFF), *target, *tll)
            yield SideRule(IN_ND, 90, conj, Verdict.ALLOW)


def _out(port: Conj, macs: Sequence[Masked], entry: Entry) -> Iterator[SideRule]:
    for mac in macs:
        ether = port + ((("eth.dst", mac.value, mac.mask)),)
        yield SideRule(OUT, 85, ether, Verdict.ALLOW)
        if not entry.ip4 and not entry.ip6:
            continue
        yield SideRule(OUT, 90, ether + _IPV4, Verdict.DENY)
        yield SideRule(OUT, 90, ether + _IPV6, Verdict.DENY)
        for target in _eq("ip4.dst", _reachable4(entry)):
            yield SideRule(OUT, 95, ether + _IPV4 + target, Verdict.ALLOW)
        for target in _eq("ip6.dst", _reachable6(entry, mac)):
            yield SideRule(OUT, 95, ether + _IPV6 + target, Verdict.ALLOW)


def _reachable4(entry: Entry) -> tuple[Masked, ...]:
    """Own addresses, the broadcasts of their subnets and of the link, 224.0.0.0/4."""
    if not entry.ip4:
        return ()
    broadcasts = (Masked(b, _IP4) for b in (*entry.broadcast, _IP4))
    return (*entry.ip4, *broadcasts, Masked(0xE0000000, 0xF0000000))


def _reachable6(entry: Entry, mac: Masked) -> tuple[Masked, ...]:
    """Own addresses, the link-local address of the MAC, ff00::/8."""
    if not entry.ip6:
        return ()
    return (*entry.ip6, _link_local(mac), Masked(0xFF << 120, 0xFF << 120))
