# SPDX-License-Identifier: Apache-2.0
"""Logical actions -> instructions of the interpreter (struct ovn_insn).

compile.compiler calls lower() for every list of actions.  Whether the data plane
can carry a verb out is decided here and nowhere else: a list with a verb that it
lacks becomes one drop with a reason of its own, because leaving the flow out would
let flows of lower priority decide about the packet.  Here are control and the slow path;
fields, look-ups and connections are in field_actions, learnt_actions and ct_actions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import ct_actions, field_actions, learnt_actions
from ovn_bpf_controller.compile.insns import Insn, encode, program
from ovn_bpf_controller.compile.lists import (
    EGRESS,
    INGRESS,
    SWITCH,
    TABLES,
    InsnList,
    SideRule,
    Traits,
    bit,
    home,
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
        """OVN's domain is the action's 8 bits and the datapath's key.

        Without collectors there is no sample (lib/actions.c, encode_SAMPLE).
        """
        if not self.about.collected(action.collector_set):
            return
        fields = {"aux": action.obs_domain, "a": action.probability, "b": action.collector_set}
        point = action.obs_point
        if isinstance(point, nodes.Field):
            at = home(point)
            if at.shift:  # OP_SAMPLE takes a whole word
                self.copy(scratch(at.width), at)
                at = scratch(at.width)
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

    def flood_remote(self, _: nodes.FloodRemote) -> None:
        self.emit(lib.OP_FLOOD)


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
    nodes.FloodRemote: _Lowering.flood_remote,
    nodes.NdNa: _Lowering.nd_na,
    nodes.NdNaRouter: _Lowering.nd_na,
    **dict.fromkeys(_REPLIES, _Lowering.reply),
    nodes.SetMeter: _Lowering.set_meter,
    nodes.Log: _Lowering.log,
    nodes.Sample: _Lowering.sample,
    **field_actions.HANDLERS,
    **learnt_actions.HANDLERS,
    **ct_actions.HANDLERS,
}
