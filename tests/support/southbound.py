# SPDX-License-Identifier: Apache-2.0
"""The whole Southbound of a test as compiled rules, with every port taken for local.

For tests of the compiler against ovn-trace, which takes every port for local, too.
Rows are read with ovsdb-client: no module of the agent but the compiler has a say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import mac_binding
from ovn_bpf_controller.compile.compiler import FlowCompiler, LogicalFlow, Traits
from ovn_bpf_controller.compile.load_balancer import Central, LoadBalancer, expand
from ovn_bpf_controller.lang.releases import groups_alone
from ovn_bpf_controller.model import McGroup
from tests.support.ovsdb import OvsdbServer
from tests.support.world import World

Row = dict[str, Any]


def plain(value: Any) -> Any:
    """OVSDB's JSON (RFC 7047, 5.1) as Python's own types."""
    if isinstance(value, list) and len(value) == 2 and value[0] in ("set", "map", "uuid"):
        kind, inner = value
        if kind == "set":
            return [plain(v) for v in inner]
        return {k: plain(v) for k, v in inner} if kind == "map" else inner
    return value


def several(value: Any) -> list[Any]:
    """A set of one is written as its member."""
    return value if isinstance(value, list) else [value]


def rows(server: OvsdbServer, table: str) -> dict[str, Row]:
    """All rows of a table by uuid."""
    answer = json.loads(server.client(json.dumps({"op": "select", "table": table, "where": []})))
    found = [{name: plain(v) for name, v in row.items()} for row in answer[0]["rows"]]
    return {row["_uuid"]: row for row in found}


@dataclass
class Southbound:
    """A compiler that has everything, and the names behind the keys."""

    compiler: FlowCompiler
    groups: list[McGroup]
    datapaths: dict[str, int]  # name -> tunnel key
    ports: dict[tuple[int, int], str]  # (datapath, port) -> name
    keys: dict[str, tuple[int, int]]  # name -> (datapath, port)


def read(server: OvsdbServer) -> Southbound:
    """Compiles what the server holds; flush() is the caller's."""
    world = World()
    datapaths = rows(server, "Datapath_Binding")
    bindings = rows(server, "Port_Binding")
    dp_of = {uuid: row["tunnel_key"] for uuid, row in datapaths.items()}
    names = {row["external_ids"]["name"]: row["tunnel_key"] for row in datapaths.values()}
    ports = {(dp_of[b["datapath"]], b["tunnel_key"]): b["logical_port"] for b in bindings.values()}
    world.ports = {(dp, name): key for (dp, key), name in ports.items()}
    groups = []
    for row in rows(server, "Multicast_Group").values():
        dp, key = dp_of[row["datapath"]], row["tunnel_key"]
        world.ports[dp, row["name"]] = key
        # As ovn-trace goes about it: members in the order of their names.
        members = sorted(bindings[p]["logical_port"] for p in several(row["ports"]))
        groups.append(McGroup(dp, key, tuple(world.ports[dp, m] for m in members), ()))
    for row in rows(server, "Address_Set").values():
        world.address_sets[row["name"]] = several(row["addresses"])
    for row in rows(server, "Port_Group").values():
        dp, _, name = row["name"].partition("_")
        world.port_groups[int(dp), name] = several(row["ports"])
    world.residents = {name for _, name in ports.items()}
    central = _central(server)
    world.of_today = central.groups_alone
    for row in datapaths.values():
        said, kind = row["external_ids"], row.get("type")
        router = kind == "logical-router" or (not kind and "logical-switch" not in said)
        traits = Traits(router, "snat-ct-zone" in said, central.consolidated)
        world.kinds[row["tunnel_key"]] = traits
    compiler = FlowCompiler(world)
    _add_flows(compiler, server, dp_of)
    for b in bindings.values():
        security = several(b["port_security"])
        compiler.set_port_security(
            dp_of[b["datapath"]], b["tunnel_key"], b["logical_port"], security
        )
    _add_balancers(compiler, server, dp_of, central)
    keys = {name: where for where, name in ports.items()}
    for uuid, row in rows(server, "MAC_Binding").items():
        dp, key = keys[row["logical_port"]]
        compiler.set_mac_binding(uuid, dp, key, row["ip"], row["mac"], mac_binding.DYNAMIC)
    return Southbound(compiler, groups, names, ports, keys)


def _central(server: OvsdbServer) -> Central:
    """What logical.central_of() says of a cache."""
    (row,) = rows(server, "SB_Global").values()
    version = row["options"].get("northd_internal_version", "0")
    said = row["options"].get("register_consolidation") == "true"
    later = int(version.split(".")[0]) >= 26
    return Central(said or later, groups_alone=groups_alone(version))


def _add_balancers(
    compiler: FlowCompiler, server: OvsdbServer, dp_of: dict[str, int], central: Central
) -> None:
    """Side rules of every balancer, on all its datapaths."""
    dp_groups = rows(server, "Logical_DP_Group")
    for uuid, row in rows(server, "Load_Balancer").items():
        dps = several(row["datapaths"])
        for group in several(row["datapath_group"]):
            dps = dps + several(dp_groups[group]["datapaths"])
        balancer = LoadBalancer(row["vips"], row["protocol"] or "tcp", row["options"])
        rules, errors = expand(balancer, {}, central)
        assert not errors
        compiler.set_side_rules(uuid, rules, [dp_of[dp] for dp in dps])


def _add_flows(compiler: FlowCompiler, server: OvsdbServer, dp_of: dict[str, int]) -> None:
    dp_groups = rows(server, "Logical_DP_Group")
    for uuid, row in rows(server, "Logical_Flow").items():
        dps = several(row["logical_datapath"])
        for group in several(row["logical_dp_group"]):
            dps = dps + several(dp_groups[group]["datapaths"])
        flow = LogicalFlow(
            uuid,
            int(row["pipeline"] == "egress"),
            row["table_id"],
            row["priority"],
            row["match"],
            row["actions"],
            row["external_ids"].get("stage-name", ""),
            meter=next(iter(several(row["controller_meter"])), ""),
        )
        compiler.set_flow(uuid, flow, [dp_of[dp] for dp in dps])


#: Words of a packet that a wire would show.
HEADERS = range(lib.OW_HEADERS, lib.OW_END)
