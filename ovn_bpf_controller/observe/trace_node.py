# SPDX-License-Identifier: Apache-2.0
"""A trace as a tree, and its three forms as text.

observe.trace_walk makes the tree, the agent and ovn-bpf-trace print it.  The forms
are ovn-trace's: detailed, summary, and minimal, where only what is done to the
packet counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from ovn_bpf_controller.plaindata import dataclass, field


class Kind(StrEnum):
    """What a node is about."""

    PIPELINE = "pipeline"  # ingress(…), egress(…), multicast(…)
    TABLE = "table"  # the flow that matched
    ACTION = "action"  # as the flow says it
    MODIFY = "modify"  # what the packet shows of it
    OUTPUT = "output"  # where it goes, as a comment
    BLOCK = "block"  # a copy: clone, nd_na, icmp4 …
    NO_ANSWER = "no answer"  # such a copy that is not made, and why
    DROP = "drop"  # the end of a copy, and why
    ERROR = "error"  # what ovn-trace warns of


@dataclass(slots=True)
class Node:
    """uuid: of the logical flow, of a TABLE.  remark: printed behind the `;`."""

    kind: Kind
    text: str
    uuid: str = ""
    remark: str = ""
    subs: list[Node] = field(default_factory=list)

    def add(self, kind: Kind, text: str, uuid: str = "", remark: str = "") -> Node:
        """A new node below this one."""
        self.subs.append(Node(kind, text, uuid, remark))
        return self.subs[-1]


def to_json(node: Node) -> list[Any]:
    """A node as JSON."""
    return [node.kind.value, node.text, node.uuid, node.remark, [to_json(n) for n in node.subs]]


def from_json(data: Sequence[Any]) -> Node:
    """What to_json() made."""
    kind, text, uuid, remark, subs = data
    return Node(Kind(kind), text, uuid, remark, [from_json(sub) for sub in subs])


def uuids(node: Node) -> Iterator[str]:
    """Logical flows that it went through."""
    if node.uuid:
        yield node.uuid
    for sub in node.subs:
        yield from uuids(sub)


# --- text -----------------------------------------------------------------------

_MINIMAL = frozenset((Kind.MODIFY, Kind.ERROR, Kind.BLOCK))
_SUMMARY = frozenset(Kind) - {Kind.MODIFY, Kind.TABLE, Kind.NO_ANSWER}


def minimal(root: Node) -> str:
    """What is done to the packet, in order."""
    return _braces(_pruned([root], _MINIMAL), 0)


def summary(root: Node) -> str:
    """All actions."""
    return _braces(_pruned([root], _SUMMARY), 0)


def detailed(root: Node, stages: Mapping[str, str]) -> str:
    """Every step.  stages: "name (source hint)" of logical flows, by uuid."""
    return "\n".join(_detailed([root], 0, stages)).lstrip("\n") + "\n"


def _pruned(nodes: Sequence[Node], keep: frozenset[Kind]) -> list[Node]:
    """The nodes of some kinds; the others are replaced by what is below them."""
    found: list[Node] = []
    for node in nodes:
        subs = _pruned(node.subs, keep)
        if node.kind in keep:
            found.append(Node(node.kind, node.text, node.uuid, node.remark, subs))
        elif node.kind is not Kind.NO_ANSWER:
            found += subs
    return found


def _braces(nodes: Sequence[Node], level: int) -> str:
    text = ""
    indent = " " * 4 * level
    for node in nodes:
        if node.kind is Kind.ACTION and node.text.startswith("next("):
            continue
        text += indent + node.text
        if node.subs:
            text += " {\n" + _braces(node.subs, level + 1) + indent + "}"
        if node.kind is not Kind.ACTION:
            text += ";"
        text += (f" {node.remark}" if node.remark else "") + "\n"
    return text


def _detailed(nodes: Sequence[Node], level: int, stages: Mapping[str, str]) -> Iterator[str]:
    for node in nodes:
        if node.kind is Kind.MODIFY:
            continue
        title = node.kind in (Kind.PIPELINE, Kind.BLOCK, Kind.NO_ANSWER)
        deeper = level + (title and len(nodes) > 1 and node is not nodes[-1])
        indent = " " * 4 * deeper
        if title:
            yield ""
        text = node.text
        if node.kind is Kind.TABLE and stages.get(node.uuid):
            number, _, rest = text.partition(". ")
            text = f"{number}. {stages[node.uuid]}: {rest}"
        yield indent + text + (f" {node.remark}" if node.remark else "")
        if title:
            yield indent + "-" * len(text)
        yield from _detailed(node.subs, deeper + (node.kind is Kind.TABLE), stages)
