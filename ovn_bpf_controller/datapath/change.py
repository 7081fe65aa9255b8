# SPDX-License-Identifier: Apache-2.0
"""What is to change in the tables at one flip.

Made by the agent from what compile and binding produced; read by tables.Tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from ovn_bpf_controller.model import Datapath, McGroup, Port, Rule, SetMember, Tunnel
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class TableChange:
    """Something added replaces what has the same key; of what is removed only the
    key counts, and removal comes first: a thing in both lists is replaced.
    """

    rules_removed: Sequence[Rule] = ()
    rules_added: Sequence[Rule] = ()
    ports_removed: Sequence[Port] = ()
    ports_added: Sequence[Port] = ()
    groups_removed: Sequence[McGroup] = ()
    groups_added: Sequence[McGroup] = ()
    tunnels_removed: Sequence[Tunnel] = ()
    tunnels_added: Sequence[Tunnel] = ()
    datapaths_removed: Sequence[Datapath] = ()
    datapaths_added: Sequence[Datapath] = ()
    sets_removed: Sequence[SetMember] = ()
    sets_added: Sequence[SetMember] = ()
