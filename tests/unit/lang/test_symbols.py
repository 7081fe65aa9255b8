# SPDX-License-Identifier: Apache-2.0
"""Every symbol: width, place, level, access and prerequisites, as OVN has them."""

from __future__ import annotations

import re

import pytest

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.actions import parse_actions
from ovn_bpf_controller.lang.evaluate import evaluate, field_value
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import disjuncts
from ovn_bpf_controller.lang.symbols import ACL_CT_SYMBOLS, SYMBOLS, Kind, lookup
from tests.unit.lang import grammar
from tests.unit.lang.packets import put

ENV = grammar.Env()

# name: (root, offset, width), from OVN's documentation of the registers
SUBFIELDS = {
    "flags.loopback": ("flags", 0, 1),
    "flags.force_snat_for_dnat": ("flags", 2, 1),
    "flags.force_snat_for_lb": ("flags", 3, 1),
    "flags.skip_snat_for_lb": ("flags", 9, 1),
    "flags.use_snat_zone": ("flags", 11, 1),
    "flags.localnet": ("flags", 15, 1),
    "flags.tunnel_rx": ("flags", 16, 1),
    "flags.icmp_snat": ("flags", 17, 1),
    "flags.from_ctrl": ("flags", 19, 1),
    "flags.unsnat_new": ("flags", 20, 1),
    "flags.unsnat_not_tracked": ("flags", 21, 1),
    "flags.igmp_loopback": ("flags", 22, 1),
    "flags.pkt_sampled": ("flags", 23, 1),
    "flags.network_id": ("flags", 28, 4),
    "ct.new": ("ct_state", 0, 1),
    "ct.est": ("ct_state", 1, 1),
    "ct.rel": ("ct_state", 2, 1),
    "ct.rpl": ("ct_state", 3, 1),
    "ct.inv": ("ct_state", 4, 1),
    "ct.trk": ("ct_state", 5, 1),
    "ct.snat": ("ct_state", 6, 1),
    "ct.dnat": ("ct_state", 7, 1),
    "ct_mark.blocked": ("ct_mark", 0, 1),
    "ct_mark.natted": ("ct_mark", 1, 1),
    "ct_mark.skip_snat": ("ct_mark", 2, 1),
    "ct_mark.force_snat": ("ct_mark", 3, 1),
    "ct_mark.obs_stage": ("ct_mark", 4, 2),
    "ct_mark.allow_established": ("ct_mark", 6, 1),
    "ct_mark.ecmp_reply_port": ("ct_mark", 16, 16),
    "ct_mark.obs_collector_id": ("ct_mark", 16, 8),
    "ct_label.blocked": ("ct_label", 0, 1),
    "ct_label.natted": ("ct_label", 1, 1),
    "ct_label.skip_snat": ("ct_label", 2, 1),
    "ct_label.force_snat": ("ct_label", 3, 1),
    "ct_label.ecmp_reply_port": ("ct_label", 80, 16),
    "ct_label.ecmp_reply_eth": ("ct_label", 32, 48),
    "ct_label.label": ("ct_label", 96, 32),
    "ct_label.obs_point_id": ("ct_label", 96, 32),
    "ct_label.obs_unused": ("ct_label", 0, 96),
    "ct_label.acl_id": ("ct_label", 80, 16),
    "ct_label.nf": ("ct_label", 7, 1),
    "ct_label.nf_id": ("ct_label", 17, 8),
    "ct_label.tun_if": ("ct_label", 8, 1),
    "ct_label.tun_if_id": ("ct_label", 80, 16),
    "eth.mcast": ("eth.dst", 40, 1),
    "vlan.pcp": ("vlan.tci", 13, 3),
    "vlan.vid": ("vlan.tci", 0, 12),
    "remote_outport": ("reg1", 0, 32),
    "__inport": ("inport", 0, 32),
    "__outport": ("outport", 0, 32),
    "rarp.op": ("arp.op", 0, 16),
    "rarp.spa": ("arp.spa", 0, 32),
    "rarp.tpa": ("arp.tpa", 0, 32),
    "rarp.sha": ("arp.sha", 0, 48),
    "rarp.tha": ("arp.tha", 0, 48),
}
# Widths of the fields that are their own root.
ROOTS = {
    "inport": 32, "outport": 32, "xxreg0": 128, "xxreg1": 128, "flags": 32, "ct_mark": 32,
    "ct_label": 128, "ct_state": 32, "eth.src": 48, "eth.dst": 48, "eth.type": 16,
    "vlan.tci": 16, "ip.proto": 8, "ip.dscp": 6, "ip.ecn": 2, "ip.ttl": 8, "ip.frag": 2,
    "ip4.src": 32, "ip4.dst": 32, "ip6.src": 128, "ip6.dst": 128, "ip6.label": 20,
    "icmp4.type": 8, "icmp4.code": 8, "icmp6.type": 8, "icmp6.code": 8, "arp.op": 16,
    "arp.spa": 32, "arp.tpa": 32, "arp.sha": 48, "arp.tha": 48, "nd.target": 128,
    "nd.sll": 48, "nd.tll": 48, "tcp.src": 16, "tcp.dst": 16, "tcp.flags": 12, "udp.src": 16,
    "udp.dst": 16, "sctp.src": 16, "sctp.dst": 16, "pkt.mark": 32, "icmp4.frag_mtu": 16,
    "icmp6.frag_mtu": 32, "icmp4.inner_ip4.src": 32,
    **{f"xreg{i}": 64 for i in range(5)}, **{f"reg{i}": 32 for i in range(10)},
}  # fmt: skip

