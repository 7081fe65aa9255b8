# SPDX-License-Identifier: Apache-2.0
"""Logical flows that no northd wrote, for ovn-trace and our program: one switch, two ports.

For what the actions that northd writes today do not show: each list of actions is a
table of its own, and what it leaves is read by the tables behind it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovn_bpf_controller.datapath.trace import NOTHING_GIVEN
from tests.differential.compare import Network
from tests.support.ovntrace import OvnTrace
from tests.support.ovsdb import OvsdbServer
from tests.support.release import HOST, Release
from tests.support.tracing import chassis

SWITCH = [["name", "sw"], ["logical-switch", "00000000-0000-0000-0000-000000000001"]]


@dataclass(frozen=True)
class _Southbound:
    """As much of an OvnCentral as OvnTrace needs."""

    sb: OvsdbServer
    release: Release


def _insert(table: str, row: Mapping[str, Any], name: str = "") -> str:
    operation = {"op": "insert", "table": table, "row": row}
    return json.dumps(operation | ({"uuid-name": name} if name else {}))


def _flow(pipeline: str, table: int, match: str, actions: str, priority: int) -> str:
    row = {"pipeline": pipeline, "table_id": table, "priority": priority}
    named = {"logical_datapath": ["named-uuid", "sw"], "match": match, "actions": actions}
    return _insert("Logical_Flow", row | named)


@contextmanager
def tables(
    lists: Sequence[tuple[str, str]], learnt: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Network]:
    """lists: match and actions of each ingress table; then the packet leaves by port b.

    learnt: rows of MAC_Binding, but for their datapath.
    """
    switch = ["named-uuid", "sw"]
    rows = [
        _insert("SB_Global", {}),
        _insert("Datapath_Binding", {"tunnel_key": 1, "external_ids": ["map", SWITCH]}, "sw"),
        *(_insert("MAC_Binding", {"datapath": switch, **row}) for row in learnt),
    ]
    for key, name in ((1, "a"), (2, "b")):
        row = {"datapath": switch, "tunnel_key": key, "logical_port": name}
        rows.append(_insert("Port_Binding", row))
    for table, (match, actions) in enumerate(lists):
        rows.append(_flow("ingress", table, match, actions, 1))
        rows.append(_flow("ingress", table, "1", "next;", 0))
    rows.append(_flow("ingress", len(lists), "1", 'outport = "b"; output;', 0))
    rows.append(_flow("egress", 0, "1", "output;", 0))
    with (
        tempfile.TemporaryDirectory() as name,
        OvsdbServer(Path(name), HOST.schema("ovn-sb")) as server,
    ):
        answer = json.loads(server.client(*rows))
        assert not any("error" in part for part in answer), answer
        central = _Southbound(server, HOST)
        with OvnTrace(Path(name), central) as oracle, chassis(server) as ours:
            assert not list(ours.sb.compiler.unsupported())
            yield Network(oracle, ours, NOTHING_GIVEN)
