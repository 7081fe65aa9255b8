# SPDX-License-Identifier: Apache-2.0
"""A packet described by an OVN expression -> the words of its context.

For observe.trace.  The rules are those of ovn-trace(8): prerequisites are implied,
fields that are not named are 0, and the expression must mean just one packet.
header() writes that packet in Open vSwitch's words, as ovn-trace begins with, and
acl_log and packet_log too: extracted() is for what came off the wire.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.env import Env
from ovn_bpf_controller.compile.layout import chunks, pack, place
from ovn_bpf_controller.errors import LangError, OvnBpfError, UnsupportedError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import disjuncts
from ovn_bpf_controller.lang.templates import substitute_templates
from ovn_bpf_controller.plaindata import dataclass

# Of which prerequisites may leave one: `ip4 && !ip.later_frag`.
_ALTERNATIVES: Final = 64
_AMBIGUOUS: Final = "error parsing flow: constraints are ambiguous"


class MicroflowError(OvnBpfError):
    """The text does not describe one packet."""


@dataclass(frozen=True, slots=True)
class _Names:
    """compile.flow.Env on one datapath; every port is taken for resident."""

    env: Env
    dp: int

    def address_set(self, name: str) -> Sequence[str] | None:
        return self.env.address_set(name)

    def port_group(self, name: str) -> Sequence[str] | None:
        return self.env.port_group(self.dp, name)

    def port_key(self, lport: str) -> int | None:
        key = self.env.port_key(self.dp, lport)
        if key is None:
            raise MicroflowError(f'no logical port "{lport}" in this datapath')
        return key

    def is_resident(self, lport: str) -> bool:
        return True

    def set_number(self, name: str, width: int) -> int | None:
        """Sets are written out: a packet has an address, not a set."""
        return None

    def group_number(self, name: str) -> int | None:
        """Likewise."""
        return None


def parse(text: str, env: Env) -> nodes.Expr:
    """The expression.  Raises MicroflowError."""
    try:
        return parse_match(substitute_templates(text, env.template_vars()))
    except LangError as error:
        raise MicroflowError(f"error parsing flow: {error}") from error


def inport(expr: nodes.Expr) -> str:
    """The logical port that it enters by.  Raises MicroflowError unless there is one."""
    found = sorted(set(_inports(expr)))
    if len(found) == 1:
        return found[0]
    problem = "has no match on" if not found else "has more than one"
    raise MicroflowError(f"error parsing flow: microflow {problem} inport")


def _inports(expr: nodes.Expr) -> Iterator[str]:
    if isinstance(expr, nodes.PortCmp):
        if expr.root == "inport" and expr.relop is nodes.Relop.EQ:
            yield expr.port
    elif isinstance(expr, nodes.And | nodes.Or):
        for arg in expr.args:
            yield from _inports(arg)


def words(expr: nodes.Expr, dp: int, env: Env) -> list[int]:
    """The context of the packet on datapath dp.  Raises MicroflowError."""
    try:
        found = disjuncts(expr, _Names(env, dp), _ALTERNATIVES)
    except UnsupportedError as error:
        raise MicroflowError(_AMBIGUOUS) from error
    except LangError as error:
        raise MicroflowError(f"error parsing flow: {error}") from error
    if len(found) > 1:
        raise MicroflowError(_AMBIGUOUS)
    try:
        key = pack(found[0]) if found else None
    except UnsupportedError as error:
        raise MicroflowError(f"error parsing flow: {error}") from error
    if key is None:
        raise MicroflowError("error parsing flow: constraints are contradictory")
    made = [0] * lib.OVN_WORDS
    for (word, _), value in zip(key.mask, key.values, strict=True):
        made[word] = value
    made[lib.OW_DP] = dp
    return made


def read(packet: Sequence[int], root: str, offset: int = 0, width: int = 0) -> int:
    """The value of a field, or of some of its bits, in a context."""
    value = 0
    for c in chunks(place(root, offset, width)):
        value |= (packet[c.word] >> c.shift & ((1 << c.bits) - 1)) << c.pos
    return value


def mac(value: int) -> str:
    """48 bits as text."""
    return value.to_bytes(6, "big").hex(":")


def ip6(value: int) -> str:
    """128 bits as the C library writes an address: ::10.0.0.1 ends with one of IPv4."""
    return socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))


# --- Open vSwitch's words -----------------------------------------------------

_IP4, _IP6, _ARP, _RARP = 0x0800, 0x86DD, 0x0806, 0x8035
_MPLS = {0x8847: "mpls", 0x8848: "mplsm"}
_PROTOS = {
    _IP4: {1: "icmp", 6: "tcp", 17: "udp", 132: "sctp"},
    _IP6: {58: "icmp6", 6: "tcp6", 17: "udp6", 132: "sctp6"},
}
_TYPES = {_IP4: "ip", _IP6: "ipv6", _ARP: "arp", _RARP: "rarp"} | _MPLS
_NO_LABEL = "mpls_label=0,mpls_tc=0,mpls_ttl=0,mpls_bos=0,mpls_lse1=0,mpls_lse2=0"
FRAGMENTS: Final = ("no", "first", "<error>", "later")  # by the value of ip.frag
_WITH_PORTS = (1, 2, 6, 17, 58, 132)
_TCP_FLAGS = (
    "fin",
    "syn",
    "rst",
    "psh",
    "ack",
    "urg",
    "ece",
    "cwr",
    "ns",
    "[200]",
    "[400]",
    "[800]",
)
_CT_STATES = ("new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat")
# What the packet has of the pipeline: in OVN the agent gets the frame alone.
_NO_CONTEXT = [0] * lib.OW_HEADERS
# As Open vSwitch reads frames: of a later IPv6 fragment it sees that header alone, and
# a type that is a length is OFP_DL_TYPE_NOT_ETH_TYPE.
_FRAGMENT = 44
_FIRST_TYPE, _NOT_ETH_TYPE = 0x600, 0x5FF


def header(packet: Sequence[int]) -> str:
    """The packet as ovs-ofctl would write it; see flow_format in OVS's lib/flow.c."""
    return ",".join(_terms(packet))


