# SPDX-License-Identifier: Apache-2.0
"""The symbol table: every field and predicate of OVN 23.03 to 26.03.

Used by `expr` and `actions` to resolve names.  One table serves all releases:
names that a release lacks cost nothing, and the definitions that changed in
between are equivalent.  Source: OVN's lib/logical-fields.c and ovn-sb(5);
levels and access are those of the OVS fields behind them (ovs-fields(7)).
"""

from __future__ import annotations

from enum import Enum

from ovn_bpf_controller.plaindata import dataclass, replace


class Kind(Enum):
    """What a symbol stands for."""

    ORDINAL = "ordinal"
    NOMINAL = "nominal"
    STRING = "string"
    PREDICATE = "predicate"


@dataclass(frozen=True, slots=True)
class Symbol:
    """One name of the language.

    width: bits; 1 for predicates, 32 (a port key) for strings.
    root, offset: the root field it lies in, counted from the root's least
    significant bit; root is "" for predicates.  Aliases of one field share a
    root: rarp.spa lies in arp.spa, remote_outport in reg1, __inport in inport.
    prereqs: match text that every use adds, or "".  expansion: a predicate's.
    nominal: only tests for equality are allowed (also of predicates).
    writable: may be assigned.  ct_commit: may be assigned in ct_commit only.
    matchable: False for the fields that only actions know.
    """

    name: str
    width: int
    kind: Kind
    root: str
    offset: int
    prereqs: str
    expansion: str | None
    writable: bool
    nominal: bool = False
    ct_commit: bool = False
    matchable: bool = True


SYMBOLS: dict[str, Symbol] = {}


def lookup(name: str) -> Symbol | None:
    """The symbol of that name, or None."""
    return SYMBOLS.get(name)


def _field(
    name: str,
    width: int,
    prereqs: str = "",
    *,
    root: str = "",
    nominal: bool = False,
    ro: bool = False,
    ct_commit: bool = False,
    matchable: bool = True,
) -> None:
    kind = Kind.NOMINAL if nominal else Kind.ORDINAL
    SYMBOLS[name] = Symbol(
        name=name,
        width=width,
        kind=kind,
        root=root or name,
        offset=0,
        prereqs=prereqs,
        expansion=None,
        writable=not ro and not ct_commit,
        nominal=nominal,
        ct_commit=ct_commit,
        matchable=matchable,
    )


def _string(name: str, root: str) -> None:
    SYMBOLS[name] = Symbol(name, 32, Kind.STRING, root, 0, "", None, True, nominal=True)


def _sub(name: str, parent: str, low: int, high: int | None = None, prereqs: str = "") -> None:
    """Bits low..high of parent (one bit when high is left out)."""
    p = SYMBOLS[parent]
    SYMBOLS[name] = Symbol(
        name=name,
        width=(low if high is None else high) - low + 1,
        kind=p.kind,
        root=p.root,
        offset=p.offset + low,
        prereqs=prereqs,
        expansion=None,
        writable=p.writable,
        ct_commit=p.ct_commit,
    )


def _predicate(name: str, expansion: str, *, nominal: bool = False) -> None:
    SYMBOLS[name] = Symbol(
        name, 1, Kind.PREDICATE, "", 0, "", expansion, writable=False, nominal=nominal
    )


def _ports_and_registers() -> None:
    _string("inport", "inport")
    _string("outport", "outport")
    _string("remote_outport", "reg1")
    _field("__inport", 32, root="inport")
    _field("__outport", 32, root="outport")
    _predicate("from_evpn_vtep", "__inport[31]")
    _predicate("to_evpn_vtep", "__outport[31]")
    for i in range(2):
        _field(f"xxreg{i}", 128)
    for i in range(5):
        _field(f"xreg{i}", 64)
    for i in range(10):
        _field(f"reg{i}", 32)
    _field("pkt.mark", 32)


def _flags() -> None:
    _field("flags", 32)
    for name, bit in (
        ("loopback", 0),
        ("force_snat_for_dnat", 2),
        ("force_snat_for_lb", 3),
        ("skip_snat_for_lb", 9),
        ("use_snat_zone", 11),
        ("localnet", 15),
        ("tunnel_rx", 16),
        ("icmp_snat", 17),
        ("from_ctrl", 19),
        ("unsnat_new", 20),
        ("unsnat_not_tracked", 21),
        ("igmp_loopback", 22),
        ("pkt_sampled", 23),
    ):
        _sub(f"flags.{name}", "flags", bit)
    _sub("flags.network_id", "flags", 28, 31)


