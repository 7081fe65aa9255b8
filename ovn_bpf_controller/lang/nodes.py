# SPDX-License-Identifier: Apache-2.0
"""Typed trees of OVN's match and action language.

`expr` and `actions` build them, `normal`, `evaluate` and `compile` read them.
Everything is frozen and hashable, so trees serve as cache keys.  A match is in
negation normal form: `!` is pushed into the leaves while it is parsed, with
prerequisites kept positive as in OVN's lib/expr.c, so there is no Not node.

Registers: leaves and Fields keep the name they were written with (xxreg0,
xreg1, reg3 are roots of their own).  `normal` knows that they overlap and
gives conjunctions over reg0..reg9 only.

A class that adds no field to its base is a plain subclass: what @dataclass would
write for it, the base has, and writing it takes a third of a millisecond each.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from ovn_bpf_controller.plaindata import dataclass


class Relop(Enum):
    """Relational operators, spelt as in a match."""

    __hash__ = object.__hash__  # each is one object; Enum's own is many times slower

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


class Format(Enum):
    """How a constant was written; it decides widths and option encodings."""

    __hash__ = object.__hash__  # each is one object; Enum's own is many times slower

    DECIMAL = "decimal"
    HEX = "hexadecimal"
    IP4 = "ipv4"
    IP6 = "ipv6"
    ETH = "ethernet"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Field:
    """A field or subfield as an operand.

    name: as written, without brackets.  root, offset, width: where it lies;
    width in bits, offset counted from the root's least significant bit.
    string: a logical port name (32-bit port key): inport, outport and
    remote_outport, whose root is reg1.
    """

    name: str
    root: str
    offset: int
    width: int
    string: bool = False


@dataclass(frozen=True, slots=True)
class Const:
    """A constant.  value is text for Format.STRING, otherwise an integer.

    mask: None when none was written; value has no bits outside it.
    """

    value: int | str
    format: Format
    mask: int | None = None


# --- matches --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bool:
    """Constant truth."""

    value: bool


@dataclass(frozen=True, slots=True)
class Cmp:
    """(root >> offset) & mask, as width bits, against value.

    mask covers all of width unless one was written; relations other than ==
    and != always have a full mask.  value has no bits outside mask.
    """

    root: str
    offset: int
    width: int
    relop: Relop
    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class SetRef:
    """Field against the members of address set `name` (without the $).

    EQ: equal to any member.  NE: different from all members, and prereqs hold
    unless the set is empty: then the comparison is plainly true, as in OVN.
    """

    root: str
    offset: int
    width: int
    relop: Relop
    name: str
    prereqs: Expr = Bool(True)


@dataclass(frozen=True, slots=True)
class PortCmp:
    """root (inport, outport, or reg1 for remote_outport) against a port name.

    A name without a key never matches, neither == nor !=.
    """

    root: str
    relop: Relop
    port: str


@dataclass(frozen=True, slots=True)
class PortGroupRef:
    """root against the ports of port group `name` (without the @)."""

    root: str
    relop: Relop
    name: str


@dataclass(frozen=True, slots=True)
class Resident:
    """is_chassis_resident("lport"), or its negation."""

    lport: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of args; at least two, none of them an And."""

    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of args; at least two, none of them an Or."""

    args: tuple[Expr, ...]


Expr: TypeAlias = Bool | Cmp | SetRef | PortCmp | PortGroupRef | Resident | And | Or

TRUE = Bool(True)
FALSE = Bool(False)


# --- actions --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """Base of all actions.

    What an action adds to its flow's match is actions.action_prereqs().
    """


class Output(Action):
    """output"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Next(Action):
    """next.  pipeline: "ingress", "egress" or None for the flow's own.

    table: None for the table after the flow's own.
    """

    pipeline: str | None = None
    table: int | None = None


