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

from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang.evaluate import conj_holds, evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.nodes import Expr
from ovn_bpf_controller.lang.normal import Conj, disjuncts
from ovn_bpf_controller.lang.symbols import SYMBOLS, Kind
from tests.support.ovsdb import SB_SCHEMA, OvsdbServer, run_tool
from tests.unit.lang import grammar
from tests.unit.lang.packets import microflows
from tests.unit.lang.test_actions import REFUSED as REFUSED_ACTIONS
from tests.unit.lang.test_actions import VERBS
from tests.unit.lang.test_match import REFUSED as REFUSED_MATCHES

TABLES = 20  # of each pipeline; OVN 23.03 has 29 in ingress
BATCH = 2 * TABLES
# What Debian 12's release lacks, and igmp, which meant more then: lang.releases.
NEWER = re.compile(r"\b(__inport|from_evpn_vtep|ct_label\.nf|nd_ns_mcast|igmp)\b")
KNOWN = grammar.matches(depth=1).map(lambda text: "1" if NEWER.search(text) else text)


LATER_SYMBOLS = re.compile(
    r"evpn|__|remote_outport|obs_|acl_id|tun_if|\.nf|nd_ns_mcast|rarp|icmp_snat|from_ctrl|unsnat"
    r"|tunnel_rx|network_id|igmp_loopback|pkt_sampled|allow_established"
)
LATER_VERBS = re.compile(
    r"ct_next\(|ct_commit_to_zone|ct_commit_nat\(|ct_lb_mark_local|values=|mac_cache_use|evpn"
    r"|remote|relay|ct_nw_dst|ct_ip6_dst|ct_tp_dst|ct_proto|ct_state_save|verdict=pass|mirror"
    r"|obs_point=reg0|inner_ip4"
)
# OVN cuts the length to 16 bits, and leaves a bad ct_commit to Open vSwitch.
STRICTER = {"reg0[3] = check_pkt_larger(65536);", "ct_commit { next; };"}
DHCP_OPTIONS = [
    ("DHCP_Options", "offerip", 0, "ipv4"),
    ("DHCP_Options", "router", 3, "ipv4"),
    ("DHCP_Options", "mtu", 26, "uint16"),
    ("DHCP_Options", "domain_name", 15, "str"),
    ("DHCPv6_Options", "ia_addr", 5, "ipv6"),
    ("DHCPv6_Options", "domain_search", 24, "str"),
]


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
        rows += [
            (table, {"name": option, "code": code, "type": kind})
            for table, option, code, kind in DHCP_OPTIONS
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

    def refused(self, flows: Sequence[tuple[str, str]]) -> set[str]:
        """Matches and actions that ovn-trace cannot parse."""
        rows = []
        for priority, (match, actions) in enumerate(flows):
            row = {
                "logical_datapath": self.datapath,
                "pipeline": "ingress",
                "table_id": 0,
                "priority": priority,
                "match": match,
                "actions": actions,
            }
            rows.append(("Logical_Flow", row))
        clear = {"op": "delete", "table": "Logical_Flow", "where": []}
        self._transact(clear, *self._inserts(rows))
        done = subprocess.run(
            ["ovn-trace", f"--db={self.server.remote}", "sw", 'inport == "p1"'],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found = re.findall(r"WARN\|(.*): parsing (?:expression|actions) failed", done.stderr)
        return set(found)

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


def normal_form(tree: Expr) -> list[Conj] | None:
    """None where a random match explodes: refusing that is the limit's job."""
    try:
        return disjuncts(tree, ENV, 1 << 16)
    except UnsupportedError:
        return None


def compare(oracle: Oracle, matches: Sequence[str], flows: Sequence[Any]) -> None:
    """All matches with all packets: ovn-trace, evaluation and normal form agree."""
    oracle.load(matches)
    trees = [parse_match(text) for text in matches]
    normal = [normal_form(tree) for tree in trees]
    assert sum(form is None for form in normal) <= len(matches) // 10
    for microflow, packet in flows:
        hits, warnings = oracle.hits(microflow)
        assert "parsing expression failed" not in warnings, warnings
        for index, (text, tree) in enumerate(zip(matches, trees, strict=True)):
            expected = index in hits
            form = normal[index]
            if form is not None:
                found = any(conj_holds(conj, packet) for conj in form)
                assert found == expected, (text, microflow)
            assert evaluate(tree, packet, ENV) == expected, (text, microflow)


@pytest.mark.timeout(600)
@settings(
    max_examples=8,
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


def test_ovn_refuses_the_matches_that_we_refuse(oracle: Oracle) -> None:
    texts = [text for text, _, _ in REFUSED_MATCHES]
    assert oracle.refused([(text, "next;") for text in texts]) == set(texts)


def test_ovn_takes_the_matches_that_we_take(oracle: Oracle) -> None:
    names = [name for name, symbol in SYMBOLS.items() if symbol.kind is Kind.PREDICATE]
    names += [f"{s.name} == 0" for s in SYMBOLS.values() if s.width > 1 and s.matchable]
    texts = [text for text in names if not LATER_SYMBOLS.search(text) and "port ==" not in text]
    assert oracle.refused([(text, "next;") for text in texts]) == set()


def test_ovn_refuses_the_actions_that_we_refuse(oracle: Oracle) -> None:
    texts = [text for text, _, _ in REFUSED_ACTIONS if text not in STRICTER]
    assert set(texts) - oracle.refused([("1", text) for text in texts]) == set()


def test_ovn_takes_the_actions_that_we_take(oracle: Oracle) -> None:
    texts = [text for text in VERBS if not LATER_VERBS.search(text)]
    assert oracle.refused([("1", text) for text in texts]) == set()
