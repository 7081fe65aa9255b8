# SPDX-License-Identifier: Apache-2.0
"""Logical actions -> instructions of the interpreter (struct ovn_insn).

compile.compiler calls lower() for every list of actions.  Whether the data plane
can carry a verb out is decided here and nowhere else: a list with a verb that it
lacks becomes one drop with a reason of its own, because leaving the flow out would
let flows of lower priority decide about the packet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, encode, program
from ovn_bpf_controller.compile.layout import ROOTS, WORD_BITS, Place, chunks, cut, place
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang import nodes

INGRESS: Final = 0
EGRESS: Final = 1

# Tables that logical flows may have; the rest of the ingress half is the agent's.
TABLES: Final[tuple[int, int]] = (
    lib.OVN_TABLE_AGENT,
    lib.OVN_STAGES_PER_DP - lib.OVN_EGRESS_BASE,
)

# Flags of a neighbour advertisement (RFC 4861, 4.4), as OVN's nd_na sets them.
_ND_SOLICITED_OVERRIDE: Final = 0x60
_ND_ROUTER: Final = 0x80

# Words of the scratch space for values in flight.
_TMP_WORDS: Final = 4

# What becomes of a packet that the flow answers, by the verb; as ovn-controller's
# pinctrl.c has it, where reject{} alone turns the addresses round by itself.
_REPLIES: Final[dict[type[nodes.Action], int]] = {
    nodes.Icmp4: lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT,
    nodes.Icmp6: lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT,
    nodes.Icmp4Error: lib.OVN_REPLY_ERROR,
    nodes.Icmp6Error: lib.OVN_REPLY_ERROR,
    nodes.TcpReset: lib.OVN_REPLY_RESET,
    nodes.Reject: (
        lib.OVN_REPLY_RESET | lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT | lib.OVN_REPLY_SWAP
    ),
}

# hash_fields of select, in OVS's words (ovs-actions(7), dp_hash and hash).
_HASH_FIELDS: Final[dict[str, int]] = {
    "eth_src": lib.OVN_HASH_ETH_SRC,
    "eth_dst": lib.OVN_HASH_ETH_DST,
    "ip_src": lib.OVN_HASH_IP_SRC,
    "ip_dst": lib.OVN_HASH_IP_DST,
    "ipv6_src": lib.OVN_HASH_IP_SRC,
    "ipv6_dst": lib.OVN_HASH_IP_DST,
    "ipv6_label": lib.OVN_HASH_IP6_LABEL,
    "ip_proto": lib.OVN_HASH_IP_PROTO,
    "tcp_src": lib.OVN_HASH_L4_SRC,
    "tcp_dst": lib.OVN_HASH_L4_DST,
    "udp_src": lib.OVN_HASH_L4_SRC,
    "udp_dst": lib.OVN_HASH_L4_DST,
    "sctp_src": lib.OVN_HASH_L4_SRC,
    "sctp_dst": lib.OVN_HASH_L4_DST,
}

# As OVS's tc queues are numbered: class 1:(N + 1) of an htb qdisc.
_QUEUE_MAJOR: Final = 1 << 16

# Verbs that tell somebody about a packet and do nothing to it.
_SILENT: Final = (nodes.Log, nodes.Sample, nodes.MacCacheUse)


@dataclass(frozen=True, slots=True)
class Lowered:
    """insns: up to and including OP_END.

    unsupported: verbs for whose sake insns is but a drop.  partial: verbs that
    leave no trace in insns, though the packet goes the right way.
    """

    insns: bytes
    unsupported: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()


DROP_UNSUPPORTED: Final = program([Insn(lib.OP_DROP, a=lib.DROP_UNSUPPORTED)])


def verb(action: nodes.Action) -> str:
    """The word that OVN has for an action: NdNaRouter -> "nd_na_router"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(action).__name__).lower()


def lower(
    actions: Sequence[nodes.Action],
    pipeline: int,
    table: int,
    port_key: Callable[[str], int],
) -> Lowered:
    """Instructions for the actions of a flow in `table` of `pipeline`.

    port_key: tunnel key of a port or group of the flow's datapath, 0 when there
    is none.  What it cannot do is in the answer; it raises what port_key raises.
    """
    lowering = _Lowering(pipeline, table, port_key)
    # northd writes a drop as "drop;" and as nothing but a comment.
    lowering.run(actions or (nodes.Drop(),))
    if lowering.unsupported:
        return Lowered(DROP_UNSUPPORTED, tuple(lowering.unsupported), tuple(lowering.partial))
    return Lowered(encode(lowering.insns), partial=tuple(lowering.partial))


def _bit_address(home: Place) -> int:
    """Where a field begins in the words taken as one number, last word lowest."""
    return home.shift - home.word * WORD_BITS


