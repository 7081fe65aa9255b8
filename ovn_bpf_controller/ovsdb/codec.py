# SPDX-License-Identifier: Apache-2.0
"""Between the rows of tables.py and OVSDB's JSON, for one server's schema.

The store makes a RowCodec for each table at each connection.  The annotations
of the row class say what Python sees; the server's schema says which columns
exist and how an update's difference is to be read (ovsdb-server(7), update2).
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.row_maker import WORTH, Decode, Plan, compiled
from ovn_bpf_controller.ovsdb.schema import Schema, ServerColumn
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.plaindata import MISSING, Field, fields

Decoder = Callable[[Any], Any]


class RowError(DatabaseError):
    """A row has a value that is not of its column's type."""


_ATOMS: Final = {
    "str": "string",
    "Text": "string",
    "int": "integer",
    "bool": "boolean",
    "Uuid": "uuid",
}
_COMPOSITES: Final = {
    "Map": ("map", "string"),
    "UuidMap": ("uuid map", "string"),
    "Strings": ("set", "string"),
    "Uuids": ("set", "uuid"),
    "tuple[int, ...]": ("set", "integer"),
}
#: What a decoder raises for JSON that is not of its type.
WRONG: Final = (TypeError, ValueError, LookupError)
_intern = sys.intern
_FEW: Final = 64  # elements of a set that changed, which are found one by one
_EMPTY: Final[dict[str, str]] = {}


# --- atoms ---------------------------------------------------------------


def _string(json: Any) -> str:
    # Interned: a Southbound repeats most of its strings many times.
    return _intern(json)


def _integer(json: Any) -> int:
    if type(json) is not int:
        raise TypeError(f"{json!r} is no integer")
    return json


def _boolean(json: Any) -> bool:
    if type(json) is not bool:
        raise TypeError(f"{json!r} is no boolean")
    return json


def _uuid(json: Any) -> str:
    tag, text = json
    if tag != "uuid":
        raise TypeError(f"{json!r} is no uuid")
    return _intern(text)


_DECODE: Final[dict[str, Decoder]] = {
    "string": _string,
    "integer": _integer,
    "boolean": _boolean,
    "uuid": _uuid,
}


def _elements(json: Any) -> list[Any]:
    """What a <value> holds: a set's elements, or the one atom."""
    if type(json) is list and len(json) == 2 and json[0] == "set":
        if type(json[1]) is not list:
            raise TypeError(f"{json!r} is no set")
        return json[1]
    return [json]


# --- columns -------------------------------------------------------------


def _scalar(atom: Decoder, default: Any) -> Decoder:
    if atom is _string:
        return _scalar_string(default)
    if atom is _uuid:
        return _scalar_uuid(default)

    def decode(json: Any) -> Any:
        if type(json) is list and json[0] == "set":
            if not json[1]:
                return default
            (json,) = json[1]
        return atom(json)

    return decode


def _scalar_string(default: Any) -> Decoder:
    """_scalar for strings, with one call less: most of a Southbound is these."""

    def decode(json: Any) -> Any:
        if type(json) is list and json[0] == "set":
            if not json[1]:
                return default
            (json,) = json[1]
        return _intern(json)

    return decode


def _scalar_uuid(default: Any) -> Decoder:
    """The same for uuids, of which nearly every row has some."""

    def decode(json: Any) -> Any:
        tag, text = json
        if tag == "uuid":
            return _intern(text)
        if tag != "set":
            raise TypeError(f"{json!r} is no uuid")
        if not text:
            return default
        (json,) = text
        return _uuid(json)

    return decode


def _set(atom: Decoder) -> Decoder:
    if atom is _string:  # members of address sets and port groups

        def decode_strings(json: Any) -> tuple[Any, ...]:
            if json.__class__ is str:
                return (_intern(json),)
            return tuple(sorted(map(_intern, _elements(json))))

        return decode_strings
    if atom is _uuid:  # members of multicast groups

        def decode_uuids(json: Any) -> tuple[Any, ...]:
            elements = [json] if json[0] == "uuid" else _elements(json)
            found = [text for tag, text in elements if tag == "uuid"]
            if len(found) != len(elements):
                raise TypeError(f"{json!r} is no set of uuids")
            return tuple(sorted(map(_intern, found)))

        return decode_uuids

    def decode(json: Any) -> tuple[Any, ...]:
        return tuple(sorted([atom(element) for element in _elements(json)]))

    return decode


def _map(json: Any) -> dict[str, str]:
    tag, pairs = json
    if tag != "map":
        raise TypeError(f"{json!r} is no map")
    return {_intern(key): _intern(value) for key, value in pairs} if pairs else _EMPTY


def _uuid_map(json: Any) -> dict[str, str]:
    tag, pairs = json
    if tag != "map":
        raise TypeError(f"{json!r} is no map")
    return {_intern(key): _uuid(value) for key, value in pairs}


#: What decodes a map, and the atom that its values are.
_MAPS: Final[dict[str, tuple[Decoder, str]]] = {
    "map": (_map, "string"),
    "uuid map": (_uuid_map, "uuid"),
}


