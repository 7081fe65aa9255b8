# SPDX-License-Identifier: Apache-2.0
"""Verbs of connection tracking, NAT and load balancing, with what these learn and recall.

`conntrack`, `verbs` and `results` build them, `compile.ct_actions` lowers them.
"""

from __future__ import annotations

from ovn_bpf_controller.lang.nodes.action import Action, Result
from ovn_bpf_controller.plaindata import dataclass


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


class CtSnatToVip(Action):
    """ct_snat_to_vip"""

    __slots__ = ()


class CtClear(Action):
    """ct_clear"""

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
class CommitLbAff(Action):
    """commit_lb_aff(vip, backend, proto, timeout); timeout in seconds.

    proto: tcp, udp or sctp; None when the vip has no port.
    """

    vip: Backend
    backend: Backend
    proto: str | None
    timeout: int


class ChkLbAff(Result):
    """R = chk_lb_aff()"""

    __slots__ = ()


class ChkLbHairpin(Result):
    """R = chk_lb_hairpin()"""

    __slots__ = ()


class ChkLbHairpinReply(Result):
    """R = chk_lb_hairpin_reply()"""

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
