# SPDX-License-Identifier: Apache-2.0
"""Which instruction came of which action: the way back, for traces.

observe.trace_walk asks when a rule matched.  It lowers the flow's actions once
more and notes where each begins, so that nothing has to be kept for a question
that is seldom asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ovn_bpf_controller.compile.actions import _Lowering
from ovn_bpf_controller.compile.insns import encode
from ovn_bpf_controller.compile.lists import SWITCH, Traits
from ovn_bpf_controller.compile.punts import marked
from ovn_bpf_controller.compile.telling import About
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class Marks:
    """insns: as compile.actions.lower() makes them, unsupported verbs left out.

    actions: (index of the first instruction, action), nested ones after their
    block's; an action without instructions shares the index of the next.
    """

    insns: bytes
    actions: tuple[tuple[int, nodes.Action], ...]


class _Marking(_Lowering):
    def __init__(
        self,
        pipeline: int,
        table: int,
        port_key: Callable[[str], int],
        is_resident: Callable[[str], bool],
        traits: Traits,
    ) -> None:
        super().__init__(pipeline, table, port_key, is_resident, traits)
        self.marks: list[tuple[int, nodes.Action]] = []

    def _one(self, action: nodes.Action) -> None:
        self.marks.append((len(self.insns), action))
        if isinstance(action, nodes.CtCommit):  # operands, which are not run
            self.marks += [(len(self.insns) + 1, operand) for operand in action.actions]
        super()._one(action)


def mark(
    actions: Sequence[nodes.Action],
    pipeline: int,
    table: int,
    port_key: Callable[[str], int],
    is_resident: Callable[[str], bool] = lambda _: False,
    traits: Traits = SWITCH,
    about: About = About(),  # noqa: B008
) -> Marks:
    """Arguments as of compile.actions.lower()."""
    marking = _Marking(pipeline, table, port_key, is_resident, traits)
    marking.about = about
    marking.flow(actions)
    return Marks(encode(marked(marking.insns)), tuple(marking.marks))