class Drop(Action):
    """drop; always alone in its list.  An empty list drops as well."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Load(Action):
    """field = constant.

    value: integer, or a port's name for a string field ("" clears it).
    mask: bits of the field that are written; full unless one was given.
    """

    dst: Field
    value: int | str
    mask: int


@dataclass(frozen=True, slots=True)
class Move(Action):
    """dst = src, of equal widths."""

    dst: Field
    src: Field


@dataclass(frozen=True, slots=True)
class Exchange(Action):
    """a <-> b, of equal widths."""

    a: Field
    b: Field


@dataclass(frozen=True, slots=True)
class Push(Action):
    """push(field)"""

    field: Field


@dataclass(frozen=True, slots=True)
class Pop(Action):
    """pop(field)"""

    field: Field


class DecTtl(Action):
    """ip.ttl--"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class CtNext(Action):
    """ct_next, ct_next(dnat|snat).  zone: "dnat", "snat" or None (the default)."""

    zone: str | None = None


@dataclass(frozen=True, slots=True)
class CtCommit(Action):
    """ct_commit { … }: loads and moves of ct_mark and ct_label; may be empty."""

    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class CtCommitToZone(Action):
    """ct_commit_to_zone(dnat|snat)"""

    zone: str


@dataclass(frozen=True, slots=True)
class CtCommitNat(Action):
    """ct_commit_nat, ct_commit_nat(dnat|snat)"""

    zone: str | None = None


@dataclass(frozen=True, slots=True)
class CtNat(Action):
    """Base of the four NAT verbs.

    ip: None when the verb has no argument.  family: 0, 4 or 6.
    ports: None or (low, high), inclusive; equal when one port was written.
    With an address the verb commits the connection, without it only translates.
    """

    ip: int | None = None
    family: int = 0
    ports: tuple[int, int] | None = None


class CtDnat(CtNat):
    """ct_dnat"""

    __slots__ = ()


class CtSnat(CtNat):
    """ct_snat"""

    __slots__ = ()


class CtDnatInCzone(CtNat):
    """ct_dnat_in_czone"""

    __slots__ = ()


class CtSnatInCzone(CtNat):
    """ct_snat_in_czone"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """One target of a load balancer; port 0 when none was written.

    lport: logical port behind the address, only in ct_lb_mark_local.
    """

    ip: int
    family: int
    port: int = 0
    lport: str | None = None


@dataclass(frozen=True, slots=True)
class CtLbBase(Action):
    """Base of the load-balancing verbs; hash_fields is OVN's text, e.g. "ip_src".

    flag: None, "skip_snat" or "force_snat".
    """

    backends: tuple[Backend, ...] = ()
    hash_fields: str | None = None
    flag: str | None = None


class CtLb(CtLbBase):
    """ct_lb: ct_label in place of ct_mark; gone after 25.09."""

    __slots__ = ()


class CtLbMark(CtLbBase):
    """ct_lb_mark"""

    __slots__ = ()


class CtLbMarkLocal(CtLbBase):
    """ct_lb_mark_local"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SelectTarget:
    """One member of select: the value to store, and its weight."""

    id: int
    weight: int


@dataclass(frozen=True, slots=True)
class Select(Action):
    """R = select(id=weight, …), R = select(values=(…); hash_fields="…").

    dst has at least 16 bits; a weight that is not written is 100.
    """

    dst: Field
    targets: tuple[SelectTarget, ...]
    hash_fields: str | None = None