def _overlap(a: Place, b: Place) -> bool:
    distance = _bit_address(a) - _bit_address(b)
    return -a.width < distance < b.width


def _field(field: nodes.Field) -> Place:
    return place(field.root, field.offset, field.width)


def _scratch(width: int) -> Place:
    """Room for a value of `width` bits at the low end of the scratch words."""
    return Place(lib.OW_TMP + _TMP_WORDS - 1, 0, width)


def _hash_mask(fields: str | None) -> int:
    """enum ovn_hash for select's hash_fields; what we do not know adds nothing."""
    mask = 0
    for name in re.split(r"[ ,]+", fields or ""):
        mask |= _HASH_FIELDS.get(name.partition("=")[0], 0)
    return mask or int(lib.OVN_HASH_5TUPLE)


class _Lowering:
    """One list of actions on its way; nested lists go to the same `insns`."""

    def __init__(self, pipeline: int, table: int, port_key: Callable[[str], int]) -> None:
        self._pipeline = pipeline
        self._table = table
        self._port_key = port_key
        self.insns: list[Insn] = []
        self.unsupported: list[str] = []
        self.partial: list[str] = []

    def run(self, actions: Sequence[nodes.Action]) -> None:
        """Appends the list and its OP_END."""
        for action in actions:
            try:
                self._one(action)
            except UnsupportedError as error:
                if str(error) not in self.unsupported:
                    self.unsupported.append(str(error))
        self._emit(lib.OP_END)

    def _one(self, action: nodes.Action) -> None:
        handler = _HANDLERS.get(type(action))
        if handler is not None:
            handler(self, action)
        elif isinstance(action, _SILENT):
            if verb(action) not in self.partial:
                self.partial.append(verb(action))
        else:
            raise UnsupportedError(verb(action))

    def _emit(self, op: int, **fields: int) -> None:
        self.insns.append(Insn(op, **fields))

    # --- control ---------------------------------------------------------

    def output(self, _: nodes.Output) -> None:
        self._emit(lib.OP_OUTPUT)

    def drop(self, _: nodes.Drop) -> None:
        self._emit(lib.OP_DROP, a=lib.DROP_ACTION)

    def next(self, action: nodes.Next) -> None:
        pipeline = self._pipeline
        if action.pipeline is not None:
            pipeline = EGRESS if action.pipeline == "egress" else INGRESS
        table = self._table + 1 if action.table is None else action.table
        if table >= TABLES[pipeline]:
            raise UnsupportedError(f"next to table {table}")
        self._emit(lib.OP_NEXT, src=pipeline, aux=table)

    def clone(self, action: nodes.Clone) -> None:
        self._block([], action.actions)

    def nd_na(self, action: nodes.NdNa | nodes.NdNaRouter) -> None:
        """OVN answers from a packet of its own; ours is a copy turned round."""
        flags = _ND_SOLICITED_OVERRIDE
        if isinstance(action, nodes.NdNaRouter):
            flags |= _ND_ROUTER
        self._block([Insn(lib.OP_ND_NA, a=flags)], action.actions)

    def reply(self, action: nodes.Nested) -> None:
        """OVN's agent makes a packet; ours is a copy that becomes the answer."""
        self._block([Insn(lib.OP_REPLY, a=_REPLIES[type(action)])], action.actions)

    def _block(self, head: list[Insn], actions: Sequence[nodes.Action]) -> None:
        start = len(self.insns)
        self._emit(lib.OP_CLONE)
        self.insns += head
        self.run(actions)
        self.insns[start] = Insn(lib.OP_CLONE, a=len(self.insns) - start - 1)

    # --- fields ----------------------------------------------------------

    def load(self, action: nodes.Load) -> None:
        home = _field(action.dst)
        value = action.value
        if isinstance(value, str):
            value = self._port_key(value) if value else 0
        for chunk in chunks(home):
            mask = cut(action.mask, chunk)
            if mask:
                self._emit(lib.OP_SET, dst=chunk.word, a=mask, b=cut(value, chunk) & mask)

    def move(self, action: nodes.Move) -> None:
        dst, src = _field(action.dst), _field(action.src)
        if dst == src:
            return
        if _overlap(dst, src):
            self._copy(_scratch(src.width), src)
            src = _scratch(src.width)
        self._copy(dst, src)

    def exchange(self, action: nodes.Exchange) -> None:
        a, b = _field(action.a), _field(action.b)
        if a == b:
            return
        if _overlap(a, b):
            # As OVS does it, so that the bits in common end up the same.
            self._push(b)
            self._push(a)
            self._pop(b)
            self._pop(a)
            return
        self._copy(_scratch(a.width), a)
        self._copy(a, b)
        self._copy(b, _scratch(b.width))

    def push(self, action: nodes.Push) -> None:
        self._push(_field(action.field))

    def pop(self, action: nodes.Pop) -> None:
        self._pop(_field(action.field))

    def _copy(self, dst: Place, src: Place) -> None:
        """Piece by piece, each in one word on both sides; the two are disjoint."""
        pos = 0
        while pos < dst.width:
            to_word, to_shift = divmod(dst.shift + pos, WORD_BITS)
            from_word, from_shift = divmod(src.shift + pos, WORD_BITS)
            bits = min(WORD_BITS - to_shift, WORD_BITS - from_shift, dst.width - pos)
            self._emit(
                lib.OP_MOVE,
                dst=dst.word - to_word,
                src=src.word - from_word,
                a=to_shift,
                b=from_shift,
                c=bits,
            )
            pos += bits

    def _push(self, home: Place) -> None:
        """Every entry of the stack is as wide as the widest field: OVS pads, too."""
        for word in range(lib.OW_TMP, lib.OW_TMP + _TMP_WORDS - home.width // WORD_BITS):
            self._emit(lib.OP_SET, dst=word, a=0xFFFFFFFF)
        self._copy(_scratch(home.width), home)
        self._emit(lib.OP_PUSH, src=lib.OW_TMP, c=_TMP_WORDS)

    def _pop(self, home: Place) -> None:
        self._emit(lib.OP_POP, dst=lib.OW_TMP, c=_TMP_WORDS)
        self._copy(home, _scratch(home.width))

    # --- packet and tables -----------------------------------------------

    def dec_ttl(self, _: nodes.DecTtl) -> None:
        self._emit(lib.OP_DEC_TTL)

    def check_pkt_larger(self, action: nodes.CheckPktLarger) -> None:
        word, shift = self._bit(action.dst)
        self._emit(lib.OP_LARGER, dst=word, a=shift, b=action.length)

    def set_queue(self, action: nodes.SetQueue) -> None:
        self._emit(lib.OP_QUEUE, a=_QUEUE_MAJOR | (action.queue_id + 1) & 0xFFFF)

    def select(self, action: nodes.Select) -> None:
        """A value by weight, and on to the next table (OVN's select does both)."""
        targets = [(target.id, target.weight) for target in action.targets if target.weight]
        self._pick(_field(action.dst), targets, _hash_mask(action.hash_fields))
        self.next(nodes.Next())

    def fwd_group(self, action: nodes.FwdGroup) -> None:
        """One of the ports that are known here, and out of it."""
        keys = [key for name in action.ports if (key := self._port_key(name))]
        self._pick(ROOTS["outport"], [(key, 1) for key in keys], lib.OVN_HASH_5TUPLE)
        self._emit(lib.OP_OUTPUT)

    def _pick(self, dst: Place, targets: Sequence[tuple[int, int]], fields: int) -> None:
        for word in range(lib.OW_TMP, lib.OW_TMP + _TMP_WORDS):
            self._emit(lib.OP_SET, dst=word, a=0xFFFFFFFF)
        number, value = lib.OW_ARG_PORT, lib.OW_TMP + _TMP_WORDS - 1
        whole = sum(weight for _, weight in targets)
        self._emit(lib.OP_HASH, dst=number, a=fields, b=whole)
        end = 0
        for target, weight in targets:
            end += weight
            self._emit(lib.OP_PICK, dst=value, src=number, a=0xFFFFFFFF, b=end, c=target)
        self._copy(dst, _scratch(dst.width))

    def ct_clear(self, _: nodes.CtClear) -> None:
        self._emit(lib.OP_CT_CLEAR)

    def check_in_port_sec(self, action: nodes.CheckInPortSec) -> None:
        self._call(action.dst, lib.OVN_TABLE_IN_PORT_SEC)

    def check_out_port_sec(self, action: nodes.CheckOutPortSec) -> None:
        self._call(action.dst, lib.OVN_TABLE_OUT_PORT_SEC)

    def _call(self, result: nodes.Field, table: int) -> None:
        word, shift = self._bit(result)
        self._emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_DROP)

    def get_fdb(self, action: nodes.GetFdb) -> None:
        """OVN's look-up leaves its answer in outport, whatever field it is for."""
        self._emit(lib.OP_GET_FDB, src=self._mac(action.mac))
        dst, outport = _field(action.dst), ROOTS["outport"]
        if dst != outport:
            self._copy(dst, outport)

    def lookup_fdb(self, action: nodes.LookupFdb) -> None:
        port = _field(action.port).word
        word, shift = self._bit(action.dst)
        self._emit(lib.OP_LOOKUP_FDB, dst=word, a=shift, src=self._mac(action.mac), b=port)

    def put_fdb(self, action: nodes.PutFdb) -> None:
        port = _field(action.port).word
        self._emit(lib.OP_PUT_FDB, src=self._mac(action.mac), b=port)

    # --- neighbours ------------------------------------------------------

    def get_mac_bind(self, action: nodes.GetMacBind) -> None:
        """eth.dst of a neighbour, 0 when it is unknown."""
        self._neighbour(action.port, action.ip)
        self._emit(lib.OP_CALL, aux=lib.OVN_TABLE_MAC_BINDING)
        self._copy(ROOTS["eth.dst"], ROOTS["arg.mac"])

    def lookup_mac_bind(self, action: nodes.LookupMacBind) -> None:
        self._neighbour(action.port, action.ip, action.mac)
        word, shift = self._bit(action.dst)
        table = lib.OVN_TABLE_MAC_LOOKUP
        self._emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)

    def lookup_mac_bind_ip(self, action: nodes.LookupMacBindIp) -> None:
        self._neighbour(action.port, action.ip)
        word, shift = self._bit(action.dst)
        table = lib.OVN_TABLE_MAC_BINDING
        self._emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)

    def put_mac_bind(self, action: nodes.PutMacBind) -> None:
        self._neighbour(action.port, action.ip, action.mac)
        self._emit(lib.OP_MAC_PUT)

    def _neighbour(
        self, port: nodes.Field, ip: nodes.Field, mac: nodes.Field | None = None
    ) -> None:
        """Arguments to where the side tables and the learnt neighbours look for them."""
        self._copy(ROOTS["arg.port"], _field(port))
        home = _field(ip)
        if home.width == WORD_BITS:  # as ::ffff:a.b.c.d
            for word, value in enumerate((0, 0, 0xFFFF), lib.OW_ARG_IP):
                self._emit(lib.OP_SET, dst=word, a=0xFFFFFFFF, b=value)
            self._copy(Place(lib.OW_ARG_IP + 3, 0, WORD_BITS), home)
        else:
            self._copy(ROOTS["arg.ip"], home)
        if mac is not None:
            self._copy(ROOTS["arg.mac"], _field(mac))

    def _bit(self, field: nodes.Field) -> tuple[int, int]:
        first = next(chunks(_field(field)))
        return first.word, first.shift

    def _mac(self, field: nodes.Field) -> int:
        """First of the two words that hold a MAC and nothing else."""
        home = _field(field)
        if ROOTS[field.root].width == home.width:
            return home.word - 1
        mac = _scratch(home.width)
        self._emit(lib.OP_SET, dst=mac.word - 1, a=0xFFFFFFFF)
        self._copy(mac, home)
        return mac.word - 1


