# SPDX-License-Identifier: Apache-2.0
"""Transactions on the Southbound: built here, sent by the cache.

binding, the slow path and observe write with them.  Values are encoded when a
transaction is sent, by the schema of the server it goes to: a column that the
server lacks is left out, and an operation that this leaves empty with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.conditions import Clause
from ovn_bpf_controller.ovsdb.schema import NamedUuid, Schema
from ovn_bpf_controller.ovsdb.tables import Row
from ovn_bpf_controller.plaindata import dataclass, field

#: Errors of a server that another server, or the same one later, may not give:
#: RFC 7047 4.1.3 and 5.2, ovsdb-server(7).  "not allowed": read-only or standby.
RETRY_ERRORS: Final = frozenset(
    ("not allowed", "not leader", "cluster error", "aborted", "canceled", "timed out",
     "resources exhausted", "I/O error", "disconnected", "unknown database", "conflict")
)  # fmt: skip


class Status(Enum):
    """PENDING until run() has the answer; UNCHANGED: there was nothing to do."""

    PENDING = "pending"
    SUCCESS = "success"
    UNCHANGED = "unchanged"
    ERROR = "error"
    LOST = "lost"


@dataclass(slots=True)
class Pending:
    """A transaction that was given to the cache.

    error: the server's error (RFC 7047's short name), details: its explanation.
    uuids: what the rows of insert() have become, by NamedUuid.name; see uuid().
    LOST: the connection went away, so it may or may not have been carried out.
    """

    status: Status = Status.PENDING
    error: str = ""
    details: str = ""
    uuids: dict[str, str] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the outcome is known (LOST counts)."""
        return self.status is not Status.PENDING

    @property
    def ok(self) -> bool:
        """Whether the database is as the transaction wanted it."""
        return self.status in (Status.SUCCESS, Status.UNCHANGED)

    @property
    def retryable(self) -> bool:
        """Whether the same transaction may succeed later: nothing is wrong with it."""
        return self.status is Status.LOST or self.error in RETRY_ERRORS

    @property
    def permission_denied(self) -> bool:
        """Whether our RBAC role does not allow it."""
        return self.error == "permission error"

    def uuid(self, row: NamedUuid) -> str:
        """The uuid of a row that insert() made; KeyError before SUCCESS."""
        return self.uuids[row.name]

    def __str__(self) -> str:
        text = self.status.value
        if self.error:
            text += f": {self.error}"
        return f"{text} ({self.details})" if self.details else text


@dataclass(frozen=True, slots=True)
class _Operation:
    op: str
    table: str
    where: tuple[Clause, ...] = ()
    row: Mapping[str, object] = field(default_factory=dict)
    mutations: tuple[tuple[str, str, object], ...] = ()
    name: str = ""
    until: str = "=="
    timeout: int = 0


