# SPDX-License-Identifier: Apache-2.0
"""Every logical flow that a real ovn-northd writes for many features parses.

And its normal form agrees with the direct evaluation on packets made from
the flow itself: one for each conjunction.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.evaluate import evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.logic import conjunction
from ovn_bpf_controller.lang.nodes import Action
from ovn_bpf_controller.lang.normal import disjuncts
from ovn_bpf_controller.lang.references import references
from ovn_bpf_controller.lang.templates import substitute_templates
from tests.support.ovsdb import OvnCentral

FEATURES = Path(__file__).with_name("features.nbctl")


def _apply(central: OvnCentral) -> None:
    """Run the commands of the file, each as a transaction of its own."""
    text = FEATURES.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            central.nbctl(*shlex.split(line))


def rows(central: OvnCentral, table: str, *columns: str) -> list[dict[str, Any]]:
    """A Southbound table as dicts; sets and maps as ovsdb's JSON has them."""
    output = json.loads(
        central.sbctl("--format=json", f"--columns={','.join(columns)}", "list", table)
    )
    return [dict(zip(output["headings"], row, strict=True)) for row in output["data"]]


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OvnCentral]:
    directory: Path = tmp_path_factory.mktemp("northd")
    with OvnCentral(directory) as central:
        for name, ip in (("ch1", "192.0.2.1"), ("ch2", "192.0.2.2")):
            central.sbctl("chassis-add", name, "geneve", ip)
            flags = ("port-up-notif", "ct-no-masked-label", "mac-binding-timestamp")
            config = [f"other_config:{flag}=true" for flag in (*flags, "ovn-ct-lb-related")]
            central.sbctl("set", "chassis", name, *config)
        _apply(central)
        central.sync()
        yield central


@pytest.fixture(scope="module")
def flows(central: OvnCentral) -> list[dict[str, Any]]:
    """Matches and actions, with the template variables of one chassis filled in."""
    found = rows(central, "Logical_Flow", "pipeline", "table_id", "match", "actions")
    variables = {"vip": "10.0.0.104", "port": "80", "backends": "10.0.0.11:80,10.0.0.12:80"}
    for flow in found:
        for column in ("match", "actions"):
            flow[column] = substitute_templates(flow[column], variables)
    return found


class SouthboundEnv:
    """MatchEnv of the real tables; groups are found under any datapath's prefix."""

    def __init__(self, central: OvnCentral) -> None:
        sets = rows(central, "Address_Set", "name", "addresses")
        self.sets = {row["name"]: _items(row["addresses"]) for row in sets}
        self.groups: dict[str, list[str]] = {}
        for row in rows(central, "Port_Group", "name", "ports"):
            self.groups.setdefault(row["name"].split("_", 1)[1], []).extend(_items(row["ports"]))
        self.keys = {}
        for row in rows(central, "Port_Binding", "logical_port", "tunnel_key"):
            self.keys[row["logical_port"]] = row["tunnel_key"]
        for row in rows(central, "Multicast_Group", "name", "tunnel_key"):
            self.keys[row["name"]] = row["tunnel_key"]

    def address_set(self, name: str) -> Sequence[str] | None:
        return self.sets.get(name)

    def port_group(self, name: str) -> Sequence[str] | None:
        return self.groups.get(name)

    def port_key(self, lport: str) -> int | None:
        return self.keys.get(lport)

    def is_resident(self, lport: str) -> bool:
        return True

    def set_number(self, name: str, width: int) -> int | None:
        return None

    def group_number(self, name: str) -> int | None:
        return None


def _items(value: Any) -> list[str]:
    if isinstance(value, list):
        assert value[0] == "set"
        return list(value[1])
    return [value]


def _verbs(actions: Sequence[Action]) -> Iterator[str]:
    for action in actions:
        yield type(action).__name__
        yield from _verbs(getattr(action, "actions", ()))


def test_every_flow_parses(flows: list[dict[str, Any]]) -> None:
    assert len(flows) > 500
    assert any("10.0.0.104" in flow["match"] for flow in flows), "the template is missing"
    for flow in flows:
        parse_match(flow["match"])
        parse_actions(flow["actions"])


def test_the_features_bring_most_verbs(flows: list[dict[str, Any]]) -> None:
    """Guards the test itself: a feature that silently fails would show here."""
    seen: set[str] = set()
    for flow in flows:
        seen.update(_verbs(parse_actions(flow["actions"])))
    missing = {
        "Output", "Next", "Drop", "Load", "Move", "Exchange", "DecTtl", "CtNext", "CtCommit",
        "CtDnat", "CtSnat", "CtDnatInCzone", "CtSnatInCzone", "CtLbMark", "Select", "CtClear",
        "CtCommitNat", "Clone", "Arp", "Icmp4", "Icmp4Error", "Icmp6", "Icmp6Error", "Igmp",
        "TcpReset", "SctpAbort", "Reject", "NdNa", "NdNaRouter", "NdNs", "GetArp", "GetNd",
        "PutArp", "PutNd", "LookupArp", "LookupNd", "PutDhcpOpts", "PutDhcpv6Opts", "PutNdRaOpts",
        "DnsLookup", "ChkLbHairpin", "ChkLbHairpinReply", "CheckInPortSec", "CheckOutPortSec",
        "CheckPktLarger", "CtSnatToVip", "Log", "SetMeter", "TriggerEvent", "BindVport",
        "HandleSvcCheck", "FwdGroup", "HandleDhcpv6Reply", "PutFdb", "GetFdb", "LookupFdb",
        "CommitEcmpNh", "ChkEcmpNh", "ChkEcmpNhMac", "CommitLbAff", "ChkLbAff",
    } - seen  # fmt: skip
    assert not missing


def test_every_flow_has_a_normal_form_that_shows_it_true(
    central: OvnCentral, flows: list[dict[str, Any]]
) -> None:
    env = SouthboundEnv(central)
    for flow in flows:
        actions = parse_actions(flow["actions"])
        match = conjunction((parse_match(flow["match"]), action_prereqs(actions)))
        found = disjuncts(match, env, 16384)
        if not references(match).ports - env.keys.keys():
            assert found, flow["match"]
        for conj in found:
            packet = {root: value for root, value, _ in conj}
            assert evaluate(match, packet, env), flow["match"]
