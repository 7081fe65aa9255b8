# SPDX-License-Identifier: Apache-2.0
"""A database's schema and its lock, over a small session of our own.

LocalDatabase runs one beside python-ovs' IDL, which must be told a schema
before it connects, and which refuses every write while a lock that it was asked
for is held by somebody else: but the lock named ovs_vswitchd only says whose
the duties are, and ovn-controller's part is written whether it is held or not.
"""

from __future__ import annotations

from typing import Any

import ovs.poller
import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.session import Message, Session

vlog = ovs.vlog.Vlog("ovsdb_control")


class Control:
    """schema: the server's <database-schema>, None before it is known."""

    def __init__(self, remote: str, database: str) -> None:
        self.schema: Any = None
        self.has_lock = False
        self.lock_contended = False
        self._database = database
        self._session = Session([remote])
        self._epoch = self._session.epoch
        self._lock = ""
        self._lock_id = ""
        self._sent = 0

    @property
    def detail(self) -> str:
        """One line for an operator."""
        session = self._session
        state = "connected" if session.connected else "not connected"
        return f"{session.remote}: {state} ({session.last_error})".removesuffix(" ()")

    def set_lock(self, name: str | None) -> None:
        """Try to get and keep this lock; None gives it up."""
        name = name or ""
        if name == self._lock:
            return
        if self._lock:
            self._send("unlock", [self._lock])
        self._lock, self._lock_id = name, ""
        self.has_lock = self.lock_contended = False
        if name:
            self._lock_id = self._send("lock", [name])

    def run(self) -> bool:
        """Advance, without blocking; True if the schema or the lock has changed."""
        before = (self.has_lock, self.lock_contended, self.schema)
        for message in self._session.run():
            try:
                self._process(message)
            except DatabaseError as error:
                self._session.fail(str(error))
                break
        if self._session.epoch != self._epoch:
            self._epoch = self._session.epoch
            self._restart()
        after = (self.has_lock, self.lock_contended, self.schema)
        return before != after

    def wait(self, poller: ovs.poller.Poller) -> None:
        """Have the poller wake when run() has something to do."""
        self._session.wait(poller)
        if self._session.epoch != self._epoch:
            poller.immediate_wake()

    def close(self) -> None:
        """Close the connection, which gives the lock up."""
        self._session.close()
        self.has_lock = False

    def retry(self, reason: str) -> None:
        """Connect again, with back-off: the IDL could not live with what it got."""
        self.schema = None
        self._session.fail(reason)

    def _restart(self) -> None:
        self.has_lock = self.lock_contended = False
        self._lock_id = ""
        if self._session.connected:
            # What the clustered or converted server serves now may differ.
            self._send("get_schema", [self._database], "schema")
            self._send("set_db_change_aware", [True])
            if self._lock:
                self._lock_id = self._send("lock", [self._lock])

    def _send(self, method: str, params: list[Any], ident: str = "") -> str:
        self._sent += 1
        ident = ident or f"{method}-{self._sent}"
        self._session.send({"method": method, "params": params, "id": ident})
        return ident

    def _process(self, message: Message) -> None:
        method, params = message.get("method"), message.get("params")
        if method in ("locked", "stolen"):
            if isinstance(params, list) and params[:1] == [self._lock]:
                self.has_lock = method == "locked"
                self.lock_contended = not self.has_lock
        elif method is None and message.get("id") == "schema":
            self._take_schema(message)
        elif method is None and self._lock_id and message.get("id") == self._lock_id:
            result = message.get("result")
            self.has_lock = isinstance(result, dict) and result.get("locked") is True
            self.lock_contended = not self.has_lock

    def _take_schema(self, message: Message) -> None:
        error = message.get("error")
        if error is not None or not isinstance(message.get("result"), dict):
            raise DatabaseError(f"no schema of {self._database}: {error}")
        if message["result"] != self.schema:
            self.schema = message["result"]
        self._session.last_error = ""
