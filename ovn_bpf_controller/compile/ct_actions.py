# SPDX-License-Identifier: Apache-2.0
"""Connection tracking, NAT and load balancing -> instructions.

compile.actions takes HANDLERS into its own table.  A verb that goes on in the next
table does so with a copy of the packet when more actions follow it, as OVS forks at
ct(table=N); for those the packet is untracked.  Zones and flags are those of OVN's lib/actions.c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.compile.layout import ROOTS, Conj, Place
from ovn_bpf_controller.compile.lists import InsnList, SideRule, bit, hash_mask, home, overlap
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang import nodes

# Bits of ct_mark (of ct_label in releases until 21.09) that load balancers set.
NATTED: Final = 1 << 1
_FLAGS: Final[dict[str | None, int]] = {None: 0, "skip_snat": 1 << 2, "force_snat": 1 << 3}

_WORD: Final = 0xFFFFFFFF
_PROTOCOLS: Final[dict[str | None, int]] = {None: 0, "tcp": 6, "udp": 17, "sctp": 132}

FOUND_BIT: Final = lib.OVN_RES_FOUND.bit_length() - 1

# Words between which ct_commit's operands lie.
_OPERANDS: Final = range(lib.OW_CT_MARK, lib.OW_CT_LABEL + 4)


def _default_zone(made: InsnList) -> int:
    return int(lib.OW_DNAT_ZONE if made.traits.router else lib.OW_CT_ZONE)


def _named_zone(made: InsnList, name: str | None) -> int:
    """`dnat` is the default; switches have one zone a port, whatever the name."""
    if name == "snat" and made.traits.router:
        return int(lib.OW_SNAT_ZONE)
    return _default_zone(made)


def _common_zone(made: InsnList) -> int:
    return int(lib.OW_SNAT_ZONE if made.traits.common_snat else lib.OW_DNAT_ZONE)


def _track(
    made: InsnList, zone: int, does: int, before: Sequence[Insn] = (), after: Sequence[Insn] = ()
) -> None:
    """Through the tracker into the next table.  before: the arguments; after: operands."""
    start = 0 if made.last else made.begin_block()
    made.insns += before
    made.emit(lib.OP_CT, src=zone, a=does, c=len(after))
    made.insns += after
    made.go_on(made.pipeline, made.table + 1)
    if start:
        made.emit(lib.OP_END)
        made.end_block(start)
        made.emit(lib.OP_CT_CLEAR)


def _next(made: InsnList, action: nodes.CtNext) -> None:
    _track(made, _named_zone(made, action.zone), 0)


def _commit_to_zone(made: InsnList, action: nodes.CtCommitToZone) -> None:
    _track(made, _named_zone(made, action.zone), lib.OVN_CT_COMMIT)


def _commit_nat(made: InsnList, action: nodes.CtCommitNat) -> None:
    _track(made, _named_zone(made, action.zone), lib.OVN_CT_COMMIT | lib.OVN_CT_NAT)


def _clear(made: InsnList, _: nodes.CtClear) -> None:
    made.emit(lib.OP_CT_CLEAR)


def _commit(made: InsnList, action: nodes.CtCommit) -> None:
    """The list goes on after it.  With NAT, as OVS translates here what it is for."""
    at = len(made.insns)
    does = lib.OVN_CT_COMMIT | lib.OVN_CT_NAT | lib.OVN_CT_NULL_SNAT | lib.OVN_CT_KEEP
    made.emit(lib.OP_CT, src=_default_zone(made), a=does)
    for operand in action.actions:
        _operand(made, operand)
    made.insns[at] = made.insns[at]._replace(c=len(made.insns) - at - 1)


def _operand(made: InsnList, action: nodes.Action) -> None:
    """An assignment to ct_mark or ct_label: instructions that OP_CT reads."""
    at = len(made.insns)
    if isinstance(action, nodes.Load) and isinstance(action.value, int):
        made.load(home(action.dst), action.value, action.mask)
    elif isinstance(action, nodes.Move) and not overlap(home(action.dst), home(action.src)):
        made.copy(home(action.dst), home(action.src))
    if len(made.insns) == at or any(i.dst not in _OPERANDS for i in made.insns[at:]):
        raise UnsupportedError("ct_commit with such an operand")


# --- NAT ---------------------------------------------------------------------


def address(ip: int, family: int) -> tuple[int, int, int, int]:
    """An address as OW_ARG_IP has it."""
    if family == 4:
        return 0, 0, 0xFFFF, ip
    return ip >> 96, ip >> 64 & _WORD, ip >> 32 & _WORD, ip & _WORD


def arguments(ip: int, family: int, ports: tuple[int, int] | None) -> list[Insn]:
    """What OVN_CT_SRC and OVN_CT_DST take."""
    words = (*address(ip, family), ports[0] << 16 | ports[1] if ports else 0)
    return [
        Insn(lib.OP_SET, dst=lib.OW_ARG_IP + n, a=_WORD, b=value) for n, value in enumerate(words)
    ]


def _nat(made: InsnList, action: nodes.CtNat, zone: int, side: int) -> None:
    if action.ip is None:
        _track(made, zone, lib.OVN_CT_NAT)
        return
    does = lib.OVN_CT_COMMIT | lib.OVN_CT_NAT | side
    if action.ports:
        does |= lib.OVN_CT_RANDOM
    _track(made, zone, does, arguments(action.ip, action.family, action.ports))


def _dnat(made: InsnList, action: nodes.CtDnat) -> None:
    _nat(made, action, lib.OW_DNAT_ZONE, lib.OVN_CT_DST)


def _snat(made: InsnList, action: nodes.CtSnat) -> None:
    _nat(made, action, lib.OW_SNAT_ZONE, lib.OVN_CT_SRC)


def _dnat_in_czone(made: InsnList, action: nodes.CtDnatInCzone) -> None:
    _nat(made, action, _common_zone(made), lib.OVN_CT_DST)


def _snat_in_czone(made: InsnList, action: nodes.CtSnatInCzone) -> None:
    _nat(made, action, _common_zone(made), lib.OVN_CT_SRC)


# --- load balancers ----------------------------------------------------------


def _balance(made: InsnList, action: nodes.CtLbBase) -> None:
    """One of the backends; without any the packet is of a connection that has one."""
    zone = _default_zone(made)
    if not action.backends:
        _track(made, zone, lib.OVN_CT_NAT | lib.OVN_CT_BALANCE)
        return
    backends: Sequence[nodes.Backend] = action.backends
    if isinstance(action, nodes.CtLbMarkLocal):
        backends = [b for b in backends if b.lport and made.is_resident(b.lport)]
    backends = [b for b in backends if b.family == backends[0].family]
    data = [insn for backend in backends for insn in _backend(backend)]
    choice = Insn(
        lib.OP_CT_LB,
        a=len(backends),
        b=hash_mask(action.hash_fields),
        c=len(data) // max(len(backends), 1),
    )
    does = lib.OVN_CT_COMMIT | lib.OVN_CT_NAT | lib.OVN_CT_DST | lib.OVN_CT_BALANCE
    word = lib.OW_CT_LABEL + 3 if isinstance(action, nodes.CtLb) else lib.OW_CT_MARK
    marks = NATTED | _FLAGS[action.flag]
    _track(made, zone, does, [choice, *data], [Insn(lib.OP_SET, dst=word, a=marks, b=marks)])


def _backend(backend: nodes.Backend) -> list[Insn]:
    if backend.family == 4:
        return [Insn(lib.OP_DATA, a=backend.ip, b=backend.port)]
    a, b, c, last = address(backend.ip, 6)
    return [Insn(lib.OP_DATA, a=a, b=b, c=c), Insn(lib.OP_DATA, a=last, b=backend.port)]


def _call(table: int) -> Callable[[InsnList, nodes.Result], None]:
    def call(made: InsnList, action: nodes.Result) -> None:
        word, shift = bit(action.dst)
        made.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)

    return call


def _snat_to_vip(made: InsnList, _: nodes.CtSnatToVip) -> None:
    made.emit(lib.OP_CALL, aux=lib.OVN_TABLE_SNAT_HAIRPIN)


# --- what was learnt ---------------------------------------------------------


def _commit_affinity(made: InsnList, action: nodes.CommitLbAff) -> None:
    data = [*_backend(action.vip), *_backend(action.backend)]
    made.emit(
        lib.OP_LEARN,
        dst=_PROTOCOLS[action.proto],
        a=lib.OVN_LEARNT_LB_AFF,
        b=action.timeout,
        c=len(data),
    )
    made.insns += data
    made.side.append(_still_backend(made, action))


def _affinity(made: InsnList, action: nodes.ChkLbAff) -> None:
    """What is remembered counts if a flow would still remember it: see _still_backend()."""
    word, shift = bit(action.dst)
    made.emit(lib.OP_LEARNT, dst=lib.OW_RESULT, a=FOUND_BIT, b=lib.OVN_LEARNT_LB_AFF)
    made.emit(lib.OP_CALL, dst=word, a=shift, aux=lib.OVN_TABLE_LB_AFF, b=lib.OVN_RES_FOUND)


def _still_backend(made: InsnList, action: nodes.CommitLbAff) -> SideRule:
    """The rule that knows the backend and puts it where the next table's flows look."""
    vip, backend, family = action.vip, action.backend, action.vip.family
    full = (1 << 128) - 1 if family == 6 else _WORD
    conj: Conj = (
        ("eth.type", 0x0800 if family == 4 else 0x86DD, 0xFFFF),
        (f"ip{family}.dst", vip.ip, full),
        ("arg.ip", backend.ip, (1 << 128) - 1),
        ("arg.port", backend.port, _WORD),
        ("arg.idle", action.timeout, _WORD),
    )
    proto = _PROTOCOLS[action.proto]
    if proto:
        conj += (("ip.proto", proto, 0xFF), ("tcp.dst", vip.port, 0xFFFF))
    ip6, port = "xxreg0", "reg8"
    if made.traits.consolidated:
        ip6, port = "xxreg1", "reg2"
    elif made.traits.router:
        ip6 = "xxreg1"
    answer = InsnList(made.pipeline, made.table, made.port_key, made.is_resident, made.traits)
    answer.load(ROOTS["reg4" if family == 4 else ip6], backend.ip, full)
    if backend.port:
        answer.load(ROOTS[port], backend.port, 0xFFFF)
    answer.load(Place(lib.OW_RESULT, FOUND_BIT, 1), 1, 1)
    return SideRule(lib.OVN_TABLE_LB_AFF, 100, conj, program(answer.insns))


