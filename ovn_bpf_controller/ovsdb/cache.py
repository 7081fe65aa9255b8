# SPDX-License-Identifier: Apache-2.0
"""A database as rows in memory, kept up to date by any of its servers.

The agent owns one for the Southbound and calls run() in its loop; binding and compile
read rows and changes.  local.py has another.  The protocol of one connection is
monitor.Monitor's; here is what outlives connections: rows, conditions, transactions,
the lock that is wanted, and where to resume.

    cache = SouthboundCache(["unix:/run/ovn/ovnsb_db.sock"])
    cache.set_conditions({PortBinding: [Clause("chassis", "==", uuid)]})
    for uuid, (old, new) in cache.run().of(PortBinding).items(): ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import ovs.poller
import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.conditions import Conditions, ConditionState
from ovn_bpf_controller.ovsdb.lock import NOTICES, Lock
from ovn_bpf_controller.ovsdb.monitor import Monitor, Phase, Statistics
from ovn_bpf_controller.ovsdb.schema import Schema
from ovn_bpf_controller.ovsdb.session import DEFAULT_PROBE, Message, Session
from ovn_bpf_controller.ovsdb.store import Changes, Store
from ovn_bpf_controller.ovsdb.tables import SOUTHBOUND, Row
from ovn_bpf_controller.ovsdb.transact import Pending, Status, Transaction, complete

vlog = ovs.vlog.Vlog("ovsdb_cache")

R = TypeVar("R", bound=Row)


class Replica:
    """A replica of the monitored part of one database.

    remotes: unix:, tcp: or ssl: connection methods, tried in random order; any
    member of a cluster will do.  tables: row classes to monitor.  probe_interval:
    milliseconds, 0 for none.  Neither a malformed remote nor whatever a server does
    ever raises.
    """

    def __init__(
        self,
        remotes: Sequence[str],
        tables: Sequence[type[Row]],
        database: str,
        probe_interval: int = DEFAULT_PROBE,
    ) -> None:
        self._session = Session(remotes, probe_interval)
        self._store = Store(tables)
        self._conditions = ConditionState()
        self._monitor = Monitor(database, self._session, self._store, self._conditions)
        self.lock: Final = Lock(self._monitor.request)
        self._epoch = self._session.epoch
        self._transactions: dict[int, tuple[Pending, list[str]]] = {}

    # --- reading ---

    def run(self) -> Changes:
        """Take in what the servers sent and advance, without blocking.

        Returns what changed since the last call; completes Pending objects.
        """
        for message in self._session.run():
            if not self._process(message):
                break
        if self._session.epoch != self._epoch:
            self._epoch = self._session.epoch
            self._reconnected()
        self._monitor.send_conditions()
        return self._store.take_changes()

    def wait(self, poller: ovs.poller.Poller) -> None:
        """Have the poller wake when run() has something to do."""
        self._session.wait(poller)
        if self._session.epoch != self._epoch:
            poller.immediate_wake()

    def table(self, row: type[R]) -> Mapping[str, R]:
        """uuid -> row; a live view.  Rows of before a lost connection stay."""
        return self._store.table(row)

    # --- state ---

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as connection-status reports it."""
        return self._session.connected

    @property
    def has_ever_connected(self) -> bool:
        """Whether there ever was a connection."""
        return self._session.has_ever_connected

    @property
    def synced(self) -> bool:
        """Whether the rows are those of a server that we are connected to."""
        return self._monitor.phase is Phase.MONITORING

    @property
    def has_ever_synced(self) -> bool:
        """Whether the rows are, or were before a disconnection, a whole database's."""
        return self._monitor.has_ever_synced

    @property
    def conditions_settled(self) -> bool:
        """Whether all rows of the conditions last set are here, and no others."""
        return self.synced and self._monitor.conditions_settled

    @property
    def status(self) -> str:
        """ "connected" or "not connected", for the connection-status command."""
        return "connected" if self.connected else "not connected"

    @property
    def detail(self) -> str:
        """One line for an operator: the remote, the phase, the last error."""
        text = f"{self._session.remote}: {self._monitor.phase.value}"
        return f"{text} ({self._session.last_error})" if self._session.last_error else text

    @property
    def remote(self) -> str:
        """The remote that is connected or tried."""
        return self._session.remote

    @property
    def schema(self) -> Schema | None:
        """The last server's schema."""
        return self._monitor.schema

    @property
    def schema_version(self) -> str:
        """Version of the last server's schema, "" before there was one."""
        return self.schema.version if self.schema else ""

    @property
    def row_count(self) -> int:
        """Rows in memory."""
        return self._store.row_count()

    @property
    def bad_rows(self) -> int:
        """Rows that were left out because they could not be decoded, so far."""
        return self._store.bad_rows

    @property
    def statistics(self) -> Statistics:
        """Counters, for observe/ and tests."""
        return self._monitor.statistics

    # --- control ---

    def set_conditions(self, conditions: Conditions) -> None:
        """Monitor only these rows; tables not named are monitored whole.

        Only differences are sent.
        """
        self._conditions.want(conditions)
        self._monitor.send_conditions()

    def set_remotes(self, remotes: Sequence[str]) -> None:
        """Use these servers; a malformed one is left out.  Rows stay until replaced."""
        self._session.set_remotes(remotes)

    def set_probe_interval(self, interval: int) -> None:
        """Milliseconds between probes of an idle connection, 0 for none."""
        self._session.set_probe_interval(interval)

    def force_reconnect(self) -> None:
        """Drop the connection and make another."""
        self._session.force_reconnect(backoff=not self.synced)

    def reset_cluster_state(self) -> None:
        """Accept a server whose data look older than what we saw (sb-cluster-state-reset)."""
        self._monitor.min_index = 0
        self._session.force_reconnect(backoff=False)

    def close(self) -> None:
        """Close the connection for good; unfinished transactions are LOST."""
        self._session.close()
        self._lose_transactions()
        self.lock.restart(connected=False)

    # --- writing ---

    def transact(self, transaction: Transaction) -> Pending:
        """Send a transaction; its outcome appears in the result during a later run().

        LOST at once without a synchronised connection; ERROR at once, with error
        "constraint violation", if a value does not fit its column.
        """
        pending = Pending()
        schema = self.schema
        if schema is None or not self.synced:
            pending.status = Status.LOST
            pending.details = "not connected"
            return pending
        try:
            operations, names = transaction.encode(schema)
        except DatabaseError as error:
            vlog.warn(f"transaction not sent: {error}")
            pending.status = Status.ERROR
            pending.error, pending.details = "constraint violation", str(error)
            return pending
        if not operations:
            pending.status = Status.UNCHANGED
            return pending
        number = self._monitor.request("transact", [self._monitor.database, *operations])
        if number is None:
            pending.status = Status.LOST
        else:
            self._transactions[number] = (pending, names)
        return pending

    # --- messages ---

    def _process(self, message: Message) -> bool:
        """Take a message in; False if the connection was dropped for it."""
        number = message.get("id")
        try:
            if "method" not in message and isinstance(number, int) and number in self._transactions:
                pending, names = self._transactions.pop(number)
                complete(pending, message, names)
            elif message.get("method") in NOTICES:
                self.lock.notice(message)
            else:
                self._monitor.process(message)
        except DatabaseError as error:
            self._monitor.forget()
            self._session.fail(str(error))
            return False
        return True

    def _reconnected(self) -> None:
        """The connection is another one, or none."""
        self._lose_transactions()
        self._monitor.restart()
        self.lock.restart(self.connected)

    def _lose_transactions(self) -> None:
        lost, self._transactions = self._transactions, {}
        for pending, _ in lost.values():
            pending.status = Status.LOST
            pending.details = "connection lost"


class SouthboundCache(Replica):
    """The replica of OVN's Southbound."""

    def __init__(
        self,
        remotes: Sequence[str],
        tables: Sequence[type[Row]] = SOUTHBOUND,
        database: str = "OVN_Southbound",
        probe_interval: int = DEFAULT_PROBE,
    ) -> None:
        super().__init__(remotes, tables, database, probe_interval)
