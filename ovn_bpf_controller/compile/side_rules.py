# SPDX-License-Identifier: Apache-2.0
"""Rules of side tables, put into model.Rules: those of port security and of neighbours,
and what each datapath has by default.  compile.compiler asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ovn_bpf_controller.compile import load_balancer, mac_binding, port_security
from ovn_bpf_controller.compile.layout import Conj, pack
from ovn_bpf_controller.model import Rule

AGENT: Final = 0  # the flow number of rules that no logical flow is behind


def default_rules(dp: int) -> list[Rule]:
    return [
        Rule(dp, r.table, r.prio, r.mask, r.values, r.insns, r.flow) for r in _rules_of_nowhere()
    ]


@lru_cache(maxsize=1)
def _rules_of_nowhere() -> tuple[Rule, ...]:
    """The default rules of datapath 0, which does not exist: packed once for all."""
    rules = [*security_rules(0, port_security.default_rules())]
    rules += side_rules(0, mac_binding.default_rules())
    rules += side_rules(0, load_balancer.default_rules())
    return tuple(rules)


def security_rules(dp: int, rules: Iterable[port_security.SideRule]) -> list[Rule]:
    instructions = port_security.instructions
    return side_rules(dp, ((*rule[:3], instructions(rule.verdict)) for rule in rules))


def side_rules(dp: int, rules: Iterable[tuple[int, int, Conj, bytes]]) -> list[Rule]:
    made = []
    for table, priority, conj, insns in rules:
        key = pack(conj)
        if key is None:
            raise AssertionError(f"rule {conj} of table {table} contradicts itself")
        made.append(Rule(dp, table, priority, key.mask, key.values, insns, AGENT))
    return made
