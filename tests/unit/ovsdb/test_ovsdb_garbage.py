# SPDX-License-Identifier: Apache-2.0
"""Servers that send nonsense: dropped with back-off, and never an exception.

The server here is a raw socket which is nobody's mock: it answers the first
requests truly where a test wants to get further, and then misbehaves.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.conditions import ConditionState
from ovn_bpf_controller.ovsdb.monitor import Monitor, Phase
from ovn_bpf_controller.ovsdb.schema import Schema
from ovn_bpf_controller.ovsdb.session import Session
from ovn_bpf_controller.ovsdb.store import Store
from ovn_bpf_controller.ovsdb.tables import SOUTHBOUND, AddressSet, PortBinding
from ovn_bpf_controller.ovsdb.transact import Pending, complete
from tests.support.ovsdb import OvsdbServer
from tests.support.pump import pump
from tests.support.sb_truth import MakeCache, assert_same, sb_schema, sbctl, synced

UUIDS = [f"11111111-2222-3333-4444-55555555555{i}" for i in range(10)]

Handler = Callable[[socket.socket], None]


class RawServer:
    """Accepts on a unix socket, one connection at a time; a thread runs the handler."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self.remote = f"unix:{path}"
        self.accepted: list[float] = []
        self._client: socket.socket | None = None
        self._handler = handler
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted.append(time.monotonic())
            self._client = client
            with client:
                client.settimeout(20)
                try:
                    self._handler(client)
                except (OSError, ValueError):
                    continue  # the client went away, as it should

    @property
    def connections(self) -> int:
        return len(self.accepted)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(OSError):  # gone already
            if self._client is not None:
                self._client.shutdown(socket.SHUT_RDWR)
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def raw_server(path: Path, handler: Handler) -> Iterator[RawServer]:
    server = RawServer(path / "raw.sock", handler)
    try:
        yield server
    finally:
        server.close()


def requests(client: socket.socket) -> Iterator[dict[str, Any]]:
    """What the client asks; ends when it goes away."""
    text, decoder = "", json.JSONDecoder()
    while data := client.recv(65536):
        text += data.decode()
        while text:
            try:
                request, end = decoder.raw_decode(text)
            except ValueError:
                break
            text = text[end:].lstrip()
            yield request


def wait_closed(client: socket.socket) -> None:
    """Until the client has closed its end."""
    while client.recv(65536):
        pass


SERVER_ROW = {"name": "OVN_Southbound", "model": "standalone", "connected": True}
TRUE_ANSWERS: dict[str, Any] = {
    "monitor": {"Database": {UUIDS[0]: {"new": SERVER_ROW}}},
    "set_db_change_aware": {},
    "get_schema": sb_schema(),
    "monitor_cond_since": [False, UUIDS[0], {}],
    "monitor_cond_change": {},
}


def answering(answers: dict[str, Any], then: bytes = b"") -> Handler:
    """Answers truly but for the methods in answers; sends then after monitor_cond_since."""

    def handle(client: socket.socket) -> None:
        for request in requests(client):
            if "method" not in request:
                continue  # a reply to our echo
            result = (TRUE_ANSWERS | answers).get(request["method"])
            reply = {"id": request["id"], "result": result, "error": None}
            client.sendall(json.dumps(reply).encode())
            if request["method"] == "monitor_cond_since":
                client.sendall(then)

    return handle


def sending(data: bytes) -> Handler:
    """Sends this and waits."""

    def handle(client: socket.socket) -> None:
        client.sendall(data)
        wait_closed(client)

    return handle


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"[1,2,3]",
        b"[]",
        b'{"a":}',
        b'{"\xff":1}',
        b"[" * 100_000,
        b'"',
        b"null",
        b'{"method":"update"}',
        b'{"method":"update3","params":7}',
        b'{"method":"update3","params":["data"],"id":null}'
        b'{"method":"update","params":["server"],"id":null}',
    ],
)
def test_garbage_at_once_is_dropped_with_back_off(
    tmp_path: Path, make_cache: MakeCache, data: bytes
) -> None:
    with raw_server(tmp_path, sending(data)) as server:
        cache = make_cache(server.remote)
        pump(cache, lambda: server.connections == 2)
        assert server.accepted[1] - server.accepted[0] > 0.5
        assert not cache.synced and cache.row_count == 0 and "(" in cache.detail


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":1}{"id":2,"result":null}{"result":{}}{}',
        b'{"id":[],"error":null,"result":[]}{"id":{},"result":1}',
        b'{"method":"echo","id":"x"}{"method":"echo","id":null,"params":{}}',
        b'{"id":"echo","result":7}',
        b'{"method":"no such","params":[]}{"method":7,"params":[]}',
        b'{"method":"update3","params":["other",1,2]}{"method":"monitor_canceled","params":[5]}',
        b" \n\t ",
    ],
)
def test_needless_messages_are_passed_over(
    tmp_path: Path, make_cache: MakeCache, data: bytes
) -> None:
    # Sent once the conversation stands, where an answer to request 1 is not awaited.
    with raw_server(tmp_path, answering({}, then=data)) as server:
        cache = synced(make_cache(server.remote))
        cache.set_conditions({AddressSet: False})
        pump(cache, lambda: cache.conditions_settled)
        assert server.connections == 1


