# SPDX-License-Identifier: Apache-2.0
"""Which rows to monitor, and how far the server has followed.

binding/local.py says what it wants as clauses, the cache sends what differs.
The server's acknowledgement matters twice: nb_cfg must not be acknowledged
before it, and a resumed connection must ask for exactly what was acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb import framing
from ovn_bpf_controller.ovsdb.schema import Schema
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.plaindata import NamedTuple

vlog = ovs.vlog.Vlog("ovsdb_conditions")


class Clause(NamedTuple):
    """A <condition> of RFC 7047 5.1: rows whose column compares so to value.

    function: "==", "!=", "includes" or "excludes".  value: as in the row classes.
    """

    column: str
    function: str
    value: object


#: All rows that any clause selects; True: all rows, False or (): none.
Clauses = Sequence[Clause] | bool
Conditions = Mapping[type[Row], Clauses]

Where = list[Any]
ALL: Final[Where] = [True]
NONE: Final[Where] = [False]


def encode(clauses: Clauses, table: str, schema: Schema) -> Where:
    """A canonical "where": equal wishes give equal lists.

    A clause about a column that the server lacks selects nothing and is left out,
    and so is one whose value does not fit the column.
    """
    if isinstance(clauses, bool):
        return ALL if clauses else NONE
    encoded: dict[bytes, Any] = {}
    for clause in clauses:
        try:
            json = _encode_clause(clause, table, schema)
        except DatabaseError as error:
            vlog.err(f"condition {clause} on {table} left out: {error}")
            continue
        if json is not None:
            encoded[framing.dumps(json)] = json
    return [encoded[key] for key in sorted(encoded)] or NONE


def _encode_clause(clause: Clause, table: str, schema: Schema) -> list[Any] | None:
    if clause.column == "_uuid":
        return [clause.column, clause.function, ["uuid", clause.value]]
    server = schema.column(table, clause.column)
    if server is None:
        return None
    return [clause.column, clause.function, server.encode(clause.value)]


class ConditionState:
    """Wanted, requested and acknowledged conditions of one monitor."""

    def __init__(self) -> None:
        self._wanted: dict[type[Row], Clauses] = {}
        self._encoded: dict[str, Where] | None = None
        self._acked: dict[str, Where] = {}
        self._requested: dict[str, Where] | None = None

    def want(self, conditions: Conditions) -> None:
        """Wish for these from now on; a table that is not named is wanted whole."""
        # binding wishes anew in every iteration; comparing is cheaper than encoding.
        if conditions == self._wanted:
            return
        self._wanted = dict(conditions)
        self._encoded = None

    def _goal(self, schema: Schema) -> dict[str, Where]:
        if self._encoded is None:
            self._encoded = {
                row.TABLE: where
                for row, clauses in self._wanted.items()
                if row.TABLE in schema.tables
                and (where := encode(clauses, row.TABLE, schema)) != ALL
            }
        return self._encoded

    @property
    def in_flight(self) -> bool:
        """Whether a request is unanswered."""
        return self._requested is not None

    def settled(self, schema: Schema) -> bool:
        """Whether the server has acknowledged exactly what is wanted now."""
        return self._requested is None and self._goal(schema) == self._acked

    def start(self, schema: Schema, resume: bool) -> Mapping[str, Where]:
        """The conditions to open a monitor with.

        resume: the old rows are kept, so they must be those of the old conditions.
        """
        if self.in_flight and resume:
            raise DatabaseError("cannot resume: a change of conditions was in flight")
        self._requested = None
        if not resume:
            self._encoded = None
            self._acked = dict(self._goal(schema))
        return self._acked

    def request(self, schema: Schema) -> Mapping[str, Where] | None:
        """What to ask for in a monitor_cond_change, or None if nothing changes.

        Counts as sent; acknowledge() when the answer is there.
        """
        goal = self._goal(schema)
        if self._requested is not None or goal == self._acked:
            return None
        changed = {
            table: goal.get(table, ALL)
            for table in goal.keys() | self._acked.keys()
            if goal.get(table, ALL) != self._acked.get(table, ALL)
        }
        self._requested = dict(goal)
        return changed

    def acknowledge(self) -> None:
        """The server has answered the last request()."""
        if self._requested is not None:
            self._acked, self._requested = self._requested, None
