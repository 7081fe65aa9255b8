# SPDX-License-Identifier: Apache-2.0
"""Servers with other schemas than this machine's OVN: poorer, richer, different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ovn_bpf_controller.ovsdb.conditions import Clause
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.local_tables import Bridge, Datapath, Interface, OpenVSwitch
from ovn_bpf_controller.ovsdb.tables import (
    FDB,
    AddressSet,
    Chassis,
    ECMPNexthop,
    LogicalFlow,
    PortBinding,
    SBGlobal,
    StaticMACBinding,
)
from ovn_bpf_controller.ovsdb.transact import Transaction
from tests.support.ovsdb import OVS_SCHEMA, LocalServer, OvsdbServer
from tests.support.pump import pump
from tests.support.sb_truth import MakeCache, assert_same, sb_schema, synced, write_schema

STRING = {"type": "string"}
STRINGS = {"type": {"key": "string", "min": 0, "max": "unlimited"}}
MAP = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}


def make_poorer(schema: dict[str, Any]) -> None:
    """Something older than 20.27.0: tables and columns are not there yet."""
    tables = schema["tables"]
    for table in ("Static_MAC_Binding", "Chassis_Template_Var", "Mirror", "BFD", "FDB"):
        del tables[table]
    for table, columns in {
        "Port_Binding": ["mirror_rules", "requested_chassis", "additional_encap", "up"],
        "Logical_Flow": ["tags", "controller_meter"],
        "SB_Global": ["options"],
        "MAC_Binding": ["timestamp"],
    }.items():
        for column in columns:
            del tables[table]["columns"][column]
    schema["version"] = "20.20.0"


def make_richer(schema: dict[str, Any]) -> None:
    """21.11.0's additions as far as they matter, and some that nobody has made yet."""
    tables = schema["tables"]
    tables["ECMP_Nexthop"] = {
        "columns": {"nexthop": STRING, "mac": STRING, "id": {"type": "integer"}},
        "isRoot": True,
    }
    tables["Quantum_Binding"] = {"columns": {"spin": {"type": "real"}}, "isRoot": True}
    tables["FDB"]["columns"]["timestamp"] = {"type": "integer"}
    tables["Address_Set"]["columns"]["options"] = MAP
    tables["Address_Set"]["columns"]["colours"] = STRINGS
    tables["Logical_Flow"]["columns"]["flow_desc"] = {"type": {"key": "string", "min": 0, "max": 1}}
    schema["version"] = "21.11.0"


def make_different(schema: dict[str, Any]) -> None:
    """Columns that have changed their type."""
    tables = schema["tables"]
    tables["Chassis"]["columns"]["hostname"] = {"type": "integer"}
    tables["Port_Binding"]["columns"]["tag"] = STRINGS
    tables["Port_Binding"]["columns"]["parent_port"] = STRING
    schema["version"] = "99.0.0"


@pytest.mark.parametrize("change", [make_poorer, make_richer, make_different])
def test_southbound_with_another_schema(tmp_path: Path, make_cache: MakeCache, change: Any) -> None:
    schema = sb_schema()
    change(schema)
    path = write_schema(tmp_path / "sb.ovsschema", schema)
    with OvsdbServer(tmp_path / "sb", path) as server:
        rows = {
            "SB_Global": {"nb_cfg": 3},
            "Address_Set": {"name": "as1", "addresses": ["set", ["10.0.0.1", "10.0.0.2"]]},
            "Logical_Flow": {"table_id": 1, "priority": 2, "match": "1", "pipeline": "ingress"},
        }
        server.client(
            *(json.dumps({"op": "insert", "table": t, "row": row}) for t, row in rows.items())
        )
        cache = make_cache(server.remote)
        cache.set_conditions(
            {
                PortBinding: [
                    Clause("requested_chassis", "==", "11111111-2222-3333-4444-555555555555"),
                    Clause("type", "==", "patch"),
                ],
                ECMPNexthop: [Clause("nexthop", "==", "x")],
                StaticMACBinding: False,
            }
        )
        synced(cache)
        assert cache.schema_version == schema["version"] and cache.bad_rows == 0
        (flow,) = cache.table(LogicalFlow).values()
        assert flow.match == "1" and flow.tags == {} and flow.flow_desc is None
        assert next(iter(cache.table(SBGlobal).values())).nb_cfg == 3

        transaction = Transaction()
        transaction.insert(FDB, mac="aa", dp_key=1, port_key=2, timestamp=77)
        transaction.insert(AddressSet, name="as2", options={"k": "v"})
        transaction.insert(ECMPNexthop, nexthop="10.0.0.9")
        pending = cache.transact(transaction)
        pump(cache, lambda: pending.done)
        assert pending.ok, str(pending)
        assert len(cache.table(AddressSet)) == 2
        newer = change is make_richer
        assert len(cache.table(ECMPNexthop)) == 0, "it was inserted outside the condition"
        assert [row.timestamp for row in cache.table(FDB).values()] == (
            [] if change is make_poorer else [77 if newer else 0]
        )
        cache.set_conditions({})
        pump(cache, lambda: cache.conditions_settled)
        assert len(cache.table(ECMPNexthop)) == (1 if newer else 0)
        if change is not make_different:
            assert_same(cache, server)