def _xor_set(old: Any, change: Any) -> tuple[Any, ...]:
    """old: sorted, as _set() leaves it.  To sort 10,000 addresses anew takes 4 ms."""
    if len(change) > _FEW:
        return tuple(sorted(set(old).symmetric_difference(change)))
    new = list(old)
    for element in dict.fromkeys(change):
        at = bisect_left(new, element)
        if at < len(new) and new[at] == element:
            del new[at]
        else:
            new.insert(at, element)
    return tuple(new)


def _xor_map(old: Mapping[str, str], change: Mapping[str, str]) -> dict[str, str]:
    new = dict(old)
    for key, value in change.items():
        if new.get(key) == value:
            del new[key]
        else:
            new[key] = value
    return new


def _replace(old: Any, change: Any) -> Any:
    return change


class Column:
    """A declared column: how to decode it, its default, how to merge a difference."""

    __slots__ = ("decode", "default", "kind", "merge", "name", "shape", "value")

    def __init__(self, declared: Field[Any]) -> None:
        self.name: Final = declared.name
        factory = declared.default_factory
        self.default: Final = _EMPTY if factory is not MISSING else declared.default
        self.shape, self.kind = _shape(str(declared.type))
        self.merge: Callable[[Any, Any], Any] = _replace
        self.value = ""
        if self.shape in _MAPS:
            self.decode: Decoder
            self.decode, self.value = _MAPS[self.shape]
        elif self.shape == "set":
            self.decode = _set(_DECODE[self.kind])
        else:
            self.decode = _scalar(_DECODE[self.kind], self.default)

    def bind(self, server: ServerColumn) -> bool:
        """Adapt to the server's type; False if it cannot be read as declared."""
        if (server.key, server.value) != (self.kind, self.value):
            return False
        if self.shape == "scalar" and server.composite:
            return False
        if server.composite:
            self.merge = _xor_map if self.value else _xor_set
        return True


def _shape(annotation: str) -> tuple[str, str]:
    """(scalar | set | map | uuid map, atom) of an annotation as tables.py writes it.

    As text: to evaluate the 300 of them took a tenth of an agent's start.
    """
    composite = _COMPOSITES.get(annotation)
    return composite or ("scalar", _ATOMS[annotation.removesuffix(" | None")])


def _plan(declared: Field[Any], column: Column | None, default: Any) -> Plan:
    """For a decoder that is compiled."""
    decode = column.decode if column else None
    kind = column.kind if column and column.shape == "scalar" else ""
    return Plan(declared.name, default, decode, kind, str(declared.type) != "Text")


class RowCodec:
    """Decodes one table's rows for one server.

    columns: names to monitor; mismatched: columns that the server has with a
    type that does not fit, read as if missing.
    """

    def __init__(self, row: type[Row], schema: Schema) -> None:
        table = schema.tables.get(row.TABLE, {})
        self.row: Final = row
        self.mismatched: Final[list[str]] = []
        self._plan: list[Column | None] = []
        self._defaults: list[Any] = []
        for declared in fields(row)[1:]:
            column = Column(declared)
            server = table.get(column.name)
            known = server is not None and column.bind(server)
            if server is not None and not known:
                self.mismatched.append(column.name)
            self._plan.append(column if known else None)
            self._defaults.append(column.default)
        self._known: Final = [(c.name, c.decode, i) for i, c in enumerate(self._plan) if c]
        self.columns: Final = tuple(name for name, _, _ in self._known)
        self._position: Final = {name: i for name, _, i in self._known}
        self._names: Final = tuple(declared.name for declared in fields(row)[1:])
        self._make: Decode = self._interpret

    def maker(self, rows: int) -> Decode:
        """What makes a row of a dict, for somebody with so many: decode() without the care.

        Raises one of WRONG if a value is not of its column's type.
        """
        if rows >= WORTH and self._make == self._interpret:
            declared = zip(fields(self.row)[1:], self._plan, self._defaults, strict=True)
            self._make = compiled(self.row, [_plan(*each) for each in declared])
        return self._make

    def decode(self, uuid: str, json: Any) -> Row:
        """A whole row; columns that are not in json have their defaults.

        RowError if a value is not of its column's type.
        """
        try:
            if type(json) is not dict:
                raise TypeError(f"{json!r} is no row")
            return self._make(uuid, json)
        except WRONG as error:
            raise RowError(f"{self.row.TABLE} {uuid}: {error}") from error

    def _interpret(self, uuid: str, json: Any) -> Row:
        values = self._defaults.copy()
        for name, decode, i in self._known:
            if name in json:
                values[i] = decode(json[name])
        return self._build(uuid, values)

    def _build(self, uuid: str, values: list[Any]) -> Row:
        """Without the class's __init__, which would be compiled for a handful of rows."""
        made: Any = object.__new__(self.row)
        made.uuid = uuid
        for name, value in zip(self._names, values, strict=True):
            setattr(made, name, value)
        row: Row = made
        return row

    def patch(self, old: Row, json: Any) -> Row:
        """The row after an update2 "modify"; RowError as decode."""
        try:
            values = [getattr(old, name) for name in self._names]
            for name, value in json.items():
                i = self._position.get(name)
                column = None if i is None else self._plan[i]
                if i is not None and column is not None:
                    values[i] = column.merge(values[i], column.decode(value))
            return self._build(old.uuid, values)
        except (*WRONG, AttributeError) as error:
            raise RowError(f"{self.row.TABLE} {old.uuid}: {error}") from error
