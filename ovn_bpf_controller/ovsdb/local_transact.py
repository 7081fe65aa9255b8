# SPDX-License-Identifier: Apache-2.0
"""Transactions on the local database, over python-ovs' own.

LocalDatabase.transaction() makes them for binding and vswitch.  Maps and sets
are changed by mutation, so that what others write at the same time survives.
"""

from __future__ import annotations

import uuid as uuidlib
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import ovs.db.idl
import ovs.db.types
import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.local_codec import Reader
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending, Status

vlog = ovs.vlog.Vlog("ovsdb_local")


class LocalTransaction:
    """Changes that are made together, on commit(); abort() or an exception drops them.

    Rows are named by uuid; a row or column that does not exist is passed over.
    What is already so is not written.  Use it in a with statement:

        with database.transaction("ovn-bpf-controller") as txn:
            txn.set_keys(Interface, uuid, "external_ids", {"ovn-installed": "true"})
        # txn.pending.status after a later run()
    """

    def __init__(
        self,
        idl: Any,
        readers: Mapping[str, Reader],
        send: Callable[[Any], Pending],
        comment: str,
    ) -> None:
        self._idl = idl
        self._readers = readers
        self._send = send
        self._txn = ovs.db.idl.Transaction(idl)
        self.pending = Pending()
        if comment:
            self._txn.add_comment(comment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()

    def insert(self, row: type[Row], **columns: object) -> Any:
        """Make a row; the result can stand for it as a value.

        columns: at least one, since python-ovs 3.1 leaves a row out in which nothing was
        written; a default is enough.  DatabaseError: no such table.
        """
        if row.TABLE not in self._idl.tables:
            raise DatabaseError(f"the local database has no table {row.TABLE}")
        made = self._txn.insert(self._idl.tables[row.TABLE])
        for name, value in columns.items():
            self._write(made, name, value)
        return made

    def set(self, row: type[Row], uuid: str, **columns: object) -> None:
        """Set columns: None empties an optional one, tuples are sets, dicts maps."""
        found = self._find(row, uuid)
        if found is None:
            return
        now = self._readers[row.TABLE].value
        for name, value in columns.items():
            wanted = tuple(sorted(value)) if isinstance(value, (tuple, list, set)) else value
            if now(found, name) != wanted:
                self._write(found, name, value)

    def set_keys(self, row: type[Row], uuid: str, column: str, pairs: Mapping[str, Any]) -> None:
        """Set keys of a map and leave the others alone; None removes a key.

        Values are texts, or rows just inserted.
        """
        found = self._find(row, uuid)
        if found is None or column not in found._table.columns:
            return
        now = getattr(found, column)
        for key, value in pairs.items():
            if value is None and key in now:
                found.delkey(column, key)
            elif value is not None and now.get(key) != value:
                found.setkey(column, key, value)

    def add(self, row: type[Row], uuid: str, column: str, element: object) -> None:
        """Add an element, such as a row just inserted, to a set."""
        found = self._find(row, uuid)
        if found is not None and column in found._table.columns:
            found.addvalue(column, _reference(found, column, element))

    def remove(self, row: type[Row], uuid: str, column: str, element: object) -> None:
        """Remove an element from a set."""
        found = self._find(row, uuid)
        if found is not None and column in found._table.columns:
            found.delvalue(column, _reference(found, column, element))

    def delete(self, row: type[Row], uuid: str) -> None:
        """Delete a row (only of tables that are roots; others go with their last reference)."""
        found = self._find(row, uuid)
        if found is not None:
            found.delete()

    def commit(self) -> Pending:
        """Send it; the outcome appears in the result during later runs."""
        self.pending = self._send(self._txn)
        return self.pending

    def abort(self) -> None:
        """Forget it."""
        self._txn.abort()
        self.pending.status = Status.LOST

    def _find(self, row: type[Row], uuid: str) -> Any:
        table = self._idl.tables.get(row.TABLE)
        return None if table is None else table.rows.get(uuidlib.UUID(uuid))

    @staticmethod
    def _write(found: Any, column: str, value: object) -> None:
        if column not in found._table.columns:
            return
        if value is None:
            value = []
        elif isinstance(value, (tuple, list, set, frozenset)):
            value = [_reference(found, column, element) for element in value]
        elif not isinstance(value, Mapping):
            value = _reference(found, column, value)
        setattr(found, column, value)


def _reference(found: Any, column: str, element: object) -> object:
    """A uuid in text as python-ovs wants it; anything else unchanged."""
    kind = found._table.columns[column].type.key.type
    if isinstance(element, str) and kind == ovs.db.types.UuidType:
        return uuidlib.UUID(element)
    return element


def take_status(txn: Any, pending: Pending) -> None:
    """Ask python-ovs how a committed transaction stands and put it into pending."""
    transaction = ovs.db.idl.Transaction
    status = txn.commit()
    if status == transaction.SUCCESS:
        pending.status = Status.SUCCESS
    elif status == transaction.UNCHANGED:
        pending.status = Status.UNCHANGED
    elif status in (transaction.TRY_AGAIN, transaction.ABORTED):
        pending.status = Status.LOST
    elif status != transaction.INCOMPLETE:
        pending.status = Status.ERROR
        pending.error = str(status)
        pending.details = str(txn.get_error() or "")
        vlog.warn(f"transaction failed: {pending.details}")
