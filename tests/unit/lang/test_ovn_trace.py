# SPDX-License-Identifier: Apache-2.0
"""Truth of random matches against ovn-trace, an oracle that we did not write.

The Southbound holds one switch whose tables each try one match and say so by
pkt.mark; a microflow that runs through them tests forty matches at once.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.lang.evaluate import conj_holds, evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import disjuncts
from tests.support.ovsdb import SB_SCHEMA, OvsdbServer, run_tool
from tests.unit.lang import grammar
from tests.unit.lang.packets import microflows

TABLES = 20  # of each pipeline; OVN 23.03 has 29 in ingress
BATCH = 2 * TABLES
# What Debian 12's release lacks, and igmp, which meant less before 23.03.2.
NEWER = re.compile(r"\b(__inport|from_evpn_vtep|ct_label\.nf|nd_ns_mcast|igmp)\b")
KNOWN = grammar.matches(depth=1).map(lambda text: "1" if NEWER.search(text) else text)


class TraceEnv(grammar.Env):
    """ovn-trace takes every port that exists for resident."""

    def is_resident(self, lport: str) -> bool:
        return lport in grammar.PORTS


ENV = TraceEnv()


class Oracle:
    """A Southbound with one switch, and ovn-trace on it."""

    def __init__(self, server: OvsdbServer) -> None:
        self.server = server
        run_tool("ovn-sbctl", "--no-leader-only", f"--db={server.remote}", "init")
        switch = ["named-uuid", "sw"]
        name = [["name", "sw"], ["logical-switch", "00000000-0000-0000-0000-000000000001"]]
        rows: list[tuple[str, dict[str, Any]]] = [
            ("Port_Group", {"name": f"1_{group}", "ports": ["set", ports]})
            for group, ports in grammar.PORT_GROUPS.items()
        ]
        rows += [
            ("Address_Set", {"name": group, "addresses": ["set", members]})
            for group, members in grammar.ADDRESS_SETS.items()
        ]
        for port, key in grammar.PORTS.items():
            row: dict[str, Any] = {"tunnel_key": key, "datapath": switch}
            if port.startswith("_MC"):
                rows.append(("Multicast_Group", row | {"name": port}))
            else:
                rows.append(("Port_Binding", row | {"logical_port": port}))
        datapath = {
            "op": "insert",
            "table": "Datapath_Binding",
            "row": {"tunnel_key": 1, "external_ids": ["map", name]},
            "uuid-name": "sw",
        }
        self._transact(datapath, *self._inserts(rows))
        answer = self._transact({"op": "select", "table": "Datapath_Binding", "where": []})
        self.datapath: str = answer[0]["rows"][0]["_uuid"]

    @staticmethod
    def _inserts(rows: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        for table, row in rows:
            yield {"op": "insert", "table": table, "row": row}

    def _transact(self, *operations: dict[str, Any]) -> list[dict[str, Any]]:
        answer = json.loads(self.server.client(*map(json.dumps, operations)))
        assert not any("error" in part for part in answer), answer
        result: list[dict[str, Any]] = answer
        return result

    def load(self, matches: Sequence[str]) -> None:
        """Make the matches the tables of the switch."""
        rows = []
        for index, match in enumerate(matches):
            pipeline = "ingress" if index < TABLES else "egress"
            table = index % TABLES
            then = "next;" if table < TABLES - 1 else "next(pipeline=egress, table=0);"
            if index == BATCH - 1:
                then = "drop;"
            hit = f"pkt.mark = {index + 1}; " + ("next;" if then == "drop;" else then)
            for priority, text, actions in ((100, match, hit), (0, "1", then)):
                row = {
                    "logical_datapath": self.datapath,
                    "pipeline": pipeline,
                    "table_id": table,
                    "priority": priority,
                    "match": text,
                    "actions": actions,
                    "external_ids": ["map", [["stage-name", f"try{index}"]]],
                }
                rows.append(("Logical_Flow", row))
        clear = {"op": "delete", "table": "Logical_Flow", "where": []}
        self._transact(clear, *self._inserts(rows))

    def hits(self, microflow: str) -> tuple[set[int], str]:
        """Indices of the matches that the packet satisfies, and the warnings."""
        done = subprocess.run(
            ["ovn-trace", f"--db={self.server.remote}", "--detailed", "sw", microflow],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (microflow, done.stdout, done.stderr)
        assert f"try{BATCH - 1}" in done.stdout or "mark" in done.stdout, done.stdout
        return {int(n) - 1 for n in re.findall(r"pkt\.mark = (\d+);", done.stdout)}, done.stderr


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory: Path = tmp_path_factory.mktemp("trace")
    with OvsdbServer(directory, SB_SCHEMA, "sb") as server:
        yield Oracle(server)


def compare(oracle: Oracle, matches: Sequence[str], flows: Sequence[Any]) -> None:
    """All matches with all packets: ovn-trace, evaluation and normal form agree."""
    oracle.load(matches)
    trees = [parse_match(text) for text in matches]
    normal = [disjuncts(tree, ENV, 1 << 16) for tree in trees]
    for microflow, packet in flows:
        hits, warnings = oracle.hits(microflow)
        assert "parsing expression failed" not in warnings, warnings
        for index, (text, tree) in enumerate(zip(matches, trees, strict=True)):
            expected = index in hits
            found = any(conj_holds(conj, packet) for conj in normal[index])
            assert found == expected, (text, microflow)
            assert evaluate(tree, packet, ENV) == expected, (text, microflow)


@settings(
    max_examples=12,
    deadline=None,
    # Shrinking a batch of forty would take minutes; the assertion names the one.
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    matches=st.lists(KNOWN, min_size=BATCH, max_size=BATCH),
    flows=st.lists(microflows(), min_size=8, max_size=8),
)
def test_random_matches(
    oracle: Oracle, matches: list[str], flows: list[tuple[str, dict[str, int]]]
) -> None:
    compare(oracle, matches, flows)