def test_column_with_a_changed_type_is_not_written(tmp_path: Path, make_cache: MakeCache) -> None:
    schema = sb_schema()
    make_different(schema)
    path = write_schema(tmp_path / "sb.ovsschema", schema)
    with OvsdbServer(tmp_path / "sb", path) as server:
        cache = synced(make_cache(server.remote))
        transaction = Transaction()
        transaction.insert(Chassis, name="hv1", hostname="a name")
        pending = cache.transact(transaction)
        assert not pending.ok and not pending.retryable and "no integer" in pending.details
        assert cache.synced


def ovs_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(OVS_SCHEMA.read_text())
    return schema


def test_local_database_with_a_poorer_schema(tmp_path: Path) -> None:
    schema = ovs_schema()
    tables = schema["tables"]
    for table in ("Datapath", "CT_Zone", "CT_Timeout_Policy", "Flow_Sample_Collector_Set"):
        del tables[table]
    for table, column in [
        ("Open_vSwitch", "datapaths"),
        ("Open_vSwitch", "dpdk_initialized"),
        ("Bridge", "datapath_version"),
        ("Interface", "mtu_request"),
    ]:
        del tables[table]["columns"][column]
    with LocalServer(tmp_path, write_schema(tmp_path / "s", schema)) as server:
        server.client(
            json.dumps(
                {
                    "op": "insert",
                    "table": "Interface",
                    "uuid-name": "i",
                    "row": {"name": "p1", "external_ids": ["map", [["iface-id", "lsp1"]]]},
                }
            ),
            '{"op":"insert","table":"Port","uuid-name":"p",'
            '"row":{"name":"p1","interfaces":["named-uuid","i"]}}',
            '{"op":"insert","table":"Bridge","uuid-name":"b",'
            '"row":{"name":"br-int","ports":["named-uuid","p"]}}',
            '{"op":"update","table":"Open_vSwitch","where":[],'
            '"row":{"bridges":["named-uuid","b"]}}',
        )
        database = LocalDatabase(server.remote)
        pump(database, lambda: database.synced)
        bridge = database.bridge("br-int")
        assert bridge is not None and bridge.datapath_version == ""
        (iface,) = database.interfaces(bridge)
        assert iface.external_ids == {"iface-id": "lsp1"} and iface.mtu_request is None
        assert not database.table(Datapath)
        with database.transaction() as transaction:
            transaction.set(Interface, iface.uuid, mtu_request=1500, ofport=1)
            transaction.set_keys(Interface, iface.uuid, "no_such_column", {"a": "b"})
        pump(database, lambda: transaction.pending.done)
        assert transaction.pending.ok
        assert database.table(Interface)[iface.uuid].ofport == 1
        database.close()


def test_local_database_with_a_richer_schema(tmp_path: Path) -> None:
    schema = ovs_schema()
    schema["tables"]["Bridge"]["columns"]["colours"] = STRINGS
    schema["tables"]["Gadget"] = {"columns": {"name": STRING}, "isRoot": True}
    with LocalServer(tmp_path, write_schema(tmp_path / "s", schema)) as server:
        server.vsctl("add-br", "br-int")
        database = LocalDatabase(server.remote)
        pump(database, lambda: database.synced)
        assert [row.name for row in database.table(Bridge).values()] == ["br-int"]
        assert len(database.table(OpenVSwitch)) == 1
        database.close()
