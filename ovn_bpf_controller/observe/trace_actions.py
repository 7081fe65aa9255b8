# SPDX-License-Identifier: Apache-2.0
"""The words for what instructions did: the actions that they were compiled from.

observe.trace_walk has one Actions for each list of instructions that ran.  What is
told is what ovn-trace would say of the action; without a flow, or when another
than what is stored now has run, it is the instructions themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import verb
from ovn_bpf_controller.compile.insns import Insn, describe
from ovn_bpf_controller.compile.marks import Marks
from ovn_bpf_controller.datapath.trace import TraceEvent
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.observe.microflow import header, read
from ovn_bpf_controller.observe.trace_fields import formatted, is_register, number, written
from ovn_bpf_controller.observe.trace_node import Kind, Node
from ovn_bpf_controller.plaindata import dataclass

_STATEFUL: Final = (
    nodes.CtNext,
    nodes.CtCommitToZone,
    nodes.CtCommitNat,
    nodes.CtNat,
    nodes.CtLbBase,
)
_RESETS: Final = {6: "tcp_reset", 132: "sctp_abort"}
# Registers of the context that ovn-trace leaves alone: zones and physical flags.
_OURS: Final = (lib.OW_DNAT_ZONE, lib.OW_SNAT_ZONE, lib.OW_CT_ZONE)
_PHYSICAL: Final = lib.MLF_NESTED_CONTAINER | lib.MLF_LOCALPORT | lib.MLF_RX_FROM_TUNNEL


@dataclass(frozen=True, slots=True)
class FlowText:
    """A logical flow for people; texts: of the actions in marks, in order."""

    uuid: str
    match: str
    marks: Marks
    texts: tuple[str, ...]


class Actions:
    """The words for a list of instructions that begins at `base`.

    stateful: the last action told that asks the tracker.
    """

    def __init__(self, flow: FlowText | None, base: int, stored: bool) -> None:
        self.stateful: nodes.Action | None = None
        self._select: nodes.Select | None = None  # on its way to the next table
        self._stack: list[int] = []  # what push() has put by
        self._marks: dict[int, list[tuple[str, nodes.Action]]] = {}
        if flow is None or not stored:
            return
        for (offset, action), text in zip(flow.marks.actions, flow.texts, strict=True):
            self._marks.setdefault(base + offset, []).append((text, action))

    def begins(self, pc: int) -> bool:
        """Whether an action, or the end of the list, is at pc."""
        return pc in self._marks or not self._marks

    def tell(self, pc: int, insn: Insn, e: TraceEvent, into: Node) -> Node | None:
        """Adds the actions that begin at pc.

        Returns the node whose text is only known when the action is done.
        """
        waits = None
        if not self._marks and insn.op != lib.OP_END:
            into.add(Kind.ACTION, f"{describe(insn)};")
        for text, action in self._marks.get(pc, ()):
            into.add(Kind.ACTION, text)
            if isinstance(action, _STATEFUL):
                self.stateful = action
            if isinstance(action, nodes.GetMacBind):
                waits = into.add(Kind.MODIFY, "eth.dst = ?")
            elif isinstance(action, nodes.Log):
                into.add(Kind.BLOCK, _log(action, e))
            elif isinstance(action, nodes.Select):
                self._select = action
            elif isinstance(action, nodes.DnsLookup):  # a trace asks no agent
                into.add(Kind.ERROR, "*** dns_lookup action not implemented")
            elif isinstance(action, nodes.Push | nodes.Pop):
                into.add(Kind.MODIFY, self._stacked(action, e.words))
            for line in _modifications(action, text, e.words):
                into.add(Kind.MODIFY, line)
        return waits

    def _stacked(self, action: nodes.Push | nodes.Pop, words: Sequence[int]) -> str:
        """What is put by, or comes back."""
        name = written(action.field)
        if isinstance(action, nodes.Push):
            self._stack.append(_value(action.field, words))
            return f"push({name}) -> {number(self._stack[-1])}"
        return f"pop({name}) <- {number(self._stack.pop()) if self._stack else '/* empty stack */'}"

    def chosen(self, words: Sequence[int]) -> str:
        """What the select before this next has chosen, "" if there was none."""
        select, self._select = self._select, None
        if select is None:
            return ""
        return f"select: {written(select.dst)} = {_value(select.dst, words)}"

    def block(self, pc: int, first: Insn, words: Sequence[int]) -> str:
        """What a copy that begins at pc is for, in ovn-trace's words."""
        # Behind the meter that the action begins with, if it has one.
        marks = self._marks.get(pc) or self._marks.get(pc - 1)
        if not marks:
            return "nd_na" if first.op == lib.OP_ND_NA else "clone"
        action = marks[-1][1]
        if isinstance(action, nodes.Reject):
            if reset := _RESETS.get(read(words, "ip.proto")):
                return reset
            return "icmp4" if read(words, "eth.type") == 0x0800 else "icmp6"
        name = verb(action).removesuffix("_error")
        return {"nd_na_router": "nd_na", "mirror": "clone"}.get(name, name)


def _log(action: nodes.Log, e: TraceEvent) -> str:
    """A line of the ACL log, as ovn-trace has it."""
    words = [0 if n in _OURS else word for n, word in enumerate(e.words)]
    words[lib.OW_FLAGS] &= ~_PHYSICAL
    return (
        f"LOG: ACL name={action.name or '<unnamed>'}, direction={'OUT' if e.egress else 'IN'}, "
        f'verdict={action.verdict}, severity={action.severity}, packet="{header(words)}"'
    )


def _modifications(action: nodes.Action, text: str, words: Sequence[int]) -> Iterator[str]:
    """What an action does to fields that are in the packet."""
    if isinstance(action, nodes.Load) and not is_register(action.dst.root):
        value = text.rstrip(";").partition("=")[2].strip()
        yield f"{written(action.dst)} = {value}"
    elif isinstance(action, nodes.Move):
        yield from _moved(action.dst, action.src, words)
    elif isinstance(action, nodes.Exchange):
        yield from _moved(action.a, action.b, words)
        yield from _moved(action.b, action.a, words)
    elif isinstance(action, nodes.DecTtl):
        yield "ip.ttl--"


def _moved(dst: nodes.Field, src: nodes.Field, words: Sequence[int]) -> Iterator[str]:
    if not is_register(dst.root):
        yield f"{written(dst)} = {formatted(src, _value(src, words))}"


def _value(field: nodes.Field, words: Sequence[int]) -> int:
    return read(words, field.root, field.offset, field.width)
