# SPDX-License-Identifier: Apache-2.0
"""A compile.Env made of plain dictionaries, which tests change as they like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ovn_bpf_controller.compile.lists import Traits


@dataclass
class World:
    """What a chassis knows; groups and ports by (datapath, name)."""

    address_sets: dict[str, list[str]] = field(default_factory=dict)
    port_groups: dict[tuple[int, str], list[str]] = field(default_factory=dict)
    ports: dict[tuple[int, str], int] = field(default_factory=dict)
    residents: set[str] = field(default_factory=set)
    templates: dict[str, str] = field(default_factory=dict)
    kinds: dict[int, Traits] = field(default_factory=dict)
    collectors: set[int] = field(default_factory=lambda: set(range(256)))
    of_today: bool = True  # what igmp, mldv1 and mldv2 mean
    tunnelled: set[tuple[int, str]] = field(default_factory=set)  # ports behind tunnels

    def address_set(self, name: str) -> Sequence[str] | None:
        return self.address_sets.get(name)

    def port_group(self, dp: int, name: str) -> Sequence[str] | None:
        return self.port_groups.get((dp, name))

    def port_key(self, dp: int, name: str) -> int | None:
        return self.ports.get((dp, name))

    def is_resident(self, lport: str) -> bool:
        return lport in self.residents

    def template_vars(self) -> Mapping[str, str]:
        return self.templates

    def traits(self, dp: int) -> Traits:
        return self.kinds.get(dp, Traits())

    def groups_alone(self) -> bool:
        return self.of_today

    def has_collector(self, number: int) -> bool:
        return number in self.collectors

    def has_tunnel(self, dp: int, lport: str) -> bool:
        return (dp, lport) in self.tunnelled