WRONG_ANSWERS: list[dict[str, Any]] = [
    {"monitor": []},
    {"monitor": {"Database": 5}},
    {"monitor": {"Database": {"x": {"new": 5}}}},
    {"monitor": {"Database": {"x": 5}}},
    {"monitor": {}},
    {"monitor": {"Database": {"x": {"new": SERVER_ROW | {"name": 7}}}}},
    {"get_schema": None},
    {"get_schema": []},
    {"get_schema": {"name": "OVN_Southbound", "version": "1", "tables": [1]}},
    {"get_schema": {"name": "x", "version": "1", "tables": {"Chassis": {"columns": 5}}}},
    {"monitor_cond_since": None},
    {"monitor_cond_since": {}},
    {"monitor_cond_since": [False, UUIDS[0]]},
    {"monitor_cond_since": [False, UUIDS[0], []]},
    {"monitor_cond_since": [False, UUIDS[0], {"Chassis": []}]},
    {"monitor_cond_since": [False, UUIDS[0], {"Chassis": {UUIDS[1]: []}}]},
    {"monitor_cond_since": [False, UUIDS[0], {"Chassis": {UUIDS[1]: {}}}]},
    {"monitor_cond_since": [True, UUIDS[0], {"Chassis": {UUIDS[1]: {"modify": {}}}}]},
]


@pytest.mark.parametrize("answers", WRONG_ANSWERS, ids=lambda answers: json.dumps(answers)[:60])
def test_wrong_answers_are_dropped_with_back_off(
    tmp_path: Path, make_cache: MakeCache, answers: dict[str, Any]
) -> None:
    with raw_server(tmp_path, answering(answers)) as server:
        cache = make_cache(server.remote)
        pump(cache, lambda: server.connections == 2)
        assert server.accepted[1] - server.accepted[0] > 0.5
        assert not cache.synced and cache.row_count == 0 and "(" in cache.detail


def update3(updates: dict[str, Any]) -> bytes:
    """An update3 notification."""
    params = ["data", UUIDS[9], updates]
    return json.dumps({"method": "update3", "id": None, "params": params}).encode()


def test_bad_rows_cost_themselves_only(tmp_path: Path, make_cache: MakeCache) -> None:
    good = {"name": "good", "addresses": ["set", ["10.0.0.1", "10.0.0.2"]]}
    rows: dict[str, Any] = {
        UUIDS[0]: {"initial": good},
        UUIDS[1]: {"initial": {"name": 7}},
        UUIDS[2]: {"initial": {"name": "x", "addresses": ["map", []]}},
        UUIDS[3]: {"initial": "no row"},
        UUIDS[4]: {"initial": {"name": "later"}},
    }
    updates = [
        {UUIDS[1]: {"modify": {"name": "still unknown"}}, UUIDS[0]: {"modify": {"name": "better"}}},
        {UUIDS[2]: {"insert": {"name": "cured"}}, UUIDS[3]: {"delete": None}},
        {UUIDS[4]: {"modify": {"addresses": 5}}},
        {UUIDS[5]: {"insert": {"name": "last"}}},
    ]
    then = b"".join(update3({"Address_Set": update}) for update in updates)
    answers = {"monitor_cond_since": [False, UUIDS[9], {"Address_Set": rows}]}
    with raw_server(tmp_path, answering(answers, then)) as server:
        cache = make_cache(server.remote)
        pump(cache, lambda: UUIDS[5] in cache.table(AddressSet))
        assert {row.name for row in cache.table(AddressSet).values()} == {
            "better",
            "cured",
            "last",
        }
        assert cache.bad_rows == 4 and cache.connected and server.connections == 1


