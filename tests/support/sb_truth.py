# SPDX-License-Identifier: Apache-2.0
"""An independent view of what a Southbound server holds, to compare a cache with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import SOUTHBOUND, Row
from tests.support.ovsdb import SB_SCHEMA, OvsdbServer, run_tool
from tests.support.pump import pump

MakeCache = Callable[..., SouthboundCache]


def synced(cache: SouthboundCache) -> SouthboundCache:
    """The cache, once it has the contents under its conditions."""
    pump(cache, lambda: cache.synced and cache.conditions_settled)
    return cache


def sbctl(server: OvsdbServer, *args: str) -> str:
    """ovn-sbctl."""
    return run_tool("ovn-sbctl", "--no-leader-only", f"--db={server.remote}", "-t60", *args)


def sb_schema() -> dict[str, Any]:
    """The Southbound schema that OVN installed."""
    schema: dict[str, Any] = json.loads(SB_SCHEMA.read_text())
    return schema


def write_schema(path: Path, schema: dict[str, Any]) -> Path:
    """A schema file for ovsdb-tool."""
    schema.pop("cksum", None)
    path.write_text(json.dumps(schema))
    return path


def server_rows(server: OvsdbServer, table: str) -> dict[str, dict[str, Any]]:
    """uuid -> column -> plain Python value, by ovsdb-client's own reading."""
    text = server.client(json.dumps({"op": "select", "table": table, "where": []}))
    rows = json.loads(text)[0]["rows"]
    return {row["_uuid"][1]: {name: plain(value) for name, value in row.items()} for row in rows}


def plain(value: Any) -> Any:
    """An OVSDB <value>: sets sorted lists, maps dicts, uuids text."""
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "set":
        return sorted(plain(element) for element in content)
    if kind == "map":
        return {plain(key): plain(element) for key, element in content}
    return content


def as_plain(row: Row, column: str, server_value: Any) -> Any:
    """A row's attribute in the form that plain() gives the server's value."""
    value = getattr(row, column)
    if isinstance(server_value, list):
        return [] if value is None else list(value) if isinstance(value, tuple) else [value]
    return list(value)[0] if isinstance(value, tuple) and len(value) == 1 else value


def assert_same(cache: SouthboundCache, server: OvsdbServer) -> None:
    """The cache holds exactly what the server has, in every table and column."""
    for table in SOUTHBOUND:
        if cache.schema is None or table.TABLE not in cache.schema.tables:
            assert not cache.table(table)
            continue
        there, here = server_rows(server, table.TABLE), cache.table(table)
        assert set(here) == set(there), table.TABLE
        for uuid, columns in there.items():
            for name in set(columns) & set(table.__slots__):
                assert as_plain(here[uuid], name, columns[name]) == columns[name], (table, name)