def _commit_next_hop(made: InsnList, _: nodes.CommitEcmpNh) -> None:
    made.emit(lib.OP_LEARN, a=lib.OVN_LEARNT_ECMP_NH)


def _next_hop(kind: int) -> Callable[[InsnList, nodes.Result], None]:
    def ask(made: InsnList, action: nodes.Result) -> None:
        word, shift = bit(action.dst)
        made.emit(lib.OP_LEARNT, dst=word, a=shift, b=kind)

    return ask


# --- the original destination ------------------------------------------------


def _original(root: str) -> Callable[[InsnList, nodes.Result], None]:
    def copy(made: InsnList, action: nodes.Result) -> None:
        made.copy(home(action.dst), ROOTS[root])

    return copy


HANDLERS: Final[dict[type[nodes.Action], Callable[[Any, Any], None]]] = {
    nodes.CtNext: _next,
    nodes.CtClear: _clear,
    nodes.CtCommit: _commit,
    nodes.CtCommitToZone: _commit_to_zone,
    nodes.CtCommitNat: _commit_nat,
    nodes.CtDnat: _dnat,
    nodes.CtSnat: _snat,
    nodes.CtDnatInCzone: _dnat_in_czone,
    nodes.CtSnatInCzone: _snat_in_czone,
    nodes.CtLb: _balance,
    nodes.CtLbMark: _balance,
    nodes.CtLbMarkLocal: _balance,
    nodes.ChkLbHairpin: _call(lib.OVN_TABLE_LB_HAIRPIN),
    nodes.ChkLbHairpinReply: _call(lib.OVN_TABLE_LB_HAIRPIN_REPLY),
    nodes.CtSnatToVip: _snat_to_vip,
    nodes.CommitLbAff: _commit_affinity,
    nodes.ChkLbAff: _affinity,
    nodes.CommitEcmpNh: _commit_next_hop,
    nodes.ChkEcmpNh: _next_hop(lib.OVN_LEARNT_ECMP_NH),
    nodes.ChkEcmpNhMac: _next_hop(lib.OVN_LEARNT_ECMP_NH_MAC),
    nodes.CtNwDst: _original("ct.dst4"),
    nodes.CtIp6Dst: _original("ct.dst6"),
    nodes.CtTpDst: _original("ct_tp_dst"),
    nodes.CtProto: _original("ct_proto"),
    nodes.CtStateSave: _original("ct.saved"),
}