class CtClear(Action):
    """ct_clear"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Nested(Action):
    """Base of the verbs with a block: `actions` run on another packet."""

    actions: tuple[Action, ...] = ()


class Clone(Nested):
    """clone { … }"""

    __slots__ = ()


class Arp(Nested):
    """arp { … }"""

    __slots__ = ()


class Icmp4(Nested):
    """icmp4 { … }"""

    __slots__ = ()


class Icmp4Error(Nested):
    """icmp4_error { … }"""

    __slots__ = ()


class Icmp6(Nested):
    """icmp6 { … }"""

    __slots__ = ()


class Icmp6Error(Nested):
    """icmp6_error { … }"""

    __slots__ = ()


class TcpReset(Nested):
    """tcp_reset { … }"""

    __slots__ = ()


class SctpAbort(Nested):
    """sctp_abort { … }"""

    __slots__ = ()


class Reject(Nested):
    """reject { … }"""

    __slots__ = ()


class NdNa(Nested):
    """nd_na { … }"""

    __slots__ = ()


class NdNaRouter(Nested):
    """nd_na_router { … }"""

    __slots__ = ()


class NdNs(Nested):
    """nd_ns { … }"""

    __slots__ = ()


class Igmp(Action):
    """igmp"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class GetMacBind(Action):
    """Base of get_arp and get_nd: eth.dst = binding of (port, ip), or 0."""

    port: Field
    ip: Field


class GetArp(GetMacBind):
    """get_arp(P, A)"""

    __slots__ = ()


class GetNd(GetMacBind):
    """get_nd(P, A)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PutMacBind(Action):
    """Base of put_arp and put_nd."""

    port: Field
    ip: Field
    mac: Field


class PutArp(PutMacBind):
    """put_arp(P, A, E)"""

    __slots__ = ()


class PutNd(PutMacBind):
    """put_nd(P, A, E)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LookupMacBind(Action):
    """Base of lookup_arp and lookup_nd; dst is one bit."""

    dst: Field
    port: Field
    ip: Field
    mac: Field


class LookupArp(LookupMacBind):
    """R = lookup_arp(P, A, M)"""

    __slots__ = ()


class LookupNd(LookupMacBind):
    """R = lookup_nd(P, A, M)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class LookupMacBindIp(Action):
    """Base of lookup_arp_ip and lookup_nd_ip; dst is one bit."""

    dst: Field
    port: Field
    ip: Field


class LookupArpIp(LookupMacBindIp):
    """R = lookup_arp_ip(P, A)"""

    __slots__ = ()


class LookupNdIp(LookupMacBindIp):
    """R = lookup_nd_ip(P, A)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One `name = value` of an option list; a set gives several values."""

    name: str
    values: tuple[Const, ...]


@dataclass(frozen=True, slots=True)
class PutOpts(Action):
    """Base of the option verbs; dst is one bit, the verb's result."""

    dst: Field
    options: tuple[Option, ...]


class PutDhcpOpts(PutOpts):
    """R = put_dhcp_opts(…); the first option is named "offerip"."""

    __slots__ = ()


class PutDhcpv6Opts(PutOpts):
    """R = put_dhcpv6_opts(…)"""

    __slots__ = ()


class PutNdRaOpts(PutOpts):
    """R = put_nd_ra_opts(…)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DhcpRelay(Action):
    """Base of the relay checks; addresses are IPv4 integers."""

    dst: Field
    relay_ip: int
    server_ip: int


class DhcpRelayReqChk(DhcpRelay):
    """R = dhcp_relay_req_chk(relay, server)"""

    __slots__ = ()


class DhcpRelayRespChk(DhcpRelay):
    """R = dhcp_relay_resp_chk(relay, server)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SetQueue(Action):
    """set_queue(N)"""

    queue_id: int


@dataclass(frozen=True, slots=True)
class Result(Action):
    """Base of `R = verb()`.  dst is one bit, but for the ct_* verbs below."""

    dst: Field


class DnsLookup(Result):
    """R = dns_lookup()"""

    __slots__ = ()


class ChkLbHairpin(Result):
    """R = chk_lb_hairpin()"""

    __slots__ = ()


class ChkLbHairpinReply(Result):
    """R = chk_lb_hairpin_reply()"""

    __slots__ = ()


class CheckInPortSec(Result):
    """R = check_in_port_sec()"""

    __slots__ = ()


class CheckOutPortSec(Result):
    """R = check_out_port_sec()"""

    __slots__ = ()


class ChkEcmpNh(Result):
    """R = chk_ecmp_nh()"""

    __slots__ = ()


