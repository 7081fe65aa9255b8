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
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import ct_actions
from ovn_bpf_controller.compile.insns import Insn, encode, program
from ovn_bpf_controller.compile.layout import ROOTS, WORD_BITS, Place
from ovn_bpf_controller.compile.lists import (
    EGRESS,
    INGRESS,
    SWITCH,
    TABLES,
    TMP_WORDS,
    InsnList,
    SideRule,
    Traits,
    bit,
    hash_mask,
    home,
    overlap,
    scratch,
)
from ovn_bpf_controller.compile.punts import argument, marked, punt
from ovn_bpf_controller.compile.telling import (
    NOTHING,
    PACKET_IN,
    PAUSING,
    About,
    Told,
    meter,
    set_meter,
)
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.model import Meter
from ovn_bpf_controller.plaindata import dataclass

__all__ = ["EGRESS", "INGRESS", "TABLES", "Lowered", "Traits", "lower", "verb"]

# Flags of a neighbour advertisement (RFC 4861, 4.4), as OVN's nd_na sets them.
_ND_SOLICITED_OVERRIDE: Final = 0x60
_ND_ROUTER: Final = 0x80

# What becomes of a packet that the flow answers, by the verb; as ovn-controller's
# pinctrl.c has it, where reject{} alone turns the addresses round by itself.
_REPLIES: Final[dict[type[nodes.Action], int]] = {
    nodes.Icmp4: lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT,
    nodes.Icmp6: lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT,
    nodes.Icmp4Error: lib.OVN_REPLY_ERROR,
    nodes.Icmp6Error: lib.OVN_REPLY_ERROR,
    nodes.TcpReset: lib.OVN_REPLY_RESET,
    nodes.SctpAbort: lib.OVN_REPLY_ABORT,
    nodes.Reject: (
        lib.OVN_REPLY_RESET
        | lib.OVN_REPLY_ABORT
        | lib.OVN_REPLY_ERROR
        | lib.OVN_REPLY_PORT
        | lib.OVN_REPLY_SWAP
    ),
}

# Of the packet that an ICMP error quotes: no word, so it is an operand.
QUOTED_SOURCE: Final = "icmp4.inner_ip4.src"

# As OVS's tc queues are numbered: class 1:(N + 1) of an htb qdisc.
_QUEUE_MAJOR: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Lowered:
    """insns: up to and including OP_END.

    unsupported: verbs for whose sake insns is but a drop.  side: rules
    that go with it.  arguments: numbers of what verbs of the slow path say, and that.  told:
    meters and logs.
    """

    insns: bytes
    unsupported: tuple[str, ...] = ()
    side: tuple[SideRule, ...] = ()
    arguments: tuple[tuple[int, str], ...] = ()
    told: Told = NOTHING


DROP_UNSUPPORTED: Final = program([Insn(lib.OP_DROP, a=lib.DROP_UNSUPPORTED)])


