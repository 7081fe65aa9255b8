# SPDX-License-Identifier: Apache-2.0
"""The local Open_vSwitch database through python-ovs' IDL.

binding, vswitch and the agent read frozen rows (local_tables.py) and write by
uuid.  The IDL gets the tables and columns that both we and the server know, by
the server's own schema, and is made anew when that changes: so neither an old
nor a new Open vSwitch breaks it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import ovs.db.error
import ovs.db.idl
import ovs.poller
import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb import local_json
from ovn_bpf_controller.ovsdb.control import Control
from ovn_bpf_controller.ovsdb.local_codec import Reader
from ovn_bpf_controller.ovsdb.local_tables import (
    LOCAL,
    SSL,
    Bridge,
    Interface,
    OpenVSwitch,
    Port,
)
from ovn_bpf_controller.ovsdb.local_transact import LocalTransaction, take_status
from ovn_bpf_controller.ovsdb.remote import parse
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending, Status

vlog = ovs.vlog.Vlog("ovsdb_local")

R = TypeVar("R", bound=Row)

DATABASE: Final = "Open_vSwitch"
#: What python-ovs lets through when a server sends nonsense.
IDL_ERRORS: Final = (
    ovs.db.error.Error, ArithmeticError, AssertionError, AttributeError, LookupError, OSError,
    TypeError, ValueError,
)  # fmt: skip

local_json.install()


class _Idl(ovs.db.idl.Idl):  # type: ignore[misc]
    """Notes which rows were touched: (table, uuid)."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.touched: set[tuple[str, str]] = set()
        super().__init__(*args, **options)

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self.touched.add((row._table.name, str(row.uuid)))


class LocalDatabase:
    """The database at one remote.  DatabaseError for a malformed remote.

    Rows of before a lost connection stay readable until it is back.
    """

    def __init__(self, remote: str, tables: Sequence[type[Row]] = LOCAL) -> None:
        parse(remote)
        self._remote = remote
        self._readers = {row.TABLE: Reader(row) for row in tables}
        self._control = Control(remote, DATABASE)
        self._schema: Any = None
        self._idl: Any = None
        self._seqno = 0
        self._rows: dict[str, dict[str, Row]] = {}
        self._stale: dict[str, set[str]] = {}
        self._connection = -1
        self._pending: list[tuple[Any, Pending]] = []

    # --- life ---

    def run(self) -> bool:
        """Advance, without blocking; True if rows, lock or an outcome may have changed."""
        changed = self._control.run()
        if self._control.schema is not None and self._control.schema is not self._schema:
            self._open(self._control.schema)
        if self._idl is not None:
            try:
                self._idl.run()
            except IDL_ERRORS as error:
                self._fail(f"{type(error).__name__}: {error}")
                return True
            if self._idl.change_seqno != self._seqno:
                self._seqno = self._idl.change_seqno
                self._note_changes()
                changed = True
        return self._poll_pending() or changed

    def _note_changes(self) -> None:
        """Mark the rows that the IDL touched; all of them after a reconnection."""
        touched, self._idl.touched = self._idl.touched, set()
        connection = self._idl._session.get_seqno()
        if connection != self._connection:
            # The IDL forgets rows then without a word.
            self._connection = connection
            self._rows.clear()
        for table, uuid in touched:
            self._stale.setdefault(table, set()).add(uuid)

    def wait(self, poller: ovs.poller.Poller) -> None:
        """Have the poller wake when run() has something to do."""
        self._control.wait(poller)
        if self._idl is not None:
            self._idl.wait(poller)

    def close(self) -> None:
        """Close all connections; gives up the lock."""
        self._control.close()
        self._close_idl()

    def _open(self, schema: Any) -> None:
        helper = ovs.db.idl.SchemaHelper(schema_json=copy.deepcopy(schema))
        self._schema = schema
        try:
            for table, reader in self._readers.items():
                known = schema["tables"].get(table, {}).get("columns", {})
                columns = [name for name in reader.columns if name in known]
                if columns:
                    helper.register_columns(table, columns)
            idl = _Idl(self._remote, helper, leader_only=False)
        except IDL_ERRORS as error:
            self._fail(f"the server's schema is not understood: {error}")
            return
        self._close_idl()
        self._idl, self._seqno = idl, 0

    def _close_idl(self) -> None:
        if self._idl is not None:
            self._idl.close()
            self._idl = None
        for _, pending in self._pending:
            pending.status = Status.LOST
        self._pending.clear()

    def _fail(self, reason: str) -> None:
        """Start over, with the control session's back-off."""
        self._close_idl()
        self._schema = None
        self._control.retry(reason)

    # --- state ---

    @property
    def connected(self) -> bool:
        """Whether the IDL has a connection."""
        return self._idl is not None and bool(self._idl._session.is_connected())

    @property
    def synced(self) -> bool:
        """Whether the contents are here: an Open_vSwitch row can be told from none."""
        return self._seqno != 0

    @property
    def has_ever_connected(self) -> bool:
        """As synced; the name that python-ovs gives it."""
        return self.synced

    @property
    def detail(self) -> str:
        """One line for an operator."""
        return self._control.detail

    def set_lock(self, name: str | None) -> None:
        """Try to get and keep this database lock; None gives it up.  See has_lock."""
        self._control.set_lock(name)

    @property
    def has_lock(self) -> bool:
        """Whether the lock of set_lock() is ours now."""
        return self._control.has_lock

    @property
    def lock_contended(self) -> bool:
        """Whether somebody else holds the lock of set_lock(); false while not known."""
        return self._control.lock_contended

    # --- rows ---

    def has(self, row: type[Row]) -> bool:
        """Does the server's schema know the table?"""
        return self._idl_table(row) is not None

    def table(self, row: type[R]) -> Mapping[str, R]:
        """uuid -> row, as of the last run(); a missing table or column is empty or default."""
        name = row.TABLE
        if name not in self._rows or name in self._stale:
            old, stale = self._rows.get(name, {}), self._stale.pop(name, set())
            reader, table = self._readers[name], self._idl_table(row)
            rows: dict[str, Row] = {}
            for key, found in table.rows.items() if table else ():
                uuid = str(key)
                # Converting a row is dear; a busy host has thousands of interfaces.
                known = old.get(uuid) if uuid not in stale else None
                known = known if known is not None else reader.read(found)
                if known is not None:
                    rows[uuid] = known
            self._rows[name] = rows
        return cast("Mapping[str, R]", self._rows[name])

    def _idl_table(self, row: type[Row]) -> Any:
        return None if self._idl is None else self._idl.tables.get(row.TABLE)

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
        """A new transaction; only one may be open, and run() needs it committed.

        DatabaseError while synced is false or another transaction is open.
        """
        if self._idl is None or not self.synced:
            raise DatabaseError("the local database is not there yet")
        if self._idl.txn is not None:
            raise DatabaseError("a transaction is open already")
        return LocalTransaction(self._idl, self._readers, self._commit, comment)

    def _commit(self, txn: Any) -> Pending:
        pending = Pending()
        self._pending.append((txn, pending))
        self._poll_pending()
        return pending

    def _poll_pending(self) -> bool:
        """Ask transactions how they stand; True if one was completed."""
        before = len(self._pending)
        for txn, pending in self._pending:
            take_status(txn, pending)
        self._pending = [(txn, pending) for txn, pending in self._pending if not pending.done]
        return len(self._pending) != before