IPV4, IPV6 = {"eth.type": 0x800}, {"eth.type": 0x86DD}
ND = IPV6 | {"ip.proto": 58, "ip.ttl": 255, "icmp6.code": 0}
MCAST4 = IPV4 | {"eth.dst": 0x01005E000005, "ip4.dst": 0xE0000005}
MCAST6 = IPV6 | {"eth.dst": 0x333300000001}


def _ip6(text: str) -> int:
    value = parse_match(f"ip6.dst == {text}")
    conj = disjuncts(value, ENV, 1)[0]
    return dict((root, v) for root, v, _ in conj)["ip6.dst"]


# predicate: packets that satisfy it, packets that do not
PREDICATES: dict[str, tuple[list[dict[str, int]], list[dict[str, int]]]] = {
    "ip4": ([IPV4], [IPV6, {}]),
    "ip6": ([IPV6], [IPV4, {}]),
    "ip": ([IPV4, IPV6], [{"eth.type": 0x806}]),
    "arp": ([{"eth.type": 0x806}], [{"eth.type": 0x8035}]),
    "rarp": ([{"eth.type": 0x8035}], [{"eth.type": 0x806}]),
    "tcp": ([IPV4 | {"ip.proto": 6}, IPV6 | {"ip.proto": 6}], [{"ip.proto": 6}, IPV4]),
    "udp": ([IPV4 | {"ip.proto": 17}], [IPV4 | {"ip.proto": 6}]),
    "sctp": ([IPV6 | {"ip.proto": 132}], [IPV6 | {"ip.proto": 17}]),
    "icmp4": ([IPV4 | {"ip.proto": 1}], [IPV6 | {"ip.proto": 1}, IPV4 | {"ip.proto": 58}]),
    "icmp6": ([IPV6 | {"ip.proto": 58}], [IPV4 | {"ip.proto": 58}]),
    "icmp": ([IPV4 | {"ip.proto": 1}, IPV6 | {"ip.proto": 58}], [IPV4 | {"ip.proto": 58}]),
    "igmp": ([MCAST4 | {"ip.proto": 2}], [IPV4 | {"ip.proto": 2}, MCAST4]),
    "eth.bcast": ([{"eth.dst": (1 << 48) - 1}], [{"eth.dst": (1 << 48) - 2}]),
    "eth.mcastv6": ([{"eth.dst": 0x333300000001}], [{"eth.dst": 0x333400000001}]),
    "vlan.present": ([{"vlan.tci": 0x1000}], [{"vlan.tci": 0x0FFF}]),
    "ip.is_frag": ([IPV4 | {"ip.frag": 1}, IPV6 | {"ip.frag": 3}], [IPV4, {"ip.frag": 1}]),
    "ip.later_frag": ([IPV4 | {"ip.frag": 3}], [IPV4 | {"ip.frag": 1}, {"ip.frag": 3}]),
    "ip.first_frag": ([IPV4 | {"ip.frag": 1}], [IPV4, IPV4 | {"ip.frag": 3}]),
    "ip4.src_mcast": ([IPV4 | {"ip4.src": 0xEF000001}], [IPV4 | {"ip4.src": 0xF0000001}]),
    "ip4.mcast": ([MCAST4], [MCAST4 | {"eth.dst": 0}, MCAST4 | {"ip4.dst": 1}]),
    "ip6.mcast": ([MCAST6 | {"ip6.dst": 0xFF << 120}], [MCAST6, IPV6 | {"ip6.dst": 0xFF << 120}]),
    "ip6.mcast_rsvd": (
        [IPV6 | {"ip6.dst": _ip6(f"ff0{i:x}::")} for i in range(16)],
        [IPV6 | {"ip6.dst": _ip6("ff02::1")}, IPV6 | {"ip6.dst": _ip6("ff10::")}],
    ),
    "ip6.mcast_all_nodes": (
        [IPV6 | {"ip6.dst": _ip6("ff01::1")}, IPV6 | {"ip6.dst": _ip6("ff02::1")}],
        [IPV6 | {"ip6.dst": _ip6("ff05::1")}],
    ),
    "ip6.mcast_all_rtrs": (
        [IPV6 | {"ip6.dst": _ip6(f"ff0{i}::2")} for i in (1, 2, 5)],
        [IPV6 | {"ip6.dst": _ip6("ff03::2")}],
    ),
    "ip6.mcast_sol_node": (
        [IPV6 | {"ip6.dst": _ip6("ff02::1:ff12:3456")}],
        [IPV6 | {"ip6.dst": _ip6("ff02::1:fe12:3456")}],
    ),
    "ip6.mcast_flood": (
        [MCAST6 | {"ip6.dst": _ip6(a)} for a in ("ff02::1", "ff05::2", "ff02::1:ff00:1", "ff09::")],
        [IPV6 | {"ip6.dst": _ip6("ff02::1")}, MCAST6 | {"ip6.dst": _ip6("ff02::16")}],
    ),
    "nd": (
        [ND | {"icmp6.type": 135}, ND | {"icmp6.type": 136}],
        [ND | {"icmp6.type": 135, "ip.ttl": 64}, ND | {"icmp6.type": 133}],
    ),
    "nd_ns": ([ND | {"icmp6.type": 135}], [ND | {"icmp6.type": 136}]),
    "nd_ns_mcast": (
        [ND | MCAST6 | {"icmp6.type": 135, "ip6.dst": _ip6("ff02::1:ff00:1")}],
        [ND | {"icmp6.type": 135, "ip6.dst": _ip6("ff02::1:ff00:1")}],
    ),
    "nd_na": ([ND | {"icmp6.type": 136}], [ND | {"icmp6.type": 136, "icmp6.code": 1}]),
    "nd_rs": ([ND | {"icmp6.type": 133}], [ND | {"icmp6.type": 134}]),
    "nd_ra": ([ND | {"icmp6.type": 134}], [ND | {"icmp6.type": 133}]),
    "mldv1": (
        [
            MCAST6 | {"ip.proto": 58, "icmp6.type": t, "ip6.src": _ip6("fe80::1")}
            for t in (130, 131, 132)
        ],
        [MCAST6 | {"ip.proto": 58, "icmp6.type": 130, "ip6.src": _ip6("fd00::1")}],
    ),
    "mldv2": (
        [MCAST6 | {"ip.proto": 58, "icmp6.type": 143, "ip6.dst": _ip6("ff02::16")}],
        [MCAST6 | {"ip.proto": 58, "icmp6.type": 143, "ip6.dst": _ip6("ff02::1")}],
    ),
    "from_evpn_vtep": ([{"inport": 1 << 31}], [{"inport": 1}, {"outport": 1 << 31}]),
    "to_evpn_vtep": ([{"outport": 1 << 31}], [{"outport": 1}]),
}

