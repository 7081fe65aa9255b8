# SPDX-License-Identifier: Apache-2.0
"""The local Open_vSwitch database: a Replica, and what belongs together in it.

binding, vswitch and the agent read frozen rows (local_tables.py) and write by
uuid.  What python-ovs' IDL took to hold 100 interfaces was a tenth of an agent's
start, so it is not used here either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar, cast

import ovs.poller

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.cache import Replica
from ovn_bpf_controller.ovsdb.local_tables import (
    LOCAL,
    SSL,
    Bridge,
    Interface,
    OpenVSwitch,
    Port,
)
from ovn_bpf_controller.ovsdb.local_transact import LocalTransaction
from ovn_bpf_controller.ovsdb.remote import parse
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending, Transaction

R = TypeVar("R", bound=Row)

DATABASE: Final = "Open_vSwitch"


class LocalDatabase:
    """The database at one remote.  DatabaseError for a malformed remote.

    Rows of before a lost connection stay readable until it is back.
    """

    def __init__(self, remote: str, tables: Sequence[type[Row]] = LOCAL) -> None:
        parse(remote)
        self._replica = Replica([remote], tables, DATABASE)
        self._rows: dict[str, dict[str, Row]] = {}
        self._pending: list[Pending] = []

    # --- life ---

    def run(self) -> bool:
        """Advance, without blocking; True if rows, lock or an outcome may have changed."""
        before = self._state()
        changes = self._replica.run()
        for table in changes:
            self._rows.pop(table, None)
        waiting = [pending for pending in self._pending if not pending.done]
        completed = len(waiting) != len(self._pending)
        self._pending = waiting
        return bool(changes) or completed or self._state() != before

    def _state(self) -> tuple[bool, ...]:
        return self.connected, self.synced, self.has_lock, self.lock_contended

    def wait(self, poller: ovs.poller.Poller) -> None:
        """Have the poller wake when run() has something to do."""
        self._replica.wait(poller)

    def close(self) -> None:
        """Close the connection, which gives up the lock."""
        self._replica.close()

    # --- state ---

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._replica.connected

    @property
    def synced(self) -> bool:
        """Whether the contents are here: an Open_vSwitch row can be told from none."""
        return self._replica.has_ever_synced

    @property
    def detail(self) -> str:
        """One line for an operator."""
        return self._replica.detail

    def set_lock(self, name: str | None) -> None:
        """Try to get and keep this database lock; None gives it up.  See has_lock."""
        self._replica.lock.want(name)

    @property
    def has_lock(self) -> bool:
        """Whether the lock of set_lock() is ours now."""
        return self._replica.lock.held

    @property
    def lock_contended(self) -> bool:
        """Whether somebody else holds the lock of set_lock(); false while not known."""
        return self._replica.lock.contended

    # --- rows ---

    def has(self, row: type[Row]) -> bool:
        """Does the server's schema know the table?"""
        schema = self._replica.schema
        return schema is not None and row.TABLE in schema.tables

    def table(self, row: type[R]) -> Mapping[str, R]:
        """uuid -> row, as of the last run(); a missing table or column is empty or default.

        The same object as long as nothing in the table changes.
        """
        rows = self._rows.get(row.TABLE)
        if rows is None:
            rows = self._rows[row.TABLE] = dict(self._replica.table(row))
        return cast("Mapping[str, R]", rows)

    @property
    def open_vswitch(self) -> OpenVSwitch | None:
        """The one row of Open_vSwitch; None if ovs-vsctl init was never run."""
        return next(iter(self.table(OpenVSwitch).values()), None)

    def external_id(self, key: str, default: str = "", chassis: str = "") -> str:
        """Open_vSwitch.external_ids: KEY-<chassis> if it is there, else KEY, else default."""
        row = self.open_vswitch
        ids = row.external_ids if row else {}
        return (
            ids.get(f"{key}-{chassis}", ids.get(key, default)) if chassis else ids.get(key, default)
        )

    def bridges(self) -> list[Bridge]:
        """The bridges of the Open_vSwitch row, by name."""
        row = self.open_vswitch
        found = self._pick(Bridge, row.bridges if row else ())
        return sorted(found, key=lambda bridge: bridge.name)

    def bridge(self, name: str) -> Bridge | None:
        """The bridge of this name."""
        return next((bridge for bridge in self.bridges() if bridge.name == name), None)

    def ports(self, bridge: Bridge) -> list[Port]:
        """A bridge's ports, by name."""
        return sorted(self._pick(Port, bridge.ports), key=lambda port: port.name)

    def interfaces(self, bridge: Bridge) -> list[Interface]:
        """The interfaces of all ports of a bridge, by name."""
        uuids = [uuid for port in self.ports(bridge) for uuid in port.interfaces]
        return sorted(self._pick(Interface, uuids), key=lambda iface: iface.name)

    @property
    def ssl(self) -> SSL | None:
        """The SSL row that the Open_vSwitch row names."""
        row = self.open_vswitch
        return self.table(SSL).get(row.ssl) if row and row.ssl else None

    def _pick(self, row: type[R], uuids: Sequence[str]) -> list[R]:
        table = self.table(row)
        return [table[uuid] for uuid in uuids if uuid in table]

    # --- writing ---

    def transaction(self, comment: str = "") -> LocalTransaction:
        """A new transaction; DatabaseError while synced is false."""
        if not self.synced:
            raise DatabaseError("the local database is not there yet")
        return LocalTransaction(self, comment)

    def send(self, transaction: Transaction) -> Pending:
        """Send what a LocalTransaction has put together."""
        pending = self._replica.transact(transaction)
        self._pending.append(pending)
        return pending
