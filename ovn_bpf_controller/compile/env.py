# SPDX-License-Identifier: Apache-2.0
"""What the outcome of a logical flow depends on besides its row.

compile.flow asks an Env while it compiles a flow and notes a Ref for each question;
compile.compiler finds the flows by them when the answer changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from ovn_bpf_controller.compile.lists import Traits
from ovn_bpf_controller.plaindata import NamedTuple


class Env(Protocol):
    """What a chassis knows of the names in logical flows."""

    def address_set(self, name: str) -> Sequence[str] | None:
        """Members of the set, None when there is no such set."""

    def port_group(self, dp: int, name: str) -> Sequence[str] | None:
        """Logical ports of the group on datapath dp, None when there is no such group.

        northd splits a group by datapath: the Southbound's name is <dp>_<name>.
        """

    def port_key(self, dp: int, name: str) -> int | None:
        """Tunnel key of the port or multicast group `name` of datapath dp."""

    def is_resident(self, lport: str) -> bool:
        """Whether this chassis has the port (is_chassis_resident)."""

    def template_vars(self) -> Mapping[str, str]:
        """Variables of this chassis (Chassis_Template_Var)."""

    def traits(self, dp: int) -> Traits:
        """What kind of datapath dp is."""

    def groups_alone(self) -> bool:
        """Whether igmp and mldv1, mldv2 are packets to groups alone: lang.releases."""

    def has_collector(self, number: int) -> bool:
        """Whether there is a Flow_Sample_Collector_Set with this id."""

    def has_tunnel(self, dp: int, lport: str) -> bool:
        """Whether the port, of datapath dp, is on a chassis that a tunnel leads to."""


class Kind(Enum):
    """Kinds of names that an outcome can depend on."""

    __hash__ = object.__hash__  # each is one object; Enum's own is many times slower

    ADDRESS_SET = "address set"
    PORT_GROUP = "port group"
    SET_NUMBER = "address set by number"  # members do not matter
    GROUP_NUMBER = "port group by number"
    PORT = "port"
    RESIDENT = "port that may be here"
    TEMPLATE = "template variable"
    TRAITS = "kind of datapath"
    COLLECTOR = "collector set"
    TUNNEL = "tunnel to a port"


class Ref(NamedTuple):
    """Something whose change makes the flow to be compiled again.

    where: of a set by number the width of its addresses, of a group by number the
    datapath.
    """

    kind: Kind
    name: str
    where: int = 0