# Which packet each prerequisite asks for.
CONTEXTS: dict[str, dict[str, int]] = {
    "": {},
    "ip": IPV4,
    "ip4": IPV4,
    "ip6": IPV6,
    "arp": {"eth.type": 0x806},
    "rarp": {"eth.type": 0x8035},
    "tcp": IPV4 | {"ip.proto": 6},
    "udp": IPV6 | {"ip.proto": 17},
    "sctp": IPV4 | {"ip.proto": 132},
    "icmp4": IPV4 | {"ip.proto": 1},
    "icmp6": IPV6 | {"ip.proto": 58},
    "nd": ND | {"icmp6.type": 135},
    "nd_ns": ND | {"icmp6.type": 135},
    "nd_na": ND | {"icmp6.type": 136},
    "vlan.present": {"vlan.tci": 0x1000},
    "ct.trk": {"ct_state": 0x20},
}
EXPECTED_PREREQS = {
    "ip": ["ip.proto", "ip.dscp", "ip.ecn", "ip.ttl", "ip.frag"],
    "ip4": ["ip4.src", "ip4.dst"],
    "ip6": ["ip6.src", "ip6.dst", "ip6.label"],
    "arp": ["arp.op", "arp.spa", "arp.sha", "arp.tpa", "arp.tha"],
    "rarp": ["rarp.op", "rarp.spa", "rarp.sha", "rarp.tpa", "rarp.tha"],
    "tcp": ["tcp.src", "tcp.dst", "tcp.flags"],
    "udp": ["udp.src", "udp.dst"],
    "sctp": ["sctp.src", "sctp.dst"],
    "icmp4": ["icmp4.type", "icmp4.code"],
    "icmp6": ["icmp6.type", "icmp6.code"],
    "nd": ["nd.target"],
    "nd_ns": ["nd.sll"],
    "nd_na": ["nd.tll"],
    "vlan.present": ["vlan.pcp", "vlan.vid"],
    "ct.trk": [f"ct.{name}" for name in ("new", "est", "rel", "rpl", "inv", "snat", "dnat")],
}
NOMINAL = {
    "inport", "outport", "remote_outport", "eth.type", "ip.proto", "ip.dscp", "ip.ecn", "ip.ttl",
    "icmp4.type", "icmp4.code", "icmp6.type", "icmp6.code", "arp.op", "rarp.op",
    "icmp4.frag_mtu", "icmp6.frag_mtu", "icmp4.inner_ip4.src", *grammar.NOMINAL_BITS, "nd_ra",
}  # fmt: skip
READ_ONLY = {"eth.type", "ip.proto", "ip.frag", "tcp.flags", "ct_state"}
FIELDS = [s for s in SYMBOLS.values() if s.kind is not Kind.PREDICATE]
MATCHABLE = [s.name for s in FIELDS if s.matchable and s.kind is not Kind.STRING]


