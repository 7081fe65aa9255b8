# SPDX-License-Identifier: Apache-2.0
"""Field assignments, the stack, and values picked by weight -> instructions.

compile.actions takes HANDLERS into its own table.  What OVS does where two fields
overlap, and how wide it makes an entry of the stack, is done here as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.layout import ROOTS, WORD_BITS, Place
from ovn_bpf_controller.compile.lists import (
    TMP_WORDS,
    InsnList,
    bit,
    hash_mask,
    home,
    overlap,
    scratch,
)
from ovn_bpf_controller.lang import nodes

# Of the packet that an ICMP error quotes: no word, so it is an operand.
QUOTED_SOURCE: Final = "icmp4.inner_ip4.src"

# As OVS's tc queues are numbered: class 1:(N + 1) of an htb qdisc.
_QUEUE_MAJOR: Final = 1 << 16


def _assign(made: InsnList, action: nodes.Load) -> None:
    value = action.value
    if isinstance(value, str):
        value = made.port_key(value) if value else 0
    if action.dst.root == QUOTED_SOURCE:
        return made.emit(lib.OP_QUOTED_SRC, b=value)
    made.load(home(action.dst), value, action.mask)


def _move(made: InsnList, action: nodes.Move) -> None:
    dst, src = home(action.dst), home(action.src)
    if dst == src:
        return
    if overlap(dst, src):
        made.copy(scratch(src.width), src)
        src = scratch(src.width)
    made.copy(dst, src)


def _exchange(made: InsnList, action: nodes.Exchange) -> None:
    a, b = home(action.a), home(action.b)
    if a == b:
        return
    if overlap(a, b):
        # As OVS does it, so that the bits in common end up the same.
        _store(made, b)
        _store(made, a)
        _restore(made, b)
        _restore(made, a)
        return
    made.copy(scratch(a.width), a)
    made.copy(a, b)
    made.copy(b, scratch(b.width))


def _push(made: InsnList, action: nodes.Push) -> None:
    _store(made, home(action.field))


def _pop(made: InsnList, action: nodes.Pop) -> None:
    _restore(made, home(action.field))


def _store(made: InsnList, at: Place) -> None:
    """Every entry of the stack is as wide as the widest field: OVS pads, too."""
    for word in range(lib.OW_TMP, lib.OW_TMP + TMP_WORDS - at.width // WORD_BITS):
        made.emit(lib.OP_SET, dst=word, a=0xFFFFFFFF)
    made.copy(scratch(at.width), at)
    made.emit(lib.OP_PUSH, src=lib.OW_TMP, c=TMP_WORDS)


def _restore(made: InsnList, at: Place) -> None:
    made.emit(lib.OP_POP, dst=lib.OW_TMP, c=TMP_WORDS)
    made.copy(at, scratch(at.width))


def _dec_ttl(made: InsnList, _: nodes.DecTtl) -> None:
    made.emit(lib.OP_DEC_TTL)


def _check_pkt_larger(made: InsnList, action: nodes.CheckPktLarger) -> None:
    word, shift = bit(action.dst)
    made.emit(lib.OP_LARGER, dst=word, a=shift, b=action.length)


def _set_queue(made: InsnList, action: nodes.SetQueue) -> None:
    made.emit(lib.OP_QUEUE, a=_QUEUE_MAJOR | (action.queue_id + 1) & 0xFFFF)


def _select(made: InsnList, action: nodes.Select) -> None:
    """A value by weight, and on to the next table (OVN's select does both)."""
    targets = [(target.id, target.weight) for target in action.targets if target.weight]
    _pick(made, home(action.dst), targets, hash_mask(action.hash_fields))
    made.go_on(made.pipeline, made.table + 1)


def _fwd_group(made: InsnList, action: nodes.FwdGroup) -> None:
    """One of the ports, and out of it; nothing if one of them is not known, or for
    liveness not behind a tunnel (lib/actions.c, encode_FWD_GROUP).  Then each lives:
    without BFD a tunnel is up as long as its device is."""
    keys = [made.port_key(name) for name in action.ports]
    if not all(keys) or (action.liveness and not all(map(made.about.tunnelled, action.ports))):
        return
    _pick(made, ROOTS["outport"], [(key, 1) for key in keys], lib.OVN_HASH_5TUPLE)
    made.emit(lib.OP_OUTPUT)


def _pick(made: InsnList, dst: Place, targets: Sequence[tuple[int, int]], fields: int) -> None:
    for word in range(lib.OW_TMP, lib.OW_TMP + TMP_WORDS):
        made.emit(lib.OP_SET, dst=word, a=0xFFFFFFFF)
    number, value = lib.OW_ARG_PORT, lib.OW_TMP + TMP_WORDS - 1
    whole = sum(weight for _, weight in targets)
    made.emit(lib.OP_HASH, dst=number, a=fields, b=whole)
    end = 0
    for target, weight in targets:
        end += weight
        made.emit(lib.OP_PICK, dst=value, src=number, a=0xFFFFFFFF, b=end, c=target)
    made.copy(dst, scratch(dst.width))


HANDLERS: Final[dict[type[nodes.Action], Callable[[InsnList, Any], None]]] = {
    nodes.Load: _assign,
    nodes.Move: _move,
    nodes.Exchange: _exchange,
    nodes.Push: _push,
    nodes.Pop: _pop,
    nodes.DecTtl: _dec_ttl,
    nodes.CheckPktLarger: _check_pkt_larger,
    nodes.SetQueue: _set_queue,
    nodes.Select: _select,
    nodes.FwdGroup: _fwd_group,
}