def _terms(w: Sequence[int]) -> Iterator[str]:
    kind = read(w, "eth.type")
    proto = read(w, "ip.proto")
    mark = read(w, "pkt.mark")
    if mark:
        yield f"pkt_mark={mark:#x}"
    yield from _tracked(w)
    name = _PROTOS.get(kind, {}).get(proto)
    if name or kind in _TYPES:
        yield name or _TYPES[kind]
    for n in range(16):  # reg10 is flags, reg14 inport, reg15 outport
        if w[lib.OW_REG0 + n]:
            yield f"reg{n}={w[lib.OW_REG0 + n]:#x}"
    yield from _link_layer(w)
    if kind not in _TYPES:
        yield f"dl_type=0x{kind:04x}"
    elif kind in (_ARP, _RARP):
        yield from _arp(w)
    elif kind in _MPLS:
        yield _NO_LABEL  # OVN has no field for it
    else:
        yield from _ip(w, kind, proto, name)


def _tracked(w: Sequence[int]) -> Iterator[str]:
    """What the connection tracker said."""
    state, mark, label = (read(w, field) for field in ("ct_state", "ct_mark", "ct_label"))
    if names := _names(state, _CT_STATES):
        yield f"ct_state={names}"
    if mark:
        yield f"ct_mark={mark:#x}"
    if label:
        yield f"ct_label={label:#x}"


def flags(value: int) -> str:
    """Flags of TCP."""
    return _names(value, _TCP_FLAGS) or "0"


def _names(bits: int, names: Sequence[str]) -> str:
    """The names of the bits that are set."""
    return "|".join(name for bit, name in enumerate(names) if bits >> bit & 1)


def _link_layer(w: Sequence[int]) -> Iterator[str]:
    tci = read(w, "vlan.tci")
    if tci & 0x1000:
        yield f"dl_vlan={tci & 0xFFF}"
        yield f"dl_vlan_pcp={tci >> 13}"
        yield "vlan_tci1=0x0000"
    else:
        yield f"vlan_tci=0x{tci:04x}"
    yield f"dl_src={mac(read(w, 'eth.src'))}"
    yield f"dl_dst={mac(read(w, 'eth.dst'))}"


def _arp(w: Sequence[int]) -> Iterator[str]:
    yield f"arp_spa={ipaddress.IPv4Address(read(w, 'arp.spa'))}"
    yield f"arp_tpa={ipaddress.IPv4Address(read(w, 'arp.tpa'))}"
    yield f"arp_op={read(w, 'arp.op')}"
    yield f"arp_sha={mac(read(w, 'arp.sha'))}"
    yield f"arp_tha={mac(read(w, 'arp.tha'))}"


def _ip(w: Sequence[int], kind: int, proto: int, name: str | None) -> Iterator[str]:
    if kind == _IP6:
        yield f"ipv6_src={ip6(read(w, 'ip6.src'))}"
        yield f"ipv6_dst={ip6(read(w, 'ip6.dst'))}"
        yield f"ipv6_label=0x{read(w, 'ip6.label'):05x}"
    else:
        yield f"nw_src={ipaddress.IPv4Address(read(w, 'ip4.src'))}"
        yield f"nw_dst={ipaddress.IPv4Address(read(w, 'ip4.dst'))}"
    if not name:
        yield f"nw_proto={proto}"
    yield f"nw_tos={read(w, 'ip.dscp') << 2}"
    yield f"nw_ecn={read(w, 'ip.ecn')}"
    yield f"nw_ttl={read(w, 'ip.ttl')}"
    frag = read(w, "ip.frag")
    yield f"nw_frag={FRAGMENTS[frag]}"
    if frag & lib.OVN_FRAG_LATER and name == "icmp6":
        yield "icmp_type=0,icmp_code=0"  # Open vSwitch has them even so
    if frag & lib.OVN_FRAG_LATER or proto not in _WITH_PORTS:
        return
    if name in ("icmp", "icmp6"):
        yield f"icmp_type={read(w, 'icmp4.type')}"
        yield f"icmp_code={read(w, 'icmp4.code')}"
        if name == "icmp6" and read(w, "icmp6.type") in (135, 136) and not read(w, "icmp6.code"):
            yield f"nd_target={ip6(read(w, 'nd.target'))}"
            yield f"nd_sll={mac(read(w, 'nd.sll'))}"
            yield f"nd_tll={mac(read(w, 'nd.tll'))}"
        return
    yield f"tp_src={read(w, 'tcp.src')}"
    yield f"tp_dst={read(w, 'tcp.dst')}"
    if proto == 6:
        yield f"tcp_flags={flags(read(w, 'tcp.flags'))}"


def extracted(context: Sequence[int]) -> list[int]:
    """The context as Open vSwitch would have it of the frame (its flow_extract())."""
    words = [*_NO_CONTEXT, *context[lib.OW_HEADERS :]]
    kind, tci = words[lib.OW_ETH_TYPE] >> 16, words[lib.OW_ETH_TYPE] & 0xFFFF
    if kind < _FIRST_TYPE:
        words[lib.OW_ETH_TYPE] = _NOT_ETH_TYPE << 16 | tci
    if kind == _IP6 and words[lib.OW_IP] & lib.OVN_FRAG_LATER:
        words[lib.OW_IP] = _FRAGMENT << 24 | words[lib.OW_IP] & 0xFFFFFF
    return words