def _conntrack() -> None:
    _field("ct_mark", 32, ct_commit=True)
    for name, low, high in (
        ("blocked", 0, 0),
        ("natted", 1, 1),
        ("skip_snat", 2, 2),
        ("force_snat", 3, 3),
        ("obs_stage", 4, 5),
        ("allow_established", 6, 6),
        ("ecmp_reply_port", 16, 31),
        ("obs_collector_id", 16, 23),
    ):
        _sub(f"ct_mark.{name}", "ct_mark", low, high)
    _field("ct_label", 128, ct_commit=True)
    for name, low, high in (
        ("blocked", 0, 0),  # this and the next three until 24.03
        ("natted", 1, 1),
        ("skip_snat", 2, 2),
        ("force_snat", 3, 3),
        ("ecmp_reply_port", 80, 95),  # until 24.03
        ("ecmp_reply_eth", 32, 79),
        ("label", 96, 127),
        ("obs_point_id", 96, 127),
        ("obs_unused", 0, 95),
        ("acl_id", 80, 95),
        ("nf", 7, 7),
        ("nf_id", 17, 24),
        ("tun_if", 8, 8),
        ("tun_if_id", 80, 95),
    ):
        _sub(f"ct_label.{name}", "ct_label", low, high)
    _field("ct_state", 32, ro=True)
    for bit, name in enumerate(("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")):
        _sub(f"ct.{name}", "ct_state", bit, prereqs="" if name == "trk" else "ct.trk")


def _link_layer() -> None:
    _field("eth.src", 48)
    _field("eth.dst", 48)
    _field("eth.type", 16, nominal=True, ro=True)
    _predicate("eth.bcast", "eth.dst == ff:ff:ff:ff:ff:ff")
    _sub("eth.mcast", "eth.dst", 40)
    _predicate("eth.mcastv6", "eth.dst[32..47] == 0x3333")
    _field("vlan.tci", 16)
    _predicate("vlan.present", "vlan.tci[12]")
    _sub("vlan.pcp", "vlan.tci", 13, 15, prereqs="vlan.present")
    _sub("vlan.vid", "vlan.tci", 0, 11, prereqs="vlan.present")
    for arp, ethertype in (("arp", "0x806"), ("rarp", "0x8035")):
        _predicate(arp, f"eth.type == {ethertype}", nominal=True)
        _field(f"{arp}.op", 16, arp, root="arp.op", nominal=True)
        for name, width in (("spa", 32), ("sha", 48), ("tpa", 32), ("tha", 48)):
            _field(f"{arp}.{name}", width, arp, root=f"arp.{name}")


def _ip() -> None:
    _predicate("ip4", "eth.type == 0x800", nominal=True)
    _predicate("ip6", "eth.type == 0x86dd", nominal=True)
    _predicate("ip", "ip4 || ip6", nominal=True)
    _field("ip.proto", 8, "ip", nominal=True, ro=True)
    _field("ip.dscp", 6, "ip", nominal=True)
    _field("ip.ecn", 2, "ip", nominal=True)
    _field("ip.ttl", 8, "ip", nominal=True)
    _field("ip.frag", 2, "ip", ro=True)
    _predicate("ip.is_frag", "ip.frag[0]")
    _predicate("ip.later_frag", "ip.frag[1]")
    _predicate("ip.first_frag", "ip.is_frag && !ip.later_frag")
    _field("ip4.src", 32, "ip4")
    _field("ip4.dst", 32, "ip4")
    _predicate("ip4.src_mcast", "ip4.src[28..31] == 0xe")
    _predicate("ip4.mcast", "eth.mcast && ip4.dst[28..31] == 0xe")
    _field("ip6.src", 128, "ip6")
    _field("ip6.dst", 128, "ip6")
    _field("ip6.label", 20, "ip6")
    # 16 addresses: any scope nibble, no group.  26.03 writes them out as a set.
    _predicate("ip6.mcast_rsvd", "ip6.dst[116..127] == 0xff0 && ip6.dst[0..111] == 0x0")
    _predicate("ip6.mcast_all_nodes", "ip6.dst == ff01::1 || ip6.dst == ff02::1")
    _predicate(
        "ip6.mcast_all_rtrs", "ip6.dst == ff01::2 || ip6.dst == ff02::2 || ip6.dst == ff05::2"
    )
    _predicate("ip6.mcast_sol_node", "ip6.dst == ff02::1:ff00:0000/104")
    _predicate(
        "ip6.mcast_flood",
        "eth.mcastv6 && (ip6.mcast_rsvd || ip6.mcast_all_nodes || "
        "ip6.mcast_all_rtrs || ip6.mcast_sol_node)",
    )
    _predicate("ip6.mcast", "eth.mcastv6 && ip6.dst[120..127] == 0xff")


