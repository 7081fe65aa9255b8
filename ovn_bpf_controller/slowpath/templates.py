# SPDX-License-Identifier: Apache-2.0
"""What the slow path would answer, made ready for the program to answer by itself.

Pure; serving.Serving calls it with what the slow path is told.  The messages come from
the same functions as those of the process; what they reject, or what is larger than the
program's bounds, is left out, and is then the process's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.served import Name, NameKey, Template, TemplateKey
from ovn_bpf_controller.slowpath import advertisements, dhcpv4, dns
from ovn_bpf_controller.slowpath.duty import RejectedError

SERVED: Final = frozenset({lib.OVN_PUNT_DHCP, lib.OVN_PUNT_RA, lib.OVN_PUNT_DNS})
_PLAIN: Final = lib.OVN_TEMPLATE_PLAIN


def templates(
    number: int, argument: Mapping[str, Any], dhcp_options: Mapping[str, tuple[int, str]]
) -> dict[TemplateKey, Template]:
    """Of one argument (compile.punts).  dhcp_options: as Knowledge has them."""
    verb = argument.get("verb")
    try:
        if verb == lib.OVN_PUNT_DHCP:
            found = dict(_dhcp(argument["options"], dhcp_options))
        elif verb == lib.OVN_PUNT_RA:
            found = {_PLAIN: Template(advertisements.message(argument["options"]))}
        else:
            return {}
    except RejectedError:
        return {}
    fitting = {v: t for v, t in found.items() if len(t.data) <= lib.OVN_TEMPLATE_BYTES}
    return {(verb, number, v): t for v, t in fitting.items()} if _PLAIN in fitting else {}


def _dhcp(options: Any, known: Mapping[str, tuple[int, str]]) -> Iterator[tuple[int, Template]]:
    offer = dhcpv4.offer(options)
    said = dhcpv4.said(options, known)
    server = dhcpv4.next_server(said)
    if server is not None and (len(server) != 4 or not any(server)):
        raise RejectedError("next server that is no address")
    boot = int.from_bytes(server or b"", "big")
    stored: dict[bytes, int] = {}  # the first variant that says so
    means = 0
    for variant in range(lib.OVN_TEMPLATE_VARIANTS):
        ipxe, inform = variant & lib.OVN_TEMPLATE_IPXE, variant & lib.OVN_TEMPLATE_INFORM
        data = b"".join(dhcpv4.said_to(said, ipxe=bool(ipxe), inform=bool(inform)))
        means |= stored.setdefault(data, variant) << 8 * variant
    for data, variant in stored.items():
        yield variant, Template(data, offer, boot, means)


def names(told: Mapping[int, Mapping[str, tuple[str, bool]]]) -> dict[NameKey, Name]:
    """told: as Knowledge.dns."""
    found: dict[NameKey, Name] = {}
    for dp, records in told.items():
        found[dp, b""] = Name()
        for name, (value, owned) in records.items():
            wire = _on_wire(name)
            if len(wire) <= lib.OVN_NAME_BYTES and len(wire) > 1:
                found[dp, wire] = _name(value, owned)
    return found


def _on_wire(name: str) -> bytes:
    """A name as queries have it; nothing for one that none can have."""
    labels = name.split(".")
    if not name.isascii() or not all(0 < len(label) < 64 for label in labels):
        return b""
    return dns.encoded(name)


def _name(value: str, owned: bool) -> Name:
    flags = lib.OVN_NAME_OWNED if owned else 0
    ip4: list[bytes] = []
    ip6: list[bytes] = []
    try:
        for address in dns.addresses(value):
            (ip4 if len(address) == 4 else ip6).append(address)
        flags |= lib.OVN_NAME_ADDR
    except RejectedError:
        ip4, ip6 = [], []
    if max(len(ip4), len(ip6)) > lib.OVN_NAME_ADDRS:
        flags |= lib.OVN_NAME_MORE
        ip4, ip6 = [], []
    ptr = b""
    try:
        ptr = dns.encoded(value)
        flags |= lib.OVN_NAME_PTR
    except RejectedError:
        pass  # a PTR query is then not answered, as by the process
    if len(ptr) > lib.OVN_NAME_BYTES:
        flags |= lib.OVN_NAME_LONGER
        ptr = b""
    return Name(flags, tuple(ip4), tuple(ip6), ptr)