_HANDLERS: Final[dict[type[nodes.Action], Callable[[_Lowering, Any], None]]] = {
    nodes.Output: _Lowering.output,
    nodes.Drop: _Lowering.drop,
    nodes.Next: _Lowering.next,
    nodes.Clone: _Lowering.clone,
    nodes.NdNa: _Lowering.nd_na,
    nodes.NdNaRouter: _Lowering.nd_na,
    nodes.Load: _Lowering.load,
    nodes.Move: _Lowering.move,
    nodes.Exchange: _Lowering.exchange,
    nodes.Push: _Lowering.push,
    nodes.Pop: _Lowering.pop,
    nodes.DecTtl: _Lowering.dec_ttl,
    nodes.CtClear: _Lowering.ct_clear,
    nodes.CheckInPortSec: _Lowering.check_in_port_sec,
    nodes.CheckOutPortSec: _Lowering.check_out_port_sec,
    nodes.GetFdb: _Lowering.get_fdb,
    nodes.LookupFdb: _Lowering.lookup_fdb,
    nodes.PutFdb: _Lowering.put_fdb,
    **dict.fromkeys(_REPLIES, _Lowering.reply),
    nodes.CheckPktLarger: _Lowering.check_pkt_larger,
    nodes.SetQueue: _Lowering.set_queue,
    nodes.Select: _Lowering.select,
    nodes.FwdGroup: _Lowering.fwd_group,
    nodes.GetArp: _Lowering.get_mac_bind,
    nodes.GetNd: _Lowering.get_mac_bind,
    nodes.LookupArp: _Lowering.lookup_mac_bind,
    nodes.LookupNd: _Lowering.lookup_mac_bind,
    nodes.LookupArpIp: _Lowering.lookup_mac_bind_ip,
    nodes.LookupNdIp: _Lowering.lookup_mac_bind_ip,
    nodes.PutArp: _Lowering.put_mac_bind,
    nodes.PutNd: _Lowering.put_mac_bind,
}
