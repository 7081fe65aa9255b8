# SPDX-License-Identifier: Apache-2.0
"""A server's own schema: what its columns are, and values in OVSDB's JSON.

The cache asks a server for it at every connection, since a server may be newer
or older than we are; the codecs, conditions and transactions consult it, so
that a column which one side lacks is left out instead of refused (RFC 7047 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.plaindata import dataclass

ATOMS = frozenset(("string", "integer", "real", "boolean", "uuid"))
_SCALARS = (str, int, bool)


@dataclass(frozen=True, slots=True)
class NamedUuid:
    """The row that an insert of the same transaction makes; see Transaction.insert."""

    name: str


@dataclass(frozen=True, slots=True)
class ServerColumn:
    """A column's type.  value: "" unless a map.  composite: holds more than one element."""

    key: str
    value: str = ""
    composite: bool = False
    optional: bool = False

    @classmethod
    def parse(cls, json: Any) -> ServerColumn:
        """From a <column-schema>; DatabaseError if it is none."""
        try:
            kind = json["type"]
            if isinstance(kind, str):
                kind = {"key": kind}
            key, value = _atom(kind["key"]), _atom(kind["value"]) if "value" in kind else ""
            most = kind.get("max", 1)
            return cls(key, value, most != 1, kind.get("min", 1) == 0)
        except (KeyError, TypeError, AttributeError) as error:
            raise DatabaseError(f"column type {json!r} is not understood: {error}") from error

    def encode(self, value: object) -> Any:
        """A Python value as a <value>: None and () are empty sets, uuids are str.

        DatabaseError if the value does not fit the column.
        """
        if value.__class__ in _SCALARS:  # to ask for Mapping takes longer than all the rest
            return _encode(self.key, value)
        if isinstance(value, Mapping):
            if not self.value:
                raise DatabaseError(f"map {value!r} for a column that is none")
            return [
                "map",
                [[_encode(self.key, k), _encode(self.value, v)] for k, v in value.items()],
            ]
        if value is None:
            return ["set", []]
        if isinstance(value, Iterable) and not isinstance(value, str):
            return ["set", [_encode(self.key, atom) for atom in value]]
        return _encode(self.key, value)

    def encode_mutation(self, mutator: str, value: object) -> Any:
        """The argument of a <mutation>: a map's keys can be deleted by a set of keys."""
        if mutator == "delete" and self.value and not isinstance(value, Mapping):
            return ServerColumn(self.key, composite=True).encode(value)
        return self.encode(value)


def _atom(json: Any) -> str:
    name = json if isinstance(json, str) else json["type"]
    if name not in ATOMS:
        raise DatabaseError(f"unknown atomic type {name!r}")
    return str(name)


_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "real": (float, int),
    "boolean": (bool,),
    "uuid": (str,),
}


def _encode(kind: str, atom: object) -> Any:
    if kind == "uuid" and isinstance(atom, NamedUuid):
        return ["named-uuid", atom.name]
    if not isinstance(atom, _PYTHON[kind]) or (isinstance(atom, bool) and kind != "boolean"):
        raise DatabaseError(f"{atom!r} is no {kind}")
    return ["uuid", atom] if kind == "uuid" else atom


@dataclass(frozen=True, slots=True)
class Schema:
    """A database's schema: tables -> columns -> ServerColumn."""

    name: str
    version: str
    tables: Mapping[str, Mapping[str, ServerColumn]]

    @classmethod
    def parse(cls, json: Any) -> Schema:
        """From a <database-schema>; DatabaseError if it is none.

        A column of a type that we do not know is left out: it is newer than we are.
        """
        try:
            tables = {
                name: dict(_columns(table["columns"])) for name, table in json["tables"].items()
            }
            return cls(str(json["name"]), str(json["version"]), tables)
        except (KeyError, TypeError, AttributeError) as error:
            raise DatabaseError(f"the server's schema is not understood: {error!r}") from error

    def column(self, table: str, column: str) -> ServerColumn | None:
        """The column, or None where this server lacks it or its table."""
        return self.tables.get(table, {}).get(column)


def _columns(json: Any) -> Iterable[tuple[str, ServerColumn]]:
    for name, column in json.items():
        try:
            yield name, ServerColumn.parse(column)
        except DatabaseError:
            # Left out as documented; whoever needs it sees a missing column.
            continue
