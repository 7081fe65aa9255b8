# SPDX-License-Identifier: Apache-2.0
"""Rules of side tables, put into model.Rules: those of port security and of neighbours,
and what each datapath has by default.  compile.compiler asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from ovn_bpf_controller.compile import load_balancer, mac_binding, port_security
from ovn_bpf_controller.compile.layout import Conj, pack
from ovn_bpf_controller.model import Rule

AGENT: Final = 0  # the flow number of rules that no logical flow is behind

Packed = tuple[int, int, tuple[tuple[int, int], ...], tuple[int, ...], bytes, int]  # Rule but dp


def default_rules(dp: int) -> list[Rule]:
    return on_datapath(dp, _everywhere())


@lru_cache(maxsize=1)
def _everywhere() -> list[Packed]:
    rules = packed(_instructed(port_security.default_rules()))
    rules += packed(mac_binding.default_rules())
    return rules + packed(load_balancer.default_rules())


def security_rules(dp: int, rules: Iterable[port_security.SideRule]) -> list[Rule]:
    return side_rules(dp, _instructed(rules))


def _instructed(rules: Iterable[port_security.SideRule]) -> Iterator[tuple[int, int, Conj, bytes]]:
    instructions = port_security.instructions
    return ((*rule[:3], instructions(rule.verdict)) for rule in rules)


def side_rules(dp: int, rules: Iterable[tuple[int, int, Conj, bytes]]) -> list[Rule]:
    return on_datapath(dp, packed(rules))


def packed(rules: Iterable[tuple[int, int, Conj, bytes]]) -> list[Packed]:
    """Of rules that several datapaths have: what they have in common."""
    made = []
    for table, priority, conj, insns in rules:
        key = pack(conj)
        if key is None:
            raise AssertionError(f"rule {conj} of table {table} contradicts itself")
        made.append((table, priority, key.mask, key.values, insns, AGENT))
    return made


def on_datapath(dp: int, rules: Iterable[Packed]) -> list[Rule]:
    return [Rule(dp, *rule) for rule in rules]
