# SPDX-License-Identifier: Apache-2.0
"""A compiled rule as a line of text, for operators and for tests that compare.

compile.compiler, which knows the flows behind rules, asks for it.
"""

from __future__ import annotations

from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import disassemble
from ovn_bpf_controller.compile.layout import Key, describe
from ovn_bpf_controller.model import Rule

_EGRESS: Final[int] = lib.OVN_EGRESS_BASE


def line(rule: Rule, uuid: str | None) -> str:
    """uuid: of the flow that the rule is of, if it is of one."""
    pipeline = "egress" if rule.table >= _EGRESS else "ingress"
    return (
        f"dp={rule.dp:#x} {pipeline} table={rule.table % _EGRESS}"
        f" priority={rule.prio} flow={uuid or 'agent'}"
        f" match=({describe(Key(rule.mask, rule.values))})"
        f" actions=({'; '.join(each.strip() for each in disassemble(rule.insns))})"
    )