def _transport() -> None:
    _predicate("icmp4", "ip4 && ip.proto == 1", nominal=True)
    _field("icmp4.type", 8, "icmp4", nominal=True)
    _field("icmp4.code", 8, "icmp4", nominal=True)
    _predicate("icmp6", "ip6 && ip.proto == 58", nominal=True)
    _field("icmp6.type", 8, "icmp6", nominal=True)
    _field("icmp6.code", 8, "icmp6", nominal=True)
    _predicate("icmp", "icmp4 || icmp6", nominal=True)
    _predicate("igmp", "ip4.mcast && ip.proto == 2", nominal=True)
    for name, proto in (("tcp", 6), ("udp", 17), ("sctp", 132)):
        _predicate(name, f"ip.proto == {proto}", nominal=True)
        _field(f"{name}.src", 16, name)
        _field(f"{name}.dst", 16, name)
    _field("tcp.flags", 12, "tcp", ro=True)
    _field("icmp4.frag_mtu", 16, nominal=True, matchable=False)
    _field("icmp6.frag_mtu", 32, nominal=True, matchable=False)
    _field("icmp4.inner_ip4.src", 32, nominal=True, matchable=False)


def _neighbour_discovery() -> None:
    tail = "icmp6.code == 0 && ip.ttl == 255"
    _predicate("nd", f"icmp6.type == {{135, 136}} && {tail}", nominal=True)
    _predicate("nd_ns", f"icmp6.type == 135 && {tail}", nominal=True)
    _predicate("nd_ns_mcast", f"ip6.mcast && icmp6.type == 135 && {tail}", nominal=True)
    _predicate("nd_na", f"icmp6.type == 136 && {tail}", nominal=True)
    _predicate("nd_rs", f"icmp6.type == 133 && {tail}", nominal=True)
    _predicate("nd_ra", f"icmp6.type == 134 && {tail}", nominal=True)
    _field("nd.target", 128, "nd")
    _field("nd.sll", 48, "nd_ns")
    _field("nd.tll", 48, "nd_na")
    _predicate(
        "mldv1",
        "eth.mcastv6 && ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}",
        nominal=True,
    )
    _predicate("mldv2", "eth.mcastv6 && ip6.dst == ff02::16 && icmp6.type == 143", nominal=True)


def _acl_ct() -> dict[str, Symbol]:
    """The table for flows tagged acl_ct_translation (OVN 26.03).

    Ports and protocol come from conntrack, which knows them of later
    fragments too.
    """
    table = dict(SYMBOLS)

    def add(name: str, width: int, root: str, prereqs: str) -> None:
        table[name] = Symbol(name, width, Kind.ORDINAL, root, 0, prereqs, None, writable=False)

    add("ct_proto", 8, "ct_proto", "ct.trk")
    table["ct_proto"] = replace(table["ct_proto"], kind=Kind.NOMINAL, nominal=True)
    for name, proto in (("tcp", 6), ("udp", 17), ("sctp", 132)):
        expansion = f"ct.trk && !ct.inv && ct_proto == {proto}"
        table[name] = replace(table[name], expansion=expansion)
        add(f"{name}.src", 16, "ct_tp_src", name)
        add(f"{name}.dst", 16, "ct_tp_dst", name)
    return table


_ports_and_registers()
_flags()
_conntrack()
_link_layer()
_ip()
_transport()
_neighbour_discovery()

ACL_CT_SYMBOLS = _acl_ct()
