# SPDX-License-Identifier: Apache-2.0
"""The events of a trace -> a tree that says what the flows did.

observe.trace calls walk().  What happens is taken from the events, which the
interpreter wrote; only its words come from the logical flows, and those are used
if what was compiled of them is what ran.  Events that do not follow from the
instructions are an error, never guessed away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import INSN_BYTES, Insn, decode
from ovn_bpf_controller.datapath.reasons import reason_text
from ovn_bpf_controller.datapath.trace import TraceEvent
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.observe import trace_ct
from ovn_bpf_controller.observe.microflow import mac, read
from ovn_bpf_controller.observe.trace_actions import Actions, FlowText
from ovn_bpf_controller.observe.trace_node import Kind, Node
from ovn_bpf_controller.plaindata import NamedTuple

_OMITTED: Final = "/* omitting output because inport == outport && !flags.loopback */"

#: Instructions with others behind them that are not run.
_WITH_OPERANDS: Final = (lib.OP_CT, lib.OP_CT_LB, lib.OP_LEARN)


class Names(Protocol):
    """Who the numbers are."""

    def datapath(self, dp: int) -> str:
        """Name of a datapath."""

    def port(self, dp: int, key: int) -> str:
        """Name of a port or group, "" if there is none."""

    def members(self, dp: int, group: int) -> Sequence[int]:
        """Keys of the local ports of a group."""

    def chassis(self, index: int) -> str:
        """Name of a chassis."""

    def flow(self, number: int, dp: int) -> FlowText | None:
        """A logical flow by its number; None if there is none."""


def walk(
    events: Sequence[TraceEvent],
    names: Names,
    instruction: Callable[[int], bytes],
    root: Node,
    states: int = 0,
) -> None:
    """Adds what happened to root.  Raises DataPlaneError for a broken trace.

    states: how many --ct there were.
    """
    _Walk(events, names, instruction, states).all(root)


class _Walk:
    def __init__(
        self,
        events: Sequence[TraceEvent],
        names: Names,
        instruction: Callable[[int], bytes],
        states: int,
    ) -> None:
        self._events = events
        self._next = 0
        self._names = names
        self._instruction = instruction
        self._given = states > 0
        self._states = states  # that are left

    # --- events ----------------------------------------------------------------

    def _kind(self) -> int:
        """Of the event that comes next; TRACE_NONE at the end."""
        at_end = self._next >= len(self._events)
        return int(lib.TRACE_NONE) if at_end else self._events[self._next].kind

    def _take(self, *kinds: int) -> TraceEvent:
        if self._kind() not in kinds:
            raise DataPlaneError(f"event {self._next} of the trace is {self._kind()}, not {kinds}")
        self._next += 1
        return self._events[self._next - 1]

    def _insn(self, pc: int) -> Insn:
        return decode(self._instruction(pc))[0]

    def all(self, root: Node) -> None:
        """The whole trace."""
        if self._kind() == lib.TRACE_MATCH:
            self._lookup(root)
        while self._kind() in (lib.TRACE_REMOTE, lib.TRACE_DROP):
            if self._kind() == lib.TRACE_REMOTE:
                self._remote(root)
            else:
                self._drop(root)
        if self._kind() != lib.TRACE_NONE:
            raise DataPlaneError(f"event {self._next} of the trace comes from nowhere")

    # --- tables -----------------------------------------------------------------

    def _lookup(self, into: Node) -> None:
        e = self._take(lib.TRACE_MATCH)
        number = e.table % lib.OVN_EGRESS_BASE
        if not e.pc:
            node = into.add(Kind.TABLE, f"{number:2d}. no match (implicit drop)")
            self._drop(node)
            return
        flow = self._names.flow(e.flow, e.dp) if e.flow else None
        match = flow.match if flow else "(a rule of the agent's own)"
        short = f", uuid {flow.uuid[:8]}" if flow else ""
        text = f"{number:2d}. {match}, priority {e.prio}{short}"
        node = into.add(Kind.TABLE, text, uuid=flow.uuid if flow else "")
        self._list(e.pc, Actions(flow, e.pc, self._stored(flow, e.pc)), node, into)

    def _stored(self, flow: FlowText | None, pc: int) -> bool:
        """Whether what is in the map is what we would compile now."""
        if flow is None:
            return False
        count = len(flow.marks.insns) // INSN_BYTES
        stored = b"".join(self._instruction(pc + n) for n in range(count))
        if stored == flow.marks.insns:
            return True
        return self._insn(pc).op == lib.OP_DROP and bool(flow.texts)

    def _side_table(self) -> None:
        e = self._take(lib.TRACE_MATCH)
        hidden = Node(Kind.TABLE, "")
        self._list(e.pc, Actions(None, e.pc, False), hidden, hidden)

    # --- actions ------------------------------------------------------------------

    def _list(self, pc: int, actions: Actions, into: Node, tables: Node) -> None:
        """One list of actions up to its end; tables that follow go to `tables`."""
        asked: Node | None = None  # waits for what a look-up answers
        tracked: _Tracked | None = None
        while True:
            if self._kind() == lib.TRACE_DROP:
                return self._drop(into)
            e = self._take(lib.TRACE_INSN)
            if e.pc != pc:
                raise DataPlaneError(f"instruction {e.pc} instead of {pc} in the trace")
            insn = self._insn(pc)
            if asked and (actions.begins(pc) or insn.op == lib.OP_END):
                asked.text = f"eth.dst = {mac(read(e.words, 'eth.dst'))}"
                asked = None
            tell = actions.tell(pc, insn, e, into)
            if tell:
                asked = tell
            if insn.op == lib.OP_CT and not insn.a & lib.OVN_CT_KEEP:
                tracked = _Tracked(actions.stateful, e.words, self._answer(insn, e.words))
            elif insn.op == lib.OP_NEXT and tracked:
                title = trace_ct.title(*tracked[:2], e.words, tracked.answer)
                tables, tracked = tables.add(Kind.BLOCK, title), None
            step = self._one(pc, insn, e, actions, into, tables)
            if step is None:
                return None
            pc = step

    def _one(
        self, pc: int, insn: Insn, e: TraceEvent, actions: Actions, into: Node, tables: Node
    ) -> int | None:
        """Follows one instruction; returns the next of the list, None at the end."""
        if insn.op == lib.OP_END:
            return None
        if insn.op == lib.OP_CLONE:
            self._take(lib.TRACE_CLONE)
            block = into.add(Kind.BLOCK, actions.block(pc, self._insn(pc + 1), e.words))
            self._list(pc + 1, actions, block, block)
            if self._events[self._next - 1].reason == lib.DROP_NO_REPLY and len(block.subs) == 1:
                block.kind = Kind.NO_ANSWER
            return self._unless_end(pc + 1 + insn.a)
        if insn.op == lib.OP_NEXT:
            if chosen := actions.chosen(e.words):
                tables = tables.add(Kind.BLOCK, chosen)
            self._lookup(self._pipeline(insn, e, into, tables))
            return self._unless_end(pc + 1)
        if insn.op == lib.OP_OUTPUT:
            self._output(e, into, bool(e.egress and not insn.a))
            return self._unless_end(pc + 1)
        if insn.op == lib.OP_CALL:
            self._side_table()
        elif insn.op == lib.OP_FLOOD:
            into.add(Kind.OUTPUT, "/* Flood to all remote chassis */")
        elif self._kind() != lib.TRACE_DROP and insn.op in _WITH_OPERANDS:
            return pc + 1 + insn.c * (insn.a if insn.op == lib.OP_CT_LB else 1)
        elif self._kind() == lib.TRACE_LEARN:
            e = self._take(lib.TRACE_LEARN)
            into.add(
                Kind.OUTPUT, f'/* would learn a MAC address at "{self._name(e.dp, e.port)}" */'
            )
        elif self._kind() == lib.TRACE_DROP:
            self._drop(into)
            return None
        return pc + 1

    def _answer(self, insn: Insn, words: Sequence[int]) -> str:
        """Who answered an OP_CT; see trace_ct.title()."""
        if not self._given:
            return "live"
        if not trace_ct.takes_state(insn, words[lib.OW_CT_STATE]):
            return ""
        self._states -= 1
        return "given" if self._states >= 0 else "default"

    def _unless_end(self, pc: int) -> int | None:
        """The interpreter does not come back for nothing but OP_END."""
        return None if self._insn(pc).op == lib.OP_END else pc

    def _pipeline(self, insn: Insn, e: TraceEvent, into: Node, tables: Node) -> Node:
        """Where the tables go after a next: a change of pipelines is a step down."""
        return tables if insn.src == e.egress else into.add(Kind.PIPELINE, self._title(e, insn.src))

    def _title(self, e: TraceEvent, egress: int, outport: int = -1) -> str:
        text = f'dp="{self._names.datapath(e.dp)}"'
        text += f', inport="{self._name(e.dp, e.words[lib.OW_INPORT])}"'
        if not egress:
            return f"ingress({text})"
        outport = e.words[lib.OW_OUTPORT] if outport < 0 else outport
        return f'egress({text}, outport="{self._name(e.dp, outport)}")'

    def _name(self, dp: int, key: int) -> str:
        return self._names.port(dp, key) or "(unnamed)"

    # --- ends ---------------------------------------------------------------------

    def _output(self, e: TraceEvent, into: Node, egress: bool) -> None:
        if egress:
            return self._out_of_egress(into)
        outport = e.words[lib.OW_OUTPORT]
        if not outport:
            into.add(Kind.ERROR, "*** output to null logical port")
        elif not self._names.port(e.dp, outport):
            into.add(Kind.ERROR, f"*** unknown port or multicast group {outport}")
        if outport >= lib.OVN_MIN_MCGROUP:
            return self._group(e, outport, into)
        if self._kind() == lib.TRACE_DROP:
            return self._drop(into)
        if self._kind() == lib.TRACE_REMOTE:
            return self._remote(into)
        return self._lookup(into.add(Kind.PIPELINE, self._title(self._events[self._next], 1)))

    def _group(self, e: TraceEvent, group: int, into: Node) -> None:
        name = self._name(e.dp, group)
        text = f'multicast(dp="{self._names.datapath(e.dp)}", mcgroup="{name}")'
        node = into.add(Kind.PIPELINE, text)
        for member in self._names.members(e.dp, group):
            below = node.add(Kind.PIPELINE, self._title(e, 1, member))
            if self._kind() == lib.TRACE_DROP:
                self._drop(below)
            else:
                self._lookup(below)

    def _out_of_egress(self, into: Node) -> None:
        if self._kind() == lib.TRACE_DROP:
            return self._drop(into)
        e = self._take(lib.TRACE_DEVICE, lib.TRACE_PATCH)
        if e.kind == lib.TRACE_PATCH:
            return self._lookup(into.add(Kind.PIPELINE, self._title(e, 0)))
        name = self._name(e.dp, e.port)
        into.add(Kind.OUTPUT, f'/* output to "{name}" */')
        into.add(Kind.MODIFY, f'output("{name}")')
        return None

    def _remote(self, into: Node) -> None:
        e = self._take(lib.TRACE_REMOTE)
        chassis = self._names.chassis(e.chassis)
        if not e.words[lib.OW_OUTPORT]:  # flood_remote's
            into.add(Kind.OUTPUT, f'/* tunnel to chassis "{chassis}" */')
            return
        name = self._name(e.dp, e.words[lib.OW_OUTPORT])
        into.add(Kind.OUTPUT, f'/* tunnel to chassis "{chassis}", port "{name}" */')
        into.add(Kind.MODIFY, f'output("{name}")', remark=f'/* chassis "{chassis}" */')

    def _drop(self, into: Node) -> None:
        e = self._take(lib.TRACE_DROP)
        if e.reason == lib.DROP_LOOPBACK:
            into.add(Kind.OUTPUT, _OMITTED)
            return
        half = "egress" if e.table >= lib.OVN_EGRESS_BASE else "ingress"
        flow = self._names.flow(e.flow, e.dp) if e.flow else None
        culprit = f"flow {flow.uuid[:8]} in " if flow else ""
        where = f'{half} table {e.table % lib.OVN_EGRESS_BASE} of "{self._names.datapath(e.dp)}"'
        into.add(Kind.DROP, f"/* drop: {reason_text(e.reason)}; {culprit}{where} */")


class _Tracked(NamedTuple):
    """An OP_CT that a next follows."""

    action: nodes.Action | None
    before: Sequence[int]
    answer: str
