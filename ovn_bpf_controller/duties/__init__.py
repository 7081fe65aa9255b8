# SPDX-License-Identifier: Apache-2.0
"""What the agent does for the slow path, a module for each duty.

A duty tells the slow path what the databases say, and writes to the Southbound what
the slow path reports.  answering.Answering runs those that ALL names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ovn_bpf_controller.duties.advertisements import PeriodicAdverts
from ovn_bpf_controller.duties.announcements import Announcements
from ovn_bpf_controller.duties.bfd import BfdRows
from ovn_bpf_controller.duties.delegation import Delegation
from ovn_bpf_controller.duties.dhcp import DhcpOptions
from ovn_bpf_controller.duties.dns import Names
from ovn_bpf_controller.duties.duty import Duty
from ovn_bpf_controller.duties.events import Events
from ovn_bpf_controller.duties.multicast import MulticastGroups
from ovn_bpf_controller.duties.next_hops import NextHops
from ovn_bpf_controller.duties.services import ServiceMonitors

ALL: Final[tuple[Callable[[], Duty], ...]] = (
    DhcpOptions,
    Names,
    BfdRows,
    Delegation,
    Events,
    MulticastGroups,
    NextHops,
    Announcements,
    PeriodicAdverts,
    ServiceMonitors,
)