def verb(action: nodes.Action) -> str:
    """The word that OVN has for an action: NdNaRouter -> "nd_na_router"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(action).__name__).lower()


def lower(
    actions: Sequence[nodes.Action],
    pipeline: int,
    table: int,
    port_key: Callable[[str], int],
    is_resident: Callable[[str], bool] = lambda _: False,
    traits: Traits = SWITCH,
    about: About = About(),  # noqa: B008
) -> Lowered:
    """Instructions for the actions of a flow in `table` of `pipeline`.

    port_key: tunnel key of a port or group of the flow's datapath, 0 when there
    is none.  is_resident: whether this chassis has a port.  traits: of the datapath.
    about: the flow, for meters and what tells of packets.
    What it cannot do is in the answer; it raises what port_key and is_resident raise.
    """
    lowering = _Lowering(pipeline, table, port_key, is_resident, traits)
    lowering.about = about
    lowering.flow(actions)
    if lowering.unsupported:
        return Lowered(DROP_UNSUPPORTED, tuple(lowering.unsupported))
    return Lowered(
        encode(marked(lowering.insns)),
        side=tuple(lowering.side),
        arguments=tuple(lowering.arguments),
        told=Told(lowering.meters, lowering.logs) if lowering.meters or lowering.logs else NOTHING,
    )


class _Lowering(InsnList):
    """One list of actions on its way; nested lists go to the same `insns`."""

    def __init__(
        self,
        pipeline: int,
        table: int,
        port_key: Callable[[str], int],
        is_resident: Callable[[str], bool],
        traits: Traits,
    ) -> None:
        super().__init__(pipeline, table, port_key, is_resident, traits)
        self.unsupported: list[str] = []
        self.arguments: list[tuple[int, str]] = []
        self.about = About()
        self.meters: dict[str, Meter | None] = {}
        self.logs: dict[int, str] = {}

    def flow(self, actions: Sequence[nodes.Action]) -> None:
        """Appends a flow's list.

        northd writes a drop as "drop;" and as a comment, perhaps behind a log(): what
        ends like that is counted as a drop, too.
        """
        self.run(actions or (nodes.Drop(),))
        if actions and all(isinstance(action, nodes.Log | nodes.Sample) for action in actions):
            self.insns.pop()
            self.emit(lib.OP_DROP, a=lib.DROP_ACTION)
            self.emit(lib.OP_END)

    def run(self, actions: Sequence[nodes.Action]) -> None:
        """Appends the list and its OP_END."""
        for left, action in zip(range(len(actions) - 1, -1, -1), actions, strict=True):
            self.last = not left
            try:
                self._one(action)
            except UnsupportedError as error:
                if str(error) not in self.unsupported:
                    self.unsupported.append(str(error))
        self.emit(lib.OP_END)

    def _one(self, action: nodes.Action) -> None:
        handler = _HANDLERS.get(type(action))
        if handler is not None and self.about.meter and isinstance(action, PACKET_IN):
            self._metered(handler, action)
        elif handler is not None:
            handler(self, action)
        else:
            raise UnsupportedError(verb(action))

    # --- meters, and what tells of packets -------------------------------

    def _metered(self, handler: Callable[[_Lowering, Any], None], action: nodes.Action) -> None:
        """controller_meter: above its rate the action is not done.

        Where nothing else is to be done either, that is the packet's end.
        """
        name = self.about.meter
        self.meters[name] = None
        ends = self.last or isinstance(action, PAUSING)
        at = len(self.insns)
        self.insns.append(meter(name, lib.DROP_COPP))
        handler(self, action)
        if not ends:
            self.insns[at] = meter(name, 0, len(self.insns) - at - 1)

    def set_meter(self, action: nodes.SetMeter) -> None:
        name, said = set_meter(action, self.about.uuid)
        self.meters[name] = said
        self.insns.append(meter(name, lib.DROP_METER))

    def log(self, action: nodes.Log) -> None:
        """The packet goes on whether there is a line or not."""
        if action.meter:
            self.meters[action.meter] = None
            self.insns.append(meter(action.meter, 0, 1))
        number, text = argument(action)
        self.logs[number] = text
        self.emit(lib.OP_LOG, src=int(bool(action.meter)), b=number)

    def sample(self, action: nodes.Sample) -> None:
        """OVN's domain is the action's 8 bits and the datapath's key."""
        fields = {"aux": action.obs_domain, "a": action.probability, "b": action.collector_set}
        point = action.obs_point
        if isinstance(point, nodes.Field):
            at = home(point)
            if at.shift:
                raise UnsupportedError("sample")
            self.emit(lib.OP_SAMPLE, src=1, dst=at.word, **fields)
        else:
            value = int(self.about.uuid[:8], 16) if isinstance(point, str) else point
            self.emit(lib.OP_SAMPLE, c=value, **fields)

    # --- slow path -------------------------------------------------------

    def ask(self, action: nodes.PutOpts | nodes.Result | nodes.DhcpRelay) -> None:
        """A verb that answers by a bit, and whose packet comes back."""
        word, shift = bit(action.dst)
        insn, argument = punt(action, word, shift)
        self.insns.append(insn)
        self.arguments.append(argument)

    def tell(self, action: nodes.Action) -> None:
        """A verb that is the slow path's business alone; the list goes on without it."""
        insn, argument = punt(action)
        self.arguments.append(argument)
        if self.last:
            self.insns.append(insn)
        else:
            self._block([insn], ())

    def resolve(self, action: nodes.Nested) -> None:
        """A block for a packet that the slow path makes; the list goes on without it."""
        insn, argument = punt(action)
        self.arguments.append(argument)
        self._block([insn], action.actions)

    # --- control ---------------------------------------------------------

    def output(self, _: nodes.Output) -> None:
        self.emit(lib.OP_OUTPUT)

    def drop(self, _: nodes.Drop) -> None:
        self.emit(lib.OP_DROP, a=lib.DROP_ACTION)

    def next(self, action: nodes.Next) -> None:
        pipeline = self.pipeline
        if action.pipeline is not None:
            pipeline = EGRESS if action.pipeline == "egress" else INGRESS
        self.go_on(pipeline, self.table + 1 if action.table is None else action.table)

    def clone(self, action: nodes.Clone) -> None:
        self._block([], action.actions)

    def mirror(self, action: nodes.Mirror) -> None:
        """A copy out of the port; OVN makes none where the port is not known.

        Whichever pipeline this is, the copy begins the port's egress pipeline, and none
        of the mirrored port's ingress registers go along.
        """
        key = self.port_key(action.port)
        if key:
            self.emit(lib.OP_CLONE, a=3)
            self.emit(lib.OP_SET, dst=lib.OW_OUTPORT, a=0xFFFFFFFF, b=key)
            self.emit(lib.OP_OUTPUT, a=1)
            self.emit(lib.OP_END)

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
        start = self.begin_block()
        self.insns += head
        self.run(actions)
        self.end_block(start)

    # --- fields ----------------------------------------------------------

    def assign(self, action: nodes.Load) -> None:
        value = action.value
        if isinstance(value, str):
            value = self.port_key(value) if value else 0
        if action.dst.root == QUOTED_SOURCE:
            return self.emit(lib.OP_QUOTED_SRC, b=value)
        self.load(home(action.dst), value, action.mask)

    def move(self, action: nodes.Move) -> None:
        dst, src = home(action.dst), home(action.src)
        if dst == src:
            return
        if overlap(dst, src):
            self.copy(scratch(src.width), src)
            src = scratch(src.width)
        self.copy(dst, src)

    def exchange(self, action: nodes.Exchange) -> None:
        a, b = home(action.a), home(action.b)
        if a == b:
            return
        if overlap(a, b):
            # As OVS does it, so that the bits in common end up the same.
            self._push(b)
            self._push(a)
            self._pop(b)
            self._pop(a)
            return
        self.copy(scratch(a.width), a)
        self.copy(a, b)
        self.copy(b, scratch(b.width))

    def push(self, action: nodes.Push) -> None:
        self._push(home(action.field))

    def pop(self, action: nodes.Pop) -> None:
        self._pop(home(action.field))

    def _push(self, at: Place) -> None:
        """Every entry of the stack is as wide as the widest field: OVS pads, too."""
        for word in range(lib.OW_TMP, lib.OW_TMP + TMP_WORDS - at.width // WORD_BITS):
            self.emit(lib.OP_SET, dst=word, a=0xFFFFFFFF)
        self.copy(scratch(at.width), at)
        self.emit(lib.OP_PUSH, src=lib.OW_TMP, c=TMP_WORDS)

    def _pop(self, at: Place) -> None:
        self.emit(lib.OP_POP, dst=lib.OW_TMP, c=TMP_WORDS)
        self.copy(at, scratch(at.width))

    # --- packet and tables -----------------------------------------------

    def dec_ttl(self, _: nodes.DecTtl) -> None:
        self.emit(lib.OP_DEC_TTL)

    def check_pkt_larger(self, action: nodes.CheckPktLarger) -> None:
        word, shift = bit(action.dst)
        self.emit(lib.OP_LARGER, dst=word, a=shift, b=action.length)

    def set_queue(self, action: nodes.SetQueue) -> None:
        self.emit(lib.OP_QUEUE, a=_QUEUE_MAJOR | (action.queue_id + 1) & 0xFFFF)

    def flood_remote(self, _: nodes.FloodRemote) -> None:
        self.emit(lib.OP_FLOOD)

    def select(self, action: nodes.Select) -> None:
        """A value by weight, and on to the next table (OVN's select does both)."""
        targets = [(target.id, target.weight) for target in action.targets if target.weight]
        self._pick(home(action.dst), targets, hash_mask(action.hash_fields))
        self.next(nodes.Next())

    def fwd_group(self, action: nodes.FwdGroup) -> None:
        """One of the ports that are known here, and out of it."""
        keys = [key for name in action.ports if (key := self.port_key(name))]
        self._pick(ROOTS["outport"], [(key, 1) for key in keys], lib.OVN_HASH_5TUPLE)
        self.emit(lib.OP_OUTPUT)

    def _pick(self, dst: Place, targets: Sequence[tuple[int, int]], fields: int) -> None:
        for word in range(lib.OW_TMP, lib.OW_TMP + TMP_WORDS):
            self.emit(lib.OP_SET, dst=word, a=0xFFFFFFFF)
        number, value = lib.OW_ARG_PORT, lib.OW_TMP + TMP_WORDS - 1
        whole = sum(weight for _, weight in targets)
        self.emit(lib.OP_HASH, dst=number, a=fields, b=whole)
        end = 0
        for target, weight in targets:
            end += weight
            self.emit(lib.OP_PICK, dst=value, src=number, a=0xFFFFFFFF, b=end, c=target)
        self.copy(dst, scratch(dst.width))

    def ct_clear(self, _: nodes.CtClear) -> None:
        self.emit(lib.OP_CT_CLEAR)

    def check_in_port_sec(self, action: nodes.CheckInPortSec) -> None:
        self._call(action.dst, lib.OVN_TABLE_IN_PORT_SEC)

    def check_out_port_sec(self, action: nodes.CheckOutPortSec) -> None:
        self._call(action.dst, lib.OVN_TABLE_OUT_PORT_SEC)

    def _call(self, result: nodes.Field, table: int) -> None:
        word, shift = bit(result)
        self.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_DROP)

    def get_fdb(self, action: nodes.GetFdb) -> None:
        """OVN's look-up leaves its answer in outport, whatever field it is for."""
        self.emit(lib.OP_GET_FDB, src=self._mac(action.mac))
        dst, outport = home(action.dst), ROOTS["outport"]
        if dst != outport:
            self.copy(dst, outport)

    def get_remote_fdb(self, action: nodes.GetRemoteFdb) -> None:
        """What was learnt from VTEPs by EVPN: nothing, here."""
        self.load(home(action.dst), 0, 0xFFFFFFFF)

    def chk_evpn_arp(self, action: nodes.ChkEvpnArp) -> None:
        word, shift = bit(action.dst)
        self.emit(lib.OP_SET, dst=word, a=1 << shift)

    def lookup_fdb(self, action: nodes.LookupFdb) -> None:
        port = home(action.port).word
        word, shift = bit(action.dst)
        self.emit(lib.OP_LOOKUP_FDB, dst=word, a=shift, src=self._mac(action.mac), b=port)

    def bind_vport(self, action: nodes.BindVport) -> None:
        """Nothing, as in OVN, while the virtual port is not known here."""
        key = self.port_key(action.vport)
        if key:
            self.emit(lib.OP_BIND_VPORT, src=home(action.parent).word, a=key)

    def put_fdb(self, action: nodes.PutFdb) -> None:
        port = home(action.port).word
        self.emit(lib.OP_PUT_FDB, src=self._mac(action.mac), b=port)

    # --- neighbours ------------------------------------------------------

    def get_mac_bind(self, action: nodes.GetMacBind) -> None:
        """eth.dst of a neighbour, 0 when it is unknown."""
        self._neighbour(action.port, action.ip)
        self.emit(lib.OP_CALL, aux=lib.OVN_TABLE_MAC_BINDING)
        self.copy(ROOTS["eth.dst"], ROOTS["arg.mac"])

    def lookup_mac_bind(self, action: nodes.LookupMacBind) -> None:
        self._neighbour(action.port, action.ip, action.mac)
        word, shift = bit(action.dst)
        table = lib.OVN_TABLE_MAC_LOOKUP
        self.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)

    def lookup_mac_bind_ip(self, action: nodes.LookupMacBindIp) -> None:
        self._neighbour(action.port, action.ip)
        word, shift = bit(action.dst)
        table = lib.OVN_TABLE_MAC_BINDING
        self.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)

    def put_mac_bind(self, action: nodes.PutMacBind) -> None:
        self._neighbour(action.port, action.ip, action.mac)
        self.emit(lib.OP_MAC_PUT)

    def mac_cache_use(self, _: nodes.MacCacheUse) -> None:
        self.emit(lib.OP_MAC_USE)

    def _neighbour(
        self, port: nodes.Field, ip: nodes.Field, mac: nodes.Field | None = None
    ) -> None:
        """Arguments to where the side tables and the learnt neighbours look for them."""
        self.copy(ROOTS["arg.port"], home(port))
        at = home(ip)
        if at.width == WORD_BITS:  # as ::ffff:a.b.c.d
            for word, value in enumerate((0, 0, 0xFFFF), lib.OW_ARG_IP):
                self.emit(lib.OP_SET, dst=word, a=0xFFFFFFFF, b=value)
            self.copy(Place(lib.OW_ARG_IP + 3, 0, WORD_BITS), at)
        else:
            self.copy(ROOTS["arg.ip"], at)
        if mac is not None:
            self.copy(ROOTS["arg.mac"], home(mac))

    def _mac(self, field: nodes.Field) -> int:
        """First of the two words that hold a MAC and nothing else."""
        at = home(field)
        if ROOTS[field.root].width == at.width:
            return at.word - 1
        mac = scratch(at.width)
        self.emit(lib.OP_SET, dst=mac.word - 1, a=0xFFFFFFFF)
        self.copy(mac, at)
        return mac.word - 1


