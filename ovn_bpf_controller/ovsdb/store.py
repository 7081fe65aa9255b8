# SPDX-License-Identifier: Apache-2.0
"""The rows themselves, and what changed in them since somebody last asked.

The cache applies the server's messages here.  Everything is by whole rows that
never change: a consumer can keep a row, compare it and see what it was before.
A row that cannot be decoded costs itself only.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.codec import WRONG, RowCodec, RowError
from ovn_bpf_controller.ovsdb.schema import Schema
from ovn_bpf_controller.ovsdb.tables import Row

vlog = ovs.vlog.Vlog("ovsdb_store")

R = TypeVar("R", bound=Row)
#: (before, after); None where the row did not or does not exist.
Change = tuple[Row | None, Row | None]

#: How many bad rows are logged one by one.
LOGGED_BAD_ROWS: Final = 20
#: Rows in one message from which on the garbage collector only stands in the way.
BULK: Final = 2000


class Changes(dict[str, dict[str, Change]]):
    """What changed: table name -> uuid -> (old row, new row); empty if nothing did."""

    def of(self, row: type[R]) -> Mapping[str, tuple[R | None, R | None]]:
        """One table's changes, typed; empty if it has none."""
        return cast("Mapping[str, tuple[R | None, R | None]]", self.get(row.TABLE, {}))

    def note(self, table: str, uuid: str, old: Row | None, new: Row | None) -> None:
        """Add a change after those noted before; what cancels out disappears."""
        changes = self.setdefault(table, {})
        if uuid in changes:
            old = changes[uuid][0]
        if old is new or (old is not None and old == new):  # of rows: Python's own code
            changes.pop(uuid, None)
            if not changes:
                del self[table]
        else:
            changes[uuid] = (old, new)