class ChkEcmpNhMac(Result):
    """R = chk_ecmp_nh_mac()"""

    __slots__ = ()


class ChkLbAff(Result):
    """R = chk_lb_aff()"""

    __slots__ = ()


class CtNwDst(Result):
    """R = ct_nw_dst(), 32 bits"""

    __slots__ = ()


class CtIp6Dst(Result):
    """R = ct_ip6_dst(), 128 bits"""

    __slots__ = ()


class CtTpDst(Result):
    """R = ct_tp_dst(), 16 bits"""

    __slots__ = ()


class CtProto(Result):
    """R = ct_proto(), 8 bits"""

    __slots__ = ()


class CtStateSave(Result):
    """R = ct_state_save(), 8 bits"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Log(Action):
    """log(…).  verdict: allow, drop, reject or pass.

    severity: alert, warning, notice, info or debug.
    """

    verdict: str
    name: str | None = None
    severity: str = "info"
    meter: str | None = None


@dataclass(frozen=True, slots=True)
class SetMeter(Action):
    """set_meter(rate[, burst]), in kbit/s; burst 0 when none was written."""

    rate: int
    burst: int = 0


@dataclass(frozen=True, slots=True)
class CheckPktLarger(Action):
    """R = check_pkt_larger(L), L in bytes of the L2 frame"""

    dst: Field
    length: int


@dataclass(frozen=True, slots=True)
class TriggerEvent(Action):
    """trigger_event(event = "…", …)"""

    event: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class BindVport(Action):
    """bind_vport("V", P)"""

    vport: str
    parent: Field


@dataclass(frozen=True, slots=True)
class HandleSvcCheck(Action):
    """handle_svc_check(P)"""

    port: Field


@dataclass(frozen=True, slots=True)
class FwdGroup(Action):
    """fwd_group(liveness = "…", childports = "…", …)"""

    liveness: bool
    ports: tuple[str, ...]


class HandleDhcpv6Reply(Action):
    """handle_dhcpv6_reply"""

    __slots__ = ()


class CtSnatToVip(Action):
    """ct_snat_to_vip"""

    __slots__ = ()


class HandleBfdMsg(Action):
    """handle_bfd_msg()"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PutFdb(Action):
    """put_fdb(P, M)"""

    port: Field
    mac: Field


@dataclass(frozen=True, slots=True)
class GetFdb(Action):
    """R = get_fdb(M): port key, 0 when unknown"""

    dst: Field
    mac: Field


@dataclass(frozen=True, slots=True)
class GetRemoteFdb(Action):
    """R = get_remote_fdb(M)"""

    dst: Field
    mac: Field


@dataclass(frozen=True, slots=True)
class LookupFdb(Action):
    """R = lookup_fdb(P, M)"""

    dst: Field
    port: Field
    mac: Field


@dataclass(frozen=True, slots=True)
class CommitEcmpNh(Action):
    """commit_ecmp_nh(ipv6 = true|false, proto = tcp|udp|sctp)"""

    ipv6: bool
    proto: str


@dataclass(frozen=True, slots=True)
class CommitLbAff(Action):
    """commit_lb_aff(vip, backend, proto, timeout); timeout in seconds.

    proto: tcp, udp or sctp; None when the vip has no port.
    """

    vip: Backend
    backend: Backend
    proto: str | None
    timeout: int


@dataclass(frozen=True, slots=True)
class Sample(Action):
    """sample(probability, collector_set, obs_domain, obs_point).

    obs_point: a number, a 32-bit field, or "$cookie".
    """

    probability: int
    collector_set: int
    obs_domain: int
    obs_point: int | Field | str


class MacCacheUse(Action):
    """mac_cache_use"""

    __slots__ = ()


class FloodRemote(Action):
    """flood_remote"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Mirror(Action):
    """mirror("P")"""

    port: str


@dataclass(frozen=True, slots=True)
class ChkEvpnArp(Action):
    """R = chk_evpn_arp(A)"""

    dst: Field
    ip: Field
