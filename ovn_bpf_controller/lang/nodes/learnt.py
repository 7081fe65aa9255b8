# SPDX-License-Identifier: Apache-2.0
"""Verbs that ask or fill learnt tables: neighbours, FDB, ECMP next hops, virtual ports.

`verbs` and `results` build them, `compile.actions` and `compile.ct_actions` lower them:
the program keeps these tables by itself, and the agent mirrors them to the Southbound.
"""

from __future__ import annotations

from ovn_bpf_controller.lang.nodes.action import Action, Result
from ovn_bpf_controller.lang.nodes.match import Field
from ovn_bpf_controller.plaindata import dataclass


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


class MacCacheUse(Action):
    """mac_cache_use"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BindVport(Action):
    """bind_vport("V", P)"""

    vport: str
    parent: Field


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
class ChkEvpnArp(Action):
    """R = chk_evpn_arp(A)"""

    dst: Field
    ip: Field


@dataclass(frozen=True, slots=True)
class CommitEcmpNh(Action):
    """commit_ecmp_nh(ipv6 = true|false, proto = tcp|udp|sctp)"""

    ipv6: bool
    proto: str


class ChkEcmpNh(Result):
    """R = chk_ecmp_nh()"""

    __slots__ = ()


class ChkEcmpNhMac(Result):
    """R = chk_ecmp_nh_mac()"""

    __slots__ = ()
