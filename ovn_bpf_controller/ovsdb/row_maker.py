# SPDX-License-Identifier: Apache-2.0
"""One table's decoder written out as Python and compiled, for tables with many rows.

codec.RowCodec asks for it when a message has enough rows to pay for compiling: a loop
over the columns takes half as much again for each of 50,000 logical flows.  What a
column's value may be is the codec's to say; here only the usual case is spared a call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.plaindata import NamedTuple

Decode = Callable[[str, Any], Row]

#: Rows that take as long as to compile a decoder for them.
WORTH: Final = 500


class Plan(NamedTuple):
    """A column of the class.  decode: None where the server lacks it.

    kind: of a scalar, what JSON says of it; "" of anything else.  interned: its texts
    repeat, so rows had better share them.
    """

    name: str
    default: Any
    decode: Callable[[Any], Any] | None
    kind: str
    interned: bool


def compiled(row: type[Row], plan: Iterable[Plan]) -> Decode:
    """(uuid, json) -> row; raises whatever a column's decode raises."""
    scope: dict[str, Any] = {"new": object.__new__, "row": row, "intern": sys.intern}
    lines = ["def decode(uuid, json):", " made = new(row)", " made.uuid = uuid"]
    for n, column in enumerate(plan):
        scope[f"default{n}"], scope[f"decode{n}"] = column.default, column.decode
        lines += _column(n, column)
    lines.append(" return made")
    exec("\n".join(lines), scope)
    made: Decode = scope["decode"]
    return made


def _column(n: int, column: Plan) -> Iterator[str]:
    if column.decode is None:
        yield f" made.{column.name} = default{n}"
        return
    yield f" if {column.name!r} in json:"
    yield f"  value = json[{column.name!r}]"
    usual = {
        "string": ("value.__class__ is str", "intern(value)" if column.interned else "value"),
        "integer": ("value.__class__ is int", "value"),
        "boolean": ("value.__class__ is bool", "value"),
    }.get(column.kind)
    if usual is None:
        yield f"  made.{column.name} = decode{n}(value)"
    else:
        yield f"  made.{column.name} = {usual[1]} if {usual[0]} else decode{n}(value)"
    yield " else:"
    yield f"  made.{column.name} = default{n}"
