# SPDX-License-Identifier: Apache-2.0
"""Compiling a flow from scratch: what any shortcut of the compiler has to equal."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.compile import flow as flow_module
from ovn_bpf_controller.compile.flow import Compiled, LogicalFlow, compile_flow
from ovn_bpf_controller.compile.known import Known
from ovn_bpf_controller.compile.names import Names
from ovn_bpf_controller.compile.sets import SetBook
from tests.support.world import World


class _NoTemplates:
    """Leaves everything to the parser."""

    def keys(self, *_: object) -> None:
        return None

    def lower(self, *_: object) -> None:
        return None


def from_scratch(flow: LogicalFlow, env: World, book: SetBook) -> Compiled:
    """compile_flow() without templates, and without what it remembers.

    book: for sets to have the same numbers.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_module, "_MATCHES", _NoTemplates())
        patch.setattr(flow_module, "_ACTIONS", _NoTemplates())
        patch.setattr(flow_module, "_SAME", {})
        patch.setattr(flow_module, "known", Known)
        patch.setattr(flow_module, "_lower_constant", flow_module._lower_constant.__wrapped__)
        patch.setattr(flow_module, "_keys_constant", flow_module._keys_constant.__wrapped__)
        return compile_flow(flow, Names(env, 1, book))
