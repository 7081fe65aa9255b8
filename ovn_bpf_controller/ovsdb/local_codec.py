# SPDX-License-Identifier: Apache-2.0
"""Frozen rows out of python-ovs' IDL rows.

LocalDatabase and LocalTransaction read with it; the annotations of
local_tables.py decide, as those of tables.py do for the Southbound's codec.
"""

from __future__ import annotations

from typing import Any

from ovn_bpf_controller.ovsdb.codec import Column
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.plaindata import fields


class Reader:
    """Makes frozen rows of one class from the IDL's rows."""

    def __init__(self, row: type[Row]) -> None:
        self._row = row
        self._plan = [Column(declared) for declared in fields(row)[1:]]
        self._by_name = {column.name: column for column in self._plan}
        self.columns = list(self._by_name)

    def read(self, found: Any) -> Row | None:
        """The row as the server has it, None if it has none yet; a column that the IDL has
        not got has its default.

        Out of the committed data: the IDL's own attributes make values of values and back
        for a transaction's sake, which is twenty times dearer.
        """
        data, known = found._data, found._table.columns
        if data is None:
            return None
        return self._row(
            str(found.uuid),
            *[
                _committed(column, data[column.name]) if column.name in known else column.default
                for column in self._plan
            ],
        )

    def value(self, found: Any, name: str) -> Any:
        """One column, as the transaction that is open has it."""
        column = self._by_name[name]
        if name not in found._table.columns:
            return column.default
        if found._data is None or found._changes or found._mutations:
            return _value(column, getattr(found, name))
        return _committed(column, found._data[name])


def _committed(column: Column, datum: Any) -> Any:
    """The value of one of the IDL's Datum objects."""
    values = datum.values
    if column.shape == "map":
        return {str(key.value): str(atom.value) for key, atom in values.items()}
    if column.shape == "set":
        return tuple(sorted([_atom(column, atom.value) for atom in values]))
    for atom in values:
        return _atom(column, atom.value)
    return column.default


def _value(column: Column, value: Any) -> Any:
    """The same of what an attribute of the IDL's row says."""
    if column.shape == "map":
        return {str(key): str(getattr(v, "uuid", v)) for key, v in value.items()}
    if column.shape == "set":
        elements = value if isinstance(value, list) else [value]
        return tuple(sorted(_atom(column, element) for element in elements))
    if isinstance(value, list):
        value = value[0] if value else None
    return column.default if value is None else _atom(column, value)


def _atom(column: Column, value: Any) -> Any:
    return str(getattr(value, "uuid", value)) if column.kind == "uuid" else value