def test_the_table_is_complete() -> None:
    assert set(SYMBOLS) == set(ROOTS) | set(SUBFIELDS) | set(PREDICATES)


@pytest.mark.parametrize("name", sorted(ROOTS))
def test_root_fields(name: str) -> None:
    symbol = SYMBOLS[name]
    assert (symbol.root, symbol.offset, symbol.width) == (name, 0, ROOTS[name])


@pytest.mark.parametrize("name", sorted(SUBFIELDS))
def test_subfields_and_aliases(name: str) -> None:
    symbol = SYMBOLS[name]
    assert (symbol.root, symbol.offset, symbol.width) == SUBFIELDS[name]


@pytest.mark.parametrize("name", sorted(PREDICATES))
def test_predicates_mean_what_they_say(name: str) -> None:
    yes, no = PREDICATES[name]
    for packet in yes:
        assert evaluate(parse_match(name), packet, ENV), packet
        assert evaluate(parse_match(f"{name} == 1"), packet, ENV)
    for packet in no:
        assert not evaluate(parse_match(name), packet, ENV), packet


@pytest.mark.parametrize("name", sorted(PREDICATES))
def test_boolean_predicates_can_be_negated_and_nominal_ones_not(name: str) -> None:
    yes, no = PREDICATES[name]
    if name in NOMINAL:
        for text in (f"!{name}", f"{name} == 0", f"{name} != 1", f"!({name} && reg0 == 0)"):
            with pytest.raises(LangError, match="may only be tested positively"):
                parse_match(text)
        return
    for text in (f"!{name}", f"{name} == 0", f"!({name} != 0)", f"{name} != {{1}}"):
        assert not any(evaluate(parse_match(text), packet, ENV) for packet in yes)
        assert all(evaluate(parse_match(text), packet, ENV) for packet in no)