@contextmanager
def bulk_load() -> Iterator[None]:
    """Keep the collector from walking a growing heap, then keep it off for good.

    Rows are acyclic: reference counts free them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


class Store:
    """All tables of one database; see the module's text."""

    def __init__(self, rows: Sequence[type[Row]]) -> None:
        self._rows: Final = tuple(rows)
        self._codecs: dict[str, RowCodec] = {}
        self._tables: dict[str, dict[str, Row]] = {row.TABLE: {} for row in rows}
        self._views = {name: MappingProxyType(table) for name, table in self._tables.items()}
        self._bad: set[tuple[str, str]] = set()
        self.bad_rows = 0
        self.changes = Changes()

    def bind(self, schema: Schema) -> None:
        """Decode by this schema from now on."""
        self._codecs = {
            row.TABLE: RowCodec(row, schema) for row in self._rows if row.TABLE in schema.tables
        }
        for table, codec in self._codecs.items():
            for column in codec.mismatched:
                vlog.warn(f"{table}.{column} has an unexpected type in the server's schema")

    def monitored(self) -> Mapping[str, Sequence[str]]:
        """Table name -> columns to ask for."""
        return {table: codec.columns for table, codec in self._codecs.items() if codec.columns}

    def table(self, row: type[R]) -> Mapping[str, R]:
        """A live, read-only view: uuid -> row."""
        return cast("Mapping[str, R]", self._views[row.TABLE])

    def row_count(self) -> int:
        """Rows of all tables."""
        return sum(map(len, self._tables.values()))

    def take_changes(self) -> Changes:
        """The changes since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    # --- what a server sends ---

    def replace(self, updates: Any, version: int) -> None:
        """Take a monitor's first reply as the whole contents; changes are the differences."""
        stale = {table: set(rows) for table, rows in self._tables.items()}
        for table, rows in _tables(updates):
            if table in stale:
                stale[table].difference_update(rows)
        self._bad.clear()
        self.apply(updates, version)
        for table, uuids in stale.items():
            for uuid in uuids:
                self._put(table, uuid, None)

    def apply(self, updates: Any, version: int) -> None:
        """Take a <table-updates> (version 1) or <table-updates2> (2).

        DatabaseError if it has not that form, or is about rows that we never saw:
        the contents are then of no use any more.
        """
        tables = list(_tables(updates))
        if sum(len(rows) for _, rows in tables) < BULK:
            self._apply(tables, version)
        else:
            with bulk_load():
                self._apply(tables, version)

    def _apply(self, tables: list[tuple[str, dict[str, Any]]], version: int) -> None:
        for table, rows in tables:
            codec = self._codecs.get(table)
            if codec is None:
                continue
            if version == 2:
                rows = self._insert(codec, rows)
            for uuid, update in rows.items():
                if not isinstance(update, dict):
                    raise DatabaseError(f"update of {table} {uuid} is no object")
                try:
                    new = (
                        self._row1(codec, uuid, update)
                        if version == 1
                        else self._row2(codec, uuid, update)
                    )
                except RowError as error:
                    self._reject(table, uuid, error)
                    new = None
                self._put(table, uuid, new)

    def _insert(self, codec: RowCodec, rows: dict[str, Any]) -> dict[str, Any]:
        """Take what is plainly new; returns the updates that are not.

        A start is nothing else: up to 160,000 rows, each with little time for questions.
        """
        table = codec.row.TABLE
        known, make, rest = self._tables[table], codec.maker(len(rows)), {}
        changes = self.changes.setdefault(table, {})
        bad = {uuid for of, uuid in self._bad if of == table}
        for uuid, update in rows.items():
            json = _content(update)
            if json is None or uuid in known or uuid in changes or uuid in bad:
                rest[uuid] = update
                continue
            try:
                new = make(uuid, json)
            except WRONG:
                rest[uuid] = update  # for _row2() to say what is wrong with it
            else:
                known[uuid] = new
                changes[uuid] = (None, new)
        if not changes:
            del self.changes[table]
        return rest

    def _row1(self, codec: RowCodec, uuid: str, update: dict[str, Any]) -> Row | None:
        new = update.get("new")
        return None if new is None else codec.decode(uuid, new)

    def _row2(self, codec: RowCodec, uuid: str, update: dict[str, Any]) -> Row | None:
        table = codec.row.TABLE
        for operation, json in update.items():
            if operation in ("insert", "initial"):
                self._bad.discard((table, uuid))
                return codec.decode(uuid, json)
            if operation == "modify":
                old = self._tables[table].get(uuid)
                if old is not None:
                    return codec.patch(old, json)
                if (table, uuid) in self._bad:
                    return None
                raise DatabaseError(f"modification of {table} {uuid}, which is not known")
            if operation == "delete":
                self._bad.discard((table, uuid))
                return None
        raise DatabaseError(f"update of {table} {uuid} says nothing that is understood")

    def _put(self, table: str, uuid: str, new: Row | None) -> None:
        rows = self._tables[table]
        old = rows.get(uuid)
        if new is None:
            if old is None:
                return
            del rows[uuid]
        elif old is not None and old == new:
            return
        else:
            rows[uuid] = new
        self.changes.note(table, uuid, old, new)

    def _reject(self, table: str, uuid: str, error: RowError) -> None:
        self._bad.add((table, uuid))
        self.bad_rows += 1
        if self.bad_rows <= LOGGED_BAD_ROWS:
            vlog.warn(f"row left out: {error}")
        if self.bad_rows == LOGGED_BAD_ROWS:
            vlog.warn("further bad rows are only counted")


def _content(update: Any) -> dict[str, Any] | None:
    """The columns of a row that an update brings, and does nothing else."""
    if update.__class__ is not dict or len(update) != 1:
        return None
    json = update.get("insert") or update.get("initial")
    return json if json.__class__ is dict else None


def _tables(updates: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(updates, dict):
        raise DatabaseError("table updates are no object")
    for table, rows in updates.items():
        if not isinstance(rows, dict):
            raise DatabaseError(f"updates of table {table} are no object")
        yield table, rows
