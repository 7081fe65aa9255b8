# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf/trace: where would this packet go?

The control command and the tests call run().  A microflow becomes words, the data
plane tries them on the live maps, and the events become the lines that ovn-trace
would print.  Nothing is kept and nothing changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import verb
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.compile.env import Env
from ovn_bpf_controller.compile.marks import mark
from ovn_bpf_controller.compile.telling import About
from ovn_bpf_controller.datapath.trace import NOTHING_GIVEN, Given, Tracer
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import parse_actions
from ovn_bpf_controller.lang.templates import substitute_templates
from ovn_bpf_controller.observe import microflow
from ovn_bpf_controller.observe.trace_actions import FlowText
from ovn_bpf_controller.observe.trace_node import Kind, Node, detailed, minimal, summary
from ovn_bpf_controller.observe.trace_walk import walk
from ovn_bpf_controller.plaindata import dataclass

FORMS: Final = ("detailed", "summary", "minimal")  # in the order of ovn-trace --all


@dataclass(frozen=True, slots=True)
class World:
    """Names of what a trace meets; the answers of functions are "" for the unknown.

    compiler, env: of the flows that are in the data plane.
    """

    compiler: FlowCompiler
    env: Env
    datapath: Callable[[int], str]
    port: Callable[[int, int], str]
    members: Callable[[int, int], Sequence[int]]
    chassis: Callable[[int], str]

    def flow(self, number: int, dp: int) -> FlowText | None:
        """See trace_walk.Names."""
        uuid = self.compiler.flow_ids.uuid(number)
        row = self.compiler.flow(uuid) if uuid else None
        if row is None or uuid is None:
            return None
        text = substitute_templates(row.actions, self.env.template_vars())
        actions = parse_actions(text)
        marks = mark(
            actions,
            row.pipeline,
            row.table,
            lambda name: self.env.port_key(dp, name) or 0,
            self.env.is_resident,
            self.env.traits(dp),
            About(uuid, row.meter, self.env.has_collector, lambda n: self.env.has_tunnel(dp, n)),
        )
        texts = tuple(statements(text)) or ("drop;",)
        if len(texts) != len(marks.actions):
            texts = tuple(f"{verb(action)};" for _, action in marks.actions)
        return FlowText(uuid, row.match, marks, texts)


@dataclass(frozen=True, slots=True)
class Result:
    """header: the packet, in Open vSwitch's words.  root: what became of it."""

    header: str
    root: Node

    def text(self, forms: Sequence[str]) -> str:
        """In these FORMS."""
        return show(self.header, self.root, forms, {})


def show(header: str, root: Node, forms: Sequence[str], stages: dict[str, str]) -> str:
    """A trace as text.  stages: see trace_node.detailed()."""
    text = f"# {header}\n"
    for form in FORMS:
        if form not in forms:
            continue
        if len(forms) > 1:
            text += f"# {form.capitalize()} trace.\n"
        if form == "detailed":
            text += ("\n" if not text.endswith("\n\n") else "") + detailed(root, stages)
        else:
            text += summary(root) if form == "summary" else minimal(root)
    return text


def run(
    tracer: Tracer, world: World, dp: int, expr: nodes.Expr, given: Given = NOTHING_GIVEN
) -> Result:
    """Traces the packet that expr means, from its inport on datapath dp.

    given: what the expression cannot say.

    Raises microflow.MicroflowError, and DataPlaneError for a trace that makes no
    sense or is too long.
    """
    words = microflow.words(expr, dp, world.env)
    inport = world.port(dp, words[lib.OW_INPORT]) or "(unnamed)"
    root = Node(Kind.PIPELINE, f'ingress(dp="{world.datapath(dp)}", inport="{inport}")')
    found = tracer.run(words, given=given)
    if found.lost:
        raise DataPlaneError(f"the trace is longer than its log by {found.lost} events")
    walk(found.events, world, tracer.instruction, root, len(given.states))
    return Result(microflow.header(words), root)


# northd leaves the spaces out here and there.
_ASSIGNED: Final = r"^([a-z][\w.]*(?:\[[\d.]+\])?)\s*=\s*(?!=)"
_STATEMENT: Final = r'(?s)"(?:[^"\\]|\\.)*"|/\*.*?\*/|//[^\n]*|[{};]|[^"/{};]+|/'


def statements(text: str) -> Iterator[str]:
    """The actions in `text`, each with its `;`, those of a block after the block."""
    parts = [p for p in re.findall(_STATEMENT, text) if not p.startswith(("/*", "//"))]
    at = 0
    while at < len(parts):
        end, blocks = at, []
        depth = 0
        while end < len(parts) and (parts[end] != ";" or depth):
            depth += {"{": 1, "}": -1}.get(parts[end], 0)
            if parts[end] == "{" and depth == 1:
                blocks.append(end)
            end += 1
        one = " ".join("".join(parts[at:end]).split())
        if one:
            yield re.sub(_ASSIGNED, r"\1 = ", f"{one};")
            for start in blocks:
                inner = "".join(parts[start + 1 : end])
                yield from statements(inner[: inner.rindex("}")])
        at = end + 1
