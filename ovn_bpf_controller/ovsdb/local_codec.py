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
        self.columns = [column.name for column in self._plan]

    def read(self, found: Any) -> Row:
        """The row; a column that the IDL has not got has its default."""
        known = found._table.columns
        return self._row(
            str(found.uuid),
            *(
                _value(column, getattr(found, column.name))
                if column.name in known
                else column.default
                for column in self._plan
            ),
        )


def _value(column: Column, value: Any) -> Any:
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
