# SPDX-License-Identifier: Apache-2.0
"""The words for what instructions did: the actions that they were compiled from.

observe.trace_walk has one Actions for each list of instructions that ran.  What is
told is what ovn-trace would say of the action; without a flow, or when another
than what is stored now has run, it is the instructions themselves.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import verb
from ovn_bpf_controller.compile.insns import Insn, describe
from ovn_bpf_controller.compile.marks import Marks
from ovn_bpf_controller.datapath.trace import TraceEvent
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.observe.microflow import header, mac, read
from ovn_bpf_controller.observe.trace_node import Kind, Node
from ovn_bpf_controller.plaindata import dataclass

_DECIMAL: Final = frozenset(
    "ip.proto ip.ttl ip.dscp ip.ecn arp.op".split()
    + [f"{p}.{f}" for p in ("tcp", "udp", "sctp") for f in ("src", "dst")]
    + [f"{p}.{f}" for p in ("icmp4", "icmp6") for f in ("type", "code")]
)

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


def _is_register(root: str) -> bool:
    """Whether OVN keeps the field in a register: no packet shows it."""
    return root in ("inport", "outport", "flags") or root.lstrip("x").startswith("reg")


class Actions:
    """The words for a list of instructions that begins at `base`.

    stateful: the last action told that asks the tracker.
    """

    def __init__(self, flow: FlowText | None, base: int, stored: bool) -> None:
        self.stateful: nodes.Action | None = None
        self._select: nodes.Select | None = None  # on its way to the next table
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
            for line in _modifications(action, text, e.words):
                into.add(Kind.MODIFY, line)
        return waits

    def chosen(self, words: Sequence[int]) -> str:
        """What the select before this next has chosen, "" if there was none."""
        select, self._select = self._select, None
        if select is None:
            return ""
        dst = select.dst
        return f"select: {_written(dst)} = {read(words, dst.root, dst.offset, dst.width)}"

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
    if isinstance(action, nodes.Load) and not _is_register(action.dst.root):
        yield text.rstrip(";")
    elif isinstance(action, nodes.Move):
        yield from _moved(action.dst, action.src, words)
    elif isinstance(action, nodes.Exchange):
        yield from _moved(action.a, action.b, words)
        yield from _moved(action.b, action.a, words)
    elif isinstance(action, nodes.DecTtl):
        yield "ip.ttl--"


def _moved(dst: nodes.Field, src: nodes.Field, words: Sequence[int]) -> Iterator[str]:
    if _is_register(dst.root):
        return
    value = read(words, src.root, src.offset, src.width)
    whole = read(words, src.root) == value and src.offset == 0
    yield f"{_written(dst)} = {_formatted(src, value) if whole else hex(value)}"


def _written(field: nodes.Field) -> str:
    whole = field.name == field.root and field.offset == 0
    if not whole and field.name != field.root:
        return field.name
    return (
        field.name if whole else f"{field.name}[{field.offset}..{field.offset + field.width - 1}]"
    )


def _formatted(field: nodes.Field, value: int) -> str:
    """As Open vSwitch writes values of the field."""
    root = field.root
    if root in ("eth.src", "eth.dst", "arp.sha", "arp.tha", "nd.sll", "nd.tll"):
        return mac(value) if field.width == 48 else hex(value)
    if root in ("ip4.src", "ip4.dst", "arp.spa", "arp.tpa"):
        return str(ipaddress.IPv4Address(value)) if field.width == 32 else hex(value)
    if root in ("ip6.src", "ip6.dst", "nd.target"):
        return str(ipaddress.IPv6Address(value)) if field.width == 128 else hex(value)
    return str(value) if root in _DECIMAL else hex(value)