_HANDLERS: Final[dict[type[nodes.Action], Callable[[_Lowering, Any], None]]] = {
    nodes.Arp: _Lowering.resolve,
    nodes.NdNs: _Lowering.resolve,
    nodes.PutDhcpOpts: _Lowering.ask,
    nodes.PutDhcpv6Opts: _Lowering.ask,
    nodes.DhcpRelayReqChk: _Lowering.ask,
    nodes.DhcpRelayRespChk: _Lowering.ask,
    nodes.HandleDhcpv6Reply: _Lowering.tell,
    nodes.DnsLookup: _Lowering.ask,
    nodes.PutNdRaOpts: _Lowering.ask,
    nodes.Igmp: _Lowering.tell,
    nodes.HandleSvcCheck: _Lowering.tell,
    nodes.HandleBfdMsg: _Lowering.tell,
    nodes.TriggerEvent: _Lowering.tell,
    nodes.Output: _Lowering.output,
    nodes.Drop: _Lowering.drop,
    nodes.Next: _Lowering.next,
    nodes.Clone: _Lowering.clone,
    nodes.Mirror: _Lowering.mirror,
    nodes.NdNa: _Lowering.nd_na,
    nodes.NdNaRouter: _Lowering.nd_na,
    nodes.Load: _Lowering.assign,
    nodes.Move: _Lowering.move,
    nodes.Exchange: _Lowering.exchange,
    nodes.Push: _Lowering.push,
    nodes.Pop: _Lowering.pop,
    nodes.DecTtl: _Lowering.dec_ttl,
    nodes.CtClear: _Lowering.ct_clear,
    nodes.CheckInPortSec: _Lowering.check_in_port_sec,
    nodes.CheckOutPortSec: _Lowering.check_out_port_sec,
    nodes.GetFdb: _Lowering.get_fdb,
    nodes.GetRemoteFdb: _Lowering.get_remote_fdb,
    nodes.ChkEvpnArp: _Lowering.chk_evpn_arp,
    nodes.LookupFdb: _Lowering.lookup_fdb,
    nodes.PutFdb: _Lowering.put_fdb,
    nodes.BindVport: _Lowering.bind_vport,
    **dict.fromkeys(_REPLIES, _Lowering.reply),
    nodes.CheckPktLarger: _Lowering.check_pkt_larger,
    nodes.SetQueue: _Lowering.set_queue,
    nodes.SetMeter: _Lowering.set_meter,
    nodes.Log: _Lowering.log,
    nodes.Sample: _Lowering.sample,
    nodes.FloodRemote: _Lowering.flood_remote,
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
    nodes.MacCacheUse: _Lowering.mac_cache_use,
    **ct_actions.HANDLERS,
}