def test_modification_of_an_unknown_row_reloads_everything(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    update = {"Address_Set": {UUIDS[1]: {"modify": {"name": "x"}}}}
    seen: list[Any] = []

    def handle(client: socket.socket) -> None:
        for request in requests(client):
            if request["method"] == "monitor_cond_since":
                seen.append(request["params"][3])
            result = TRUE_ANSWERS.get(request["method"])
            if request["method"] == "monitor_cond_since":
                result = [False, UUIDS[8], {}]
            client.sendall(
                json.dumps({"id": request["id"], "result": result, "error": None}).encode()
            )
            if request["method"] == "monitor_cond_since" and len(seen) == 1:
                client.sendall(update3(update))

    with raw_server(tmp_path, handle) as server:
        cache = make_cache(server.remote)
        pump(cache, lambda: len(seen) == 2 and cache.synced)
        assert seen == ["00000000-0000-0000-0000-000000000000"] * 2


def test_message_without_end_is_cut_off(tmp_path: Path) -> None:
    def handle(client: socket.socket) -> None:
        client.sendall(b'{"method":"update","params":["')
        while True:
            client.sendall(b"x" * 65536)

    with raw_server(tmp_path, handle) as server:
        session = Session([server.remote], limit=5_000_000)
        pump(session, lambda: session.connected)
        pump(session, lambda: not session.connected)
        assert "more than 5000000 bytes" in session.last_error
        session.close()


def test_flood_of_small_messages_does_not_capture_run(tmp_path: Path) -> None:
    def handle(client: socket.socket) -> None:
        flood = b'{"method":"noise","params":[],"id":null}' * 5000
        while True:
            client.sendall(flood)

    with raw_server(tmp_path, handle) as server:
        cache = SouthboundCache([server.remote])
        pump(cache, lambda: cache.connected)
        started = time.monotonic()
        for _ in range(3):
            cache.run()
        assert time.monotonic() - started < 90 and cache.connected  # not for ever
        cache.close()


def test_slow_first_answer_is_waited_for(make_cache: MakeCache) -> None:
    """A busy server writes a large database for longer than a probe waits."""
    pause = 4.0

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as client:
            for request in requests(client):
                if "method" not in request:
                    continue
                if request["method"] == "monitor_cond_since":
                    time.sleep(pause)
                result = TRUE_ANSWERS.get(request["method"], [])
                reply = {"id": request["id"], "result": result, "error": None}
                client.sendall(json.dumps(reply).encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        remote = f"tcp:127.0.0.1:{listener.getsockname()[1]}"
        cache = make_cache(remote, probe_interval=1000)
        started = time.monotonic()
        synced(cache)
        assert time.monotonic() - started > pause and cache.statistics.loads == 1
        cache.close()
        thread.join(20)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([*UUIDS[:3], "set", "map"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(st.sampled_from(["set", "map", "uuid"]), inner)
        | st.dictionaries(st.sampled_from(["new", "old", "modify", "insert", "name", "mac"]), inner)
    ),
    max_leaves=8,
)
table_updates = st.dictionaries(
    st.sampled_from(["Address_Set", "Port_Binding", "Nothing"]),
    st.dictionaries(st.sampled_from(UUIDS[:4]), json_values, max_size=3) | json_values,
    max_size=2,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(table_updates | json_values, st.sampled_from([1, 2])), max_size=4))
def test_any_update_leaves_only_true_rows_or_a_refusal(updates: list[tuple[Any, int]]) -> None:
    store = Store(SOUTHBOUND)
    store.bind(Schema.parse(sb_schema()))
    for update, version in updates:
        try:
            store.apply(json.loads(json.dumps(update)), version)
        except DatabaseError:
            store.replace({}, 2)
    store.take_changes()
    for row in store.table(AddressSet).values():
        assert isinstance(row.name, str) and isinstance(row.addresses, tuple)
        assert all(isinstance(address, str) for address in row.addresses)
    for port in store.table(PortBinding).values():
        assert isinstance(port.tunnel_key, int) and isinstance(port.options, dict)


anything = json_values | st.sampled_from(["data", "server", "other", 1.5, "OVN_Southbound"])
notifications = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["update", "update2", "update3", "monitor_canceled", "locked"])
        | anything,
        "params": st.lists(anything | table_updates, max_size=3) | anything,
    }
)
replies = st.fixed_dictionaries(
    {"id": st.integers(0, 4) | anything},
    optional={"result": anything | st.lists(anything, max_size=3), "error": anything},
)


@settings(max_examples=300, deadline=None)
@given(st.lists(notifications | replies, max_size=6))
def test_any_message_is_taken_or_refused(messages: list[dict[str, Any]]) -> None:
    session = Session([])
    monitor = Monitor("OVN_Southbound", session, Store(SOUTHBOUND), ConditionState())
    monitor.phase = Phase.MONITORING
    for message in messages:
        with suppress(DatabaseError):
            monitor.process(message)
        # What would answer an outstanding transaction.
        with suppress(DatabaseError):
            complete(Pending(), message, ["row0", ""])
    session.close()


def test_garbage_server_beside_a_good_one(
    tmp_path: Path, sb: OvsdbServer, make_cache: MakeCache
) -> None:
    sbctl(sb, "create", "Address_Set", "name=as1")
    with raw_server(tmp_path, sending(b"garbage")) as bad:
        for _ in range(4):
            cache = synced(make_cache(bad.remote, sb.remote))
            assert_same(cache, sb)