def test_levels() -> None:
    assert {name for name, symbol in SYMBOLS.items() if symbol.nominal} == NOMINAL


@pytest.mark.parametrize("name", sorted(MATCHABLE))
def test_every_field_compares_and_brings_its_prerequisites(name: str) -> None:
    symbol = SYMBOLS[name]
    packet = dict(CONTEXTS[symbol.prereqs])
    if symbol.root not in packet:
        put(packet, name, 1)
    value = field_value(packet, symbol.root, symbol.offset, symbol.width)
    match = parse_match(f"{name} == {value:#x}")
    assert evaluate(match, packet, ENV)
    assert not evaluate(parse_match(f"{name} == {value ^ 1:#x}"), packet, ENV)
    if symbol.prereqs:
        alone: dict[str, int] = {}
        put(alone, name, value)
        assert not evaluate(match, alone, ENV)


def test_prerequisites() -> None:
    expected = {name: text for text, names in EXPECTED_PREREQS.items() for name in names}
    assert {s.name: s.prereqs for s in SYMBOLS.values() if s.prereqs} == expected


@pytest.mark.parametrize("name", sorted(s.name for s in FIELDS))
def test_access(name: str) -> None:
    """Assignable, assignable in ct_commit only, or read-only."""
    symbol = SYMBOLS[name]
    value = '"p1"' if symbol.kind is Kind.STRING else "0"
    plain, inside = f"{name} = {value};", f"ct_commit {{ {name} = {value}; }};"
    conntrack = re.match(r"ct_(mark|label)\b", name) is not None
    constant = not symbol.matchable
    if name in READ_ONLY or name.startswith("ct.") or conntrack:
        with pytest.raises(LangError, match="not modifiable"):
            parse_actions(plain)
    else:
        parse_actions(plain)
    if conntrack or constant:
        parse_actions(inside)
    else:
        with pytest.raises(LangError, match="not modifiable"):
            parse_actions(inside)


@pytest.mark.parametrize("name", ["icmp4.frag_mtu", "icmp6.frag_mtu", "icmp4.inner_ip4.src"])
def test_fields_of_actions_alone(name: str) -> None:
    with pytest.raises(LangError, match="can only be assigned"):
        parse_match(f"{name} == 1")
    with pytest.raises(LangError, match="can only be assigned a constant"):
        parse_actions(f"reg0[0..15] = {name};")


def test_lookup() -> None:
    assert lookup("ip4.src") is SYMBOLS["ip4.src"]
    assert lookup("nonsense") is None


def test_translated_acls_match_the_ports_of_the_connection() -> None:
    """Flows tagged acl_ct_translation match later fragments, which have no ports."""
    fragment = IPV4 | {"ip.frag": 3, "ct_state": 0x22, "ct_proto": 6, "ct_tp_dst": 80}
    match = parse_match("ip4 && tcp.dst == 80", ct_translation=True)
    assert evaluate(match, fragment, ENV)
    assert not evaluate(match, fragment | {"ct_proto": 17}, ENV)
    assert not evaluate(match, fragment | {"ct_state": 0x30}, ENV)
    assert not evaluate(parse_match("ip4 && tcp.dst == 80"), fragment, ENV)
    assert ACL_CT_SYMBOLS["ip4.src"] is SYMBOLS["ip4.src"]
