# SPDX-License-Identifier: Apache-2.0
"""A blocking OVSDB client for the benchmark: transactions, and watching columns.

The benchmark measures milliseconds, so it neither starts a process for a
transaction nor goes through the cache of the agent that it measures.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def plain(value: Any) -> Any:
    """OVSDB's JSON (RFC 7047, 5.1): sets as lists, maps as dicts, uuids as text."""
    if isinstance(value, list) and len(value) == 2 and value[0] in ("set", "map", "uuid"):
        kind, inner = value
        if kind == "set":
            return [plain(item) for item in inner]
        return {key: plain(item) for key, item in inner} if kind == "map" else inner
    return value


class Client:
    """A connection to the server at a unix socket, for one database."""

    def __init__(self, path: str, database: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._database = database
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._number = 0
        self._waiting: list[Row] = []
        self.rows: dict[str, dict[str, Row]] = {}

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def transact(self, *operations: Row) -> list[Any]:
        """Results of the operations; RuntimeError when one fails."""
        self.send(*operations)
        return self.results()

    def send(self, *operations: Row) -> None:
        """A transaction whose results() the caller asks for later."""
        self._ask("transact", [self._database, *operations])

    def results(self) -> list[Any]:
        """What came of send()."""
        results: list[Any] = self._answer()
        for result in results:
            if result and "error" in result:
                raise RuntimeError(str(result))
        return results

    def select(self, table: str, *where: list[Any]) -> list[Row]:
        """Rows of a table as the server writes them."""
        operation = {"op": "select", "table": table, "where": list(where)}
        rows: list[Row] = self.transact(operation)[0]["rows"]
        return rows

    def watch(self, **columns: list[str]) -> None:
        """Keep `rows` (by table and uuid) up to date; see poll()."""
        request = {table: {"columns": names} for table, names in columns.items()}
        self.rows = {table: {} for table in columns}
        self._take(self._call("monitor", [self._database, "watch", request]))

    def poll(self, seconds: float) -> None:
        """Take in what arrives within that time, up to the first message."""
        for message in self._drain() or self._receive(seconds):
            if message.get("method") == "update":
                self._take(message["params"][1])

    def until(self, condition: Callable[[], Any], seconds: float) -> bool:
        """poll() until the condition holds; False after `seconds`."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.poll(min(left, 0.2))
        return True

    def _drain(self) -> list[Row]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _take(self, updates: Row) -> None:
        for table, rows in updates.items():
            for uuid, row in rows.items():
                if "new" in row:
                    self.rows[table][uuid] = {k: plain(v) for k, v in row["new"].items()}
                else:
                    self.rows[table].pop(uuid, None)

    def _call(self, method: str, parameters: list[Any]) -> Any:
        self._ask(method, parameters)
        return self._answer()

    def _ask(self, method: str, parameters: list[Any]) -> None:
        self._number += 1
        self._send({"method": method, "params": parameters, "id": self._number})

    def _answer(self) -> Any:
        while True:
            for message in self._receive(60):
                if message.get("id") == self._number and "method" not in message:
                    if message["error"]:
                        raise RuntimeError(str(message["error"]))
                    return message["result"]
                self._waiting.append(message)

    def _send(self, message: Row) -> None:
        self._socket.sendall(json.dumps(message).encode())

    def _receive(self, seconds: float) -> list[Row]:
        """Messages that came, echo requests answered."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return []
        pieces = [self._text]
        while select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(1 << 20)
            if not data:
                raise RuntimeError("the server hung up")
            pieces.append(data.decode())
        self._text = "".join(pieces).lstrip()
        found: list[Row] = []
        while self._text:
            try:
                message, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError:
                break
            self._text = self._text[end:].lstrip()
            if message.get("method") == "echo":
                self._send({"result": message["params"], "error": None, "id": message["id"]})
            else:
                found.append(message)
        return found
