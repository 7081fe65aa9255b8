# SPDX-License-Identifier: Apache-2.0
"""The conversation with one server that keeps a Store equal to its database.

SouthboundCache owns one and feeds it messages.  In order: monitor _Server to see
whether this server may be used at all (cluster membership, stale data), ask for
the schema, monitor with monitor_cond_since from the last transaction that we
know, then follow updates and send changes of conditions.  Servers that are too
old get monitor_cond or monitor (ovsdb-server(7), 4.1.12 and following).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final

import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.conditions import ConditionState
from ovn_bpf_controller.ovsdb.schema import Schema
from ovn_bpf_controller.ovsdb.session import Message, Session
from ovn_bpf_controller.ovsdb.store import Store
from ovn_bpf_controller.plaindata import dataclass

vlog = ovs.vlog.Vlog("ovsdb_monitor")

NO_TRANSACTION: Final = "00000000-0000-0000-0000-000000000000"
DATA: Final = "data"
SERVER: Final = "server"
#: Methods to monitor with, best first, and the version of the updates they bring.
METHODS: Final[tuple[tuple[str, int], ...]] = (
    ("monitor_cond_since", 2),
    ("monitor_cond", 2),
    ("monitor", 1),
)
SERVER_COLUMNS: Final = ("name", "model", "connected", "index")


class Phase(Enum):
    """How far the conversation is."""

    DISCONNECTED = "not connected"
    SERVER = "asking for the server's state"
    SCHEMA = "asking for the schema"
    LOADING = "loading"
    MONITORING = "monitoring"


@dataclass(slots=True)
class Statistics:
    """Since the start.  loads, resumes: initial contents taken in whole or from where we were."""

    loads: int = 0
    resumes: int = 0
    updates: int = 0


class Monitor:
    """See the module's text.  min_index: no clustered server behind this is accepted."""

    def __init__(
        self, database: str, session: Session, store: Store, conditions: ConditionState
    ) -> None:
        self.database: Final = database
        self.phase = Phase.DISCONNECTED
        self.schema: Schema | None = None
        self.min_index = 0
        self.has_ever_synced = False
        self.statistics = Statistics()
        self._session = session
        self._store = store
        self._conditions = conditions
        self._next_id = 1
        self._waiting: dict[int, Callable[[Message], None]] = {}
        self._last_txn = NO_TRANSACTION
        self._method = 0
        self._raw_schema: Any = None
        self._server_rows: dict[str, dict[str, Any]] = {}

    # --- requests ---

    def request(
        self, method: str, params: list[Any], then: Callable[[Message], None] | None = None
    ) -> int | None:
        """Send a request; then gets the reply.  Its id, or None without a connection."""
        number, self._next_id = self._next_id, self._next_id + 1
        if not self._session.send({"method": method, "params": params, "id": number}):
            return None
        if then is not None:
            self._waiting[number] = then
        return number

    def restart(self) -> None:
        """The connection was lost, or a new one is there."""
        self._waiting.clear()
        self._server_rows.clear()
        if self._conditions.in_flight:
            # Nobody can tell whether the server acted on it, hence which rows
            # the last transaction id stands for.
            self.forget()
        self.phase = Phase.DISCONNECTED
        self._method = 0
        self._session.set_patient(False)
        if self._session.connected:
            self.phase = Phase.SERVER
            columns = {"Database": [{"columns": list(SERVER_COLUMNS)}]}
            self.request("monitor", ["_Server", SERVER, columns], self._server_reply)

    def forget(self) -> None:
        """Do not resume: the next connection loads everything and finds differences."""
        self._last_txn = NO_TRANSACTION

    def process(self, message: Message) -> None:
        """Take a message in; DatabaseError if the connection is to be dropped for it."""
        method = message.get("method")
        if method is None:
            number = message.get("id")
            then = self._waiting.pop(number, None) if isinstance(number, int) else None
            if then is not None:
                then(message)
            return
        params = message.get("params")
        if not isinstance(params, list):
            raise DatabaseError(f"{method} without parameters")
        if method in ("update", "update2", "update3"):
            self._update(method, params)
        elif method == "monitor_canceled":
            self._canceled(params)

    # --- _Server ---

    def _server_reply(self, message: Message) -> None:
        if message.get("error") is None:
            self._server_update(message.get("result"))
            self.request("set_db_change_aware", [True])
        # Otherwise: older than _Server (Open vSwitch 2.9), so standalone.
        self._ask_schema()

    def _server_update(self, updates: Any) -> None:
        try:
            for uuid, update in updates.get("Database", {}).items():
                if update.get("new") is None:
                    self._server_rows.pop(uuid, None)
                else:
                    self._server_rows[uuid] = dict(update["new"])
        except (AttributeError, TypeError, ValueError) as error:
            raise DatabaseError(f"the server's state is not understood: {error}") from error
        self._check_server()

    def _check_server(self) -> None:
        """DatabaseError if another server must be tried."""
        rows = [row for row in self._server_rows.values() if row.get("name") == self.database]
        if not rows:
            raise DatabaseError(f"server does not have {self.database} database")
        model = rows[0].get("model")
        if model in ("clustered", "relay") and rows[0].get("connected") is not True:
            raise DatabaseError(f"{model} database server is disconnected from its peers")
        index = rows[0].get("index")
        if model == "clustered" and isinstance(index, int):
            if index < self.min_index:
                raise DatabaseError("clustered database server has stale data")
            self.min_index = index

    def _canceled(self, params: Sequence[Any]) -> None:
        """The database was converted or replaced: the conversation starts anew."""
        if params == [DATA]:
            vlog.info(f"{self._session.remote}: monitor canceled by the server")
            self.forget()
            self._ask_schema()

    # --- schema and initial contents ---

    def _ask_schema(self) -> None:
        self.phase = Phase.SCHEMA
        self.request("get_schema", [self.database], self._schema_reply)

    def _schema_reply(self, message: Message) -> None:
        raw = _result(message, "get_schema")
        if self.schema is None or raw != self._raw_schema:
            self.schema = Schema.parse(raw)
            self._raw_schema = raw
            self._store.bind(self.schema)
            # Other columns: the rows that we have may lack some.
            self.forget()
        self._open()

    def _open(self) -> None:
        assert self.schema is not None
        self.phase = Phase.LOADING
        method, _ = METHODS[self._method]
        if method != "monitor_cond_since":
            self.forget()
        resume = self._last_txn != NO_TRANSACTION
        where = self._conditions.start(self.schema, resume)
        params: list[Any] = [self.database, DATA, self._requests(where, method != "monitor")]
        if method == "monitor_cond_since":
            params.append(self._last_txn)
        self._session.set_patient(True)
        self.request(method, params, self._contents)

    def _requests(self, where: Mapping[str, list[Any]], conditional: bool) -> dict[str, Any]:
        requests: dict[str, Any] = {}
        for table, columns in self._store.monitored().items():
            request: dict[str, Any] = {"columns": list(columns)}
            if conditional and table in where:
                request["where"] = where[table]
            requests[table] = [request]
        return requests

    def _contents(self, message: Message) -> None:
        method, version = METHODS[self._method]
        error = message.get("error")
        if error is not None and "unknown method" in str(error) and method != "monitor":
            self._method += 1
            self._open()
            return
        result = _result(message, method)
        if method == "monitor_cond_since":
            found, last, updates = _items(result, 3)
        else:
            found, last, updates = False, NO_TRANSACTION, result
        if found is True:
            self._store.apply(updates, version)
            self.statistics.resumes += 1
        else:
            self._store.replace(updates, version)
            self.statistics.loads += 1
        self._last_txn = str(last)
        self._session.set_patient(False)
        self.phase = Phase.MONITORING
        self.has_ever_synced = True
        self._session.last_error = ""
        vlog.info(f"{self._session.remote}: {'resumed' if found is True else 'loaded'}")

    # --- following ---

    def _update(self, method: str, params: list[Any]) -> None:
        if params and params[0] == SERVER:
            self._server_update(_items(params, 2)[1])
        elif params and params[0] == DATA and self.phase is Phase.MONITORING:
            self.statistics.updates += 1
            if method == "update3":
                _, last, updates = _items(params, 3)
                self._store.apply(updates, 2)
                self._last_txn = str(last)
            else:
                self._store.apply(_items(params, 2)[1], 1 if method == "update" else 2)

    # --- conditions ---

    @property
    def conditions_settled(self) -> bool:
        """Whether the server has answered everything that was asked for."""
        if self.schema is None:
            return False
        # A server without conditions sends all rows: nothing to wait for.
        return METHODS[self._method][0] == "monitor" or self._conditions.settled(self.schema)

    def send_conditions(self) -> None:
        """Send what differs from the server's conditions, unless an answer is pending."""
        if (
            self.schema is None
            or self.phase is not Phase.MONITORING
            or not self._session.connected
            or METHODS[self._method][0] == "monitor"
        ):
            return
        changed = self._conditions.request(self.schema)
        if changed:
            requests = {table: [{"where": where}] for table, where in changed.items()}
            self.request("monitor_cond_change", [DATA, DATA, requests], self._conditions_reply)

    def _conditions_reply(self, message: Message) -> None:
        # The rows come in an update before this reply, in the order of the stream.
        _result(message, "monitor_cond_change")
        self._conditions.acknowledge()
        self.send_conditions()


def _result(message: Message, method: str) -> Any:
    """The reply's result; DatabaseError if it is an error."""
    error = message.get("error")
    if error is not None:
        text = error.get("details") or error.get("error") if isinstance(error, dict) else error
        raise DatabaseError(f"{method} failed: {text}")
    return message.get("result")


def _items(value: Any, count: int) -> list[Any]:
    """value, if it is a list of so many; DatabaseError if not."""
    if not isinstance(value, list) or len(value) != count:
        raise DatabaseError(f"{str(value)[:60]!r} is no list of {count}")
    return value