class Transaction:
    """A list of operations that the server carries out together or not at all.

    Rows are named by uuid, columns as in tables.py.  Methods return self, apart
    from insert, so that calls can be chained.
    """

    def __init__(self, comment: str = "") -> None:
        self._operations: list[_Operation] = []
        self._comments: list[str] = [comment] if comment else []

    def __bool__(self) -> bool:
        """Whether there is anything to do (comments alone are nothing)."""
        return bool(self._operations)

    def insert(self, table: type[Row], **columns: object) -> NamedUuid:
        """Make a row; the result stands for its uuid in this transaction's values."""
        name = NamedUuid(f"row{len(self._operations)}")
        self._operations.append(_Operation("insert", table.TABLE, row=columns, name=name.name))
        return name

    def update(self, table: type[Row], uuid: str, **columns: object) -> Transaction:
        """Set columns of a row."""
        self._operations.append(_Operation("update", table.TABLE, _by_uuid(uuid), columns))
        return self

    def mutate(
        self, table: type[Row], uuid: str, column: str, mutator: str, value: object
    ) -> Transaction:
        """Change part of a column: "insert" or "delete" elements, keys or pairs, "+=" ….

        To set a map's key: delete it by [key], then insert {key: value}.
        """
        self._operations.append(
            _Operation("mutate", table.TABLE, _by_uuid(uuid), mutations=((column, mutator, value),))
        )
        return self

    def set_keys(
        self, table: type[Row], uuid: str, column: str, pairs: Mapping[str, object]
    ) -> Transaction:
        """Set keys of a map column and leave its other keys alone; None removes one."""
        left = {key: value for key, value in pairs.items() if value is not None}
        mutations = ((column, "delete", tuple(pairs)), (column, "insert", left))
        self._operations.append(
            _Operation("mutate", table.TABLE, _by_uuid(uuid), mutations=mutations)
        )
        return self

    def delete(self, table: type[Row], uuid: str) -> Transaction:
        """Delete a row, if it exists."""
        self._operations.append(_Operation("delete", table.TABLE, _by_uuid(uuid)))
        return self

    def wait(
        self, table: type[Row], uuid: str, until: str = "==", timeout: int = 0, **columns: object
    ) -> Transaction:
        """Fail with "timed out" unless the row's columns are (until "==") or are not ("!=") so.

        timeout: milliseconds that the server may wait for it; 0: not at all.
        """
        self._operations.append(
            _Operation("wait", table.TABLE, _by_uuid(uuid), columns, until=until, timeout=timeout)
        )
        return self

    def absent(self, table: type[Row], **columns: object) -> Transaction:
        """Fail with "timed out" if some row has these columns already.

        For an insert that another client may make at the same time.
        """
        self._operations.append(_Operation("absent", table.TABLE, row=columns))
        return self

    def comment(self, text: str) -> Transaction:
        """Text for the server's transaction log."""
        self._comments.append(text)
        return self

    def encode(self, schema: Schema) -> tuple[list[Any], list[str]]:
        """Operations for this server, and for each the name of what it inserts, or "".

        DatabaseError if a value does not fit its column.
        """
        operations: list[Any] = []
        names: list[str] = []
        for operation in self._operations:
            encoded = _encode(operation, schema)
            if encoded is not None:
                operations.append(encoded)
                names.append(operation.name)
        if operations and self._comments:
            operations.append({"op": "comment", "comment": "\n".join(self._comments)})
        return operations, names


def _by_uuid(uuid: str) -> tuple[Clause, ...]:
    return (Clause("_uuid", "==", uuid),)


def _encode(operation: _Operation, schema: Schema) -> dict[str, Any] | None:
    """The operation in JSON; None if nothing of it makes sense to this server."""
    columns = schema.tables.get(operation.table)
    if columns is None:
        return None
    row = {
        name: columns[name].encode(value)
        for name, value in operation.row.items()
        if name in columns
    }
    if operation.op == "absent":
        where = [[name, "==", value] for name, value in row.items()]
        wait = {"op": "wait", "table": operation.table, "where": where, "columns": list(row)}
        return {**wait, "rows": [], "until": "==", "timeout": 0}
    json: dict[str, Any] = {"op": operation.op, "table": operation.table}
    if operation.where:
        json["where"] = [[c.column, c.function, ["uuid", c.value]] for c in operation.where]
    if operation.op == "insert":
        json |= {"row": row, "uuid-name": operation.name}
    elif operation.op == "update":
        json["row"] = row
        return json if row else None
    elif operation.op == "mutate":
        json["mutations"] = [
            [name, mutator, columns[name].encode_mutation(mutator, value)]
            for name, mutator, value in operation.mutations
            if name in columns
        ]
        return json if json["mutations"] else None
    elif operation.op == "wait":
        json |= {"columns": list(row), "rows": [row], "until": operation.until}
        json["timeout"] = operation.timeout
        return json if row else None
    return json


def complete(pending: Pending, message: Mapping[str, Any], names: Sequence[str]) -> None:
    """Put a "transact" reply into pending; names as Transaction.encode gave them.

    DatabaseError if the reply is not one.
    """
    error = message.get("error")
    if error is not None:
        _set_error(pending, error)
        return
    results = message.get("result")
    if not isinstance(results, list):
        raise DatabaseError("reply to transact without result")
    for result in results:
        if isinstance(result, dict) and "error" in result:
            _set_error(pending, result)
            return
    for name, result in zip(names, results, strict=False):
        if name:
            pending.uuids[name] = _uuid(result)
    pending.status = Status.SUCCESS


def _uuid(result: Any) -> str:
    try:
        return str(result["uuid"][1])
    except (TypeError, LookupError) as error:
        raise DatabaseError(f"insert answered with {result!r}") from error


def _set_error(pending: Pending, error: Any) -> None:
    pending.status = Status.ERROR
    if isinstance(error, dict):
        pending.error = str(error.get("error", "unknown error"))
        pending.details = str(error.get("details", ""))
    else:
        pending.error = str(error)
