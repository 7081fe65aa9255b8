# SPDX-License-Identifier: Apache-2.0
"""One thing that a chassis does by itself, as the agent sees it.

The other half is a slowpath.duty.Duty: what told() returns reaches it as
Knowledge.facts, and what it reports comes back to write().  Both are states, not
events: either side may restart and is told all of it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending, Transaction
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """What a duty may read.  desired: what this chassis is to do, as binding says.

    config: what the operator configured (Open_vSwitch.external_ids).
    """

    southbound: SouthboundCache
    desired: Desired
    config: Config


class Duty:
    """The base of all: does nothing.

    name: unique; it names the writes in the log.  tables: told() is asked again when a
    row of them changes, or what is local.
    """

    name: ClassVar[str]
    tables: ClassVar[tuple[type[Row], ...]] = ()

    def told(self, view: View) -> Mapping[str, Any]:
        """Members of the lines to the slow path, JSON, by their names there."""
        return {}

    def needed(self, told: Mapping[str, Any]) -> bool:
        """Whether this needs the process even when no flow does."""
        return False

    def asks(self, reports: Mapping[str, Any]) -> bool:
        """Whether told() would say something else because of what was reported.

        reports: as for write(); asked in every round.
        """
        return False

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """What the Southbound should say and does not; None or empty: nothing.

        reports: by name, what the slow path reported last.  Asked in every round in
        which no earlier write of this duty is on its way, so it must be cheap; what was
        lost on its way is simply wished for again.
        """
        return None

    def sent(self, pending: Pending) -> None:
        """What write() asked for is on its way; its outcome is known when write() is
        called again."""
