# SPDX-License-Identifier: Apache-2.0
"""How many connections the tracker has room for, decided before its maps are made.

external_ids:ovn-bpf-ct-max says it; maps cannot grow, so a change counts from the
next start on, and that start begins with an empty table.  The agent asks once.
"""

from __future__ import annotations

import time
from typing import Final

import ovs.poller

from ovn_bpf_controller.binding.config import Config, read_config
from ovn_bpf_controller.datapath.loader import pinned_connections
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.process.log import Logger

_log = Logger("main")
_PATIENCE: Final = 1.0  # seconds for the local database, which is next door


def connections(database: LocalDatabase, instance: str, chassis: str | None) -> int:
    """Room for the table of this agent.

    If the database does not answer, what an earlier agent left counts, then the
    default: the data plane does not wait.  chassis: the name, if -n gave one.
    """
    until = time.monotonic() + _PATIENCE
    while not database.synced and time.monotonic() < until:
        database.run()
        poller = ovs.poller.Poller()
        database.wait(poller)
        poller.timer_wait_until(int(until * 1000))
        if not database.synced:
            poller.block()
    row = database.open_vswitch
    if row is not None:
        ids = row.external_ids
        return read_config(ids, chassis or ids.get("system-id")).ct_max
    try:
        return pinned_connections(instance) or read_config({}).ct_max
    except DataPlaneError as error:
        _log.warn(f"{error}: connections are tracked in a table of the default size")
        return read_config({}).ct_max


class Notice:
    """Says once, for each value, that another size waits for a restart."""

    def __init__(self, room: int) -> None:
        self._said = room

    def look(self, config: Config) -> None:
        """In each iteration."""
        if config.ct_max != self._said:
            self._said = config.ct_max
            _log.info(
                f"ovn-bpf-ct-max is {config.ct_max} now: it counts from the next start on,"
                " which begins with no connections"
            )
