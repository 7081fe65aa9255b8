# SPDX-License-Identifier: Apache-2.0
"""Transactions on the local database that write only what differs from its rows.

LocalDatabase.transaction() makes them for binding and vswitch.  Maps and sets
are changed by mutation, so that what others write at the same time survives.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.schema import NamedUuid
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.ovsdb.transact import Pending, Status, Transaction


class Database(Protocol):
    """What a transaction needs of its LocalDatabase."""

    def has(self, row: type[Row]) -> bool:
        """Does the server know the table?"""

    def table(self, row: type[Row]) -> Mapping[str, Row]:
        """uuid -> row."""

    def send(self, transaction: Transaction) -> Pending:
        """Send it."""


class LocalTransaction:
    """Changes that are made together, on commit(); abort() or an exception drops them.

    Rows are named by uuid; a row or column that does not exist is passed over.
    What is already so is not written.  Use it in a with statement:

        with database.transaction("ovn-bpf-controller") as txn:
            txn.set_keys(Interface, uuid, "external_ids", {"ovn-installed": "true"})
        # txn.pending.status after a later run()
    """

    def __init__(self, database: Database, comment: str) -> None:
        self._database = database
        self._txn = Transaction(comment)
        self._written: dict[tuple[str, str], Any] = {}  # by uuid and column, so far
        self.pending = Pending()

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

    def insert(self, row: type[Row], **columns: object) -> NamedUuid:
        """Make a row; the result can stand for it as a value.

        DatabaseError: no such table.
        """
        if not self._database.has(row):
            raise DatabaseError(f"the local database has no table {row.TABLE}")
        return self._txn.insert(row, **columns)

    def set(self, row: type[Row], uuid: str, **columns: object) -> None:
        """Set columns: None empties an optional one, tuples are sets, dicts maps."""
        found = self._find(row, uuid)
        if found is None:
            return
        changed = {}
        for name, value in columns.items():
            wanted = tuple(sorted(value)) if isinstance(value, (tuple, list, set)) else value
            if self._now(found, name) != wanted:
                changed[name] = self._written[uuid, name] = wanted
        if changed:
            self._txn.update(row, uuid, **changed)

    def set_keys(self, row: type[Row], uuid: str, column: str, pairs: Mapping[str, Any]) -> None:
        """Set keys of a map and leave the others alone; None removes a key.

        Values are texts, or rows just inserted.
        """
        found = self._find(row, uuid)
        if found is None or not hasattr(found, column):
            return
        now = self._now(found, column)
        changed = {key: value for key, value in pairs.items() if now.get(key) != value}
        if changed:
            left = {**now, **changed}.items()
            self._written[uuid, column] = {k: v for k, v in left if v is not None}
            self._txn.set_keys(row, uuid, column, changed)

    def add(self, row: type[Row], uuid: str, column: str, element: object) -> None:
        """Add an element, such as a row just inserted, to a set."""
        if self._find(row, uuid) is not None:
            self._txn.mutate(row, uuid, column, "insert", (element,))

    def remove(self, row: type[Row], uuid: str, column: str, element: object) -> None:
        """Remove an element from a set."""
        if self._find(row, uuid) is not None:
            self._txn.mutate(row, uuid, column, "delete", (element,))

    def delete(self, row: type[Row], uuid: str) -> None:
        """Delete a row (only of tables that are roots; others go with their last reference)."""
        if self._find(row, uuid) is not None:
            self._txn.delete(row, uuid)

    def commit(self) -> Pending:
        """Send it; the outcome appears in the result during later runs."""
        self.pending = self._database.send(self._txn)
        return self.pending

    def abort(self) -> None:
        """Forget it."""
        self.pending.status = Status.LOST

    def _find(self, row: type[Row], uuid: str) -> Row | None:
        return self._database.table(row).get(uuid)

    def _now(self, found: Row, column: str) -> Any:
        """The column as this transaction has it so far."""
        return self._written.get((found.uuid, column), getattr(found, column))
