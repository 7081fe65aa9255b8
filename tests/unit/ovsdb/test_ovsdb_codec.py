# SPDX-License-Identifier: Apache-2.0
"""Rows out of JSON, differences, and values back into JSON: pure."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.codec import RowCodec, RowError
from ovn_bpf_controller.ovsdb.conditions import ALL, NONE, Clause, ConditionState, encode
from ovn_bpf_controller.ovsdb.row_maker import WORTH
from ovn_bpf_controller.ovsdb.schema import NamedUuid, Schema, ServerColumn
from ovn_bpf_controller.ovsdb.tables import (
    SOUTHBOUND,
    AddressSet,
    Chassis,
    ECMPNexthop,
    LogicalFlow,
    PortBinding,
    Row,
    Text,
)
from ovn_bpf_controller.plaindata import fields
from tests.support.sb_truth import sb_schema

SCHEMA = Schema.parse(sb_schema())
UUID = "11111111-2222-3333-4444-555555555555"
TEXTS = (str, str | None, Text, tuple[str, ...])

# What 21.11.0 has and 20.27.0 has not: the only columns that may be missing here.
NEWER = {
    "SB_Global": {"nb_cfg_timestamp"},
    "Datapath_Binding": {"type", "nb_uuid"},
    "Port_Binding": {"mirror_port"},
    "Address_Set": {"options"},
    "Logical_Flow": {"flow_desc"},
    "FDB": {"timestamp"},
    "Load_Balancer": {"ls_datapath_group", "lr_datapath_group"},
    "DNS": {"options"},
    "IGMP_Group": {"protocol", "chassis_name"},
    "Service_Monitor": {
        "type", "mac", "logical_input_port", "chassis_name", "ic_learned", "remote",
    },
    "BFD": {"chassis_name"},
}  # fmt: skip
NEWER_TABLES = {
    "ECMP_Nexthop", "ACL_ID", "Advertised_Route", "Learned_Route", "Advertised_MAC_Binding",
}  # fmt: skip


@pytest.mark.parametrize("row", SOUTHBOUND, ids=lambda row: row.TABLE)
def test_declared_columns_are_the_schemas(row: type[Row]) -> None:
    codec = RowCodec(row, SCHEMA)
    declared = {field.name for field in fields(row)} - {"uuid"}
    assert codec.mismatched == []
    if row.TABLE in NEWER_TABLES:
        assert row.TABLE not in SCHEMA.tables and codec.columns == ()
    elif SCHEMA.version == "20.27.0":
        assert declared - set(codec.columns) == NEWER.get(row.TABLE, set())
    assert fields(row)[0].name == "uuid"


@pytest.mark.parametrize("row", SOUTHBOUND, ids=lambda row: row.TABLE)
def test_a_row_without_values_is_the_default_row(row: type[Row]) -> None:
    assert RowCodec(row, SCHEMA).decode(UUID, {}) == row(UUID)


def test_values_of_every_shape() -> None:
    row = RowCodec(PortBinding, SCHEMA).decode(
        UUID,
        {
            "logical_port": "p1",
            "tunnel_key": 7,
            "tag": ["set", []],
            "parent_port": "parent",
            "chassis": ["uuid", UUID],
            "encap": ["set", [["uuid", UUID]]],
            "additional_chassis": ["uuid", UUID],
            "mac": ["set", ["b", "a"]],
            "port_security": "one",
            "options": ["map", [["k", "v"]]],
            "up": True,
        },
    )
    assert row == PortBinding(
        UUID,
        logical_port="p1",
        tunnel_key=7,
        parent_port="parent",
        chassis=UUID,
        encap=UUID,
        additional_chassis=(UUID,),
        mac=("a", "b"),
        port_security=("one",),
        options={"k": "v"},
        up=True,
    )


@pytest.mark.parametrize(
    "json",
    [
        {"tunnel_key": "7"},
        {"tunnel_key": True},
        {"tunnel_key": ["set", [1, 2]]},
        {"up": 1},
        {"logical_port": None},
        {"logical_port": ["uuid", UUID]},
        {"logical_port": {}},
        {"chassis": UUID},
        {"chassis": ["named-uuid", "x"]},
        {"chassis": ["set", [["set", []]]]},
        {"chassis": []},
        {"options": ["set", []]},
        {"options": ["map", [["k"]]]},
        {"options": ["map", {"k": "v"}]},
        {"options": ["map", [["k", 1]]]},
        {"mac": ["set", "ab"]},
        {"mac": ["set", [["set", []]]]},
        {"mac": ["set", [1, "a"]]},
        7,
        "no row",
        ["logical_port", "p"],
    ],
)
def test_values_of_wrong_types_are_refused(json: Any) -> None:
    codec = RowCodec(PortBinding, SCHEMA)
    with pytest.raises(RowError, match="Port_Binding"):
        codec.decode(UUID, json)
    with pytest.raises(RowError, match="Port_Binding"):
        codec.patch(PortBinding(UUID), json)


names = st.text("abc", min_size=1, max_size=2)
string_sets = st.frozensets(names, max_size=4)
maps = st.dictionaries(names, names, max_size=4)
flags = st.none() | st.booleans()


@given(string_sets, string_sets, maps, maps, flags, flags, names, names)
def test_a_difference_leads_from_the_old_row_to_the_new(
    old_set: frozenset[str],
    new_set: frozenset[str],
    old_map: dict[str, str],
    new_map: dict[str, str],
    old_up: bool | None,
    new_up: bool | None,
    old_name: str,
    new_name: str,
) -> None:
    def row(elements: frozenset[str], pairs: dict[str, str], up: bool | None, name: str) -> Row:
        mac = tuple(sorted(elements))
        return PortBinding(UUID, logical_port=name, mac=mac, options=pairs, up=up)

    # As ovsdb-server(7) words it: elements of one set only; pairs whose key is in one
    # map only, and for differing values the new one.
    changed = {k: new_map.get(k, old_map.get(k)) for k in old_map.keys() | new_map.keys()}
    difference: dict[str, Any] = {
        "mac": ["set", list(old_set ^ new_set)],
        "options": [
            "map", [[k, v] for k, v in changed.items() if old_map.get(k) != new_map.get(k)],
        ],
        "logical_port": new_name,
        "up": ["set", [] if new_up is None else [new_up]],
    }  # fmt: skip
    codec = RowCodec(PortBinding, SCHEMA)
    old, new = row(old_set, old_map, old_up, old_name), row(new_set, new_map, new_up, new_name)
    assert codec.patch(old, difference) == new


@pytest.mark.parametrize("count", [1, 64, 65, 400])
def test_elements_of_a_long_set_come_and_go(count: int) -> None:
    old = [f"{n:03}" for n in range(0, 1000, 2)]
    changed = [f"{n:03}" for n in range(300, 300 + count)]  # every other one is there
    codec = RowCodec(PortBinding, SCHEMA)
    new = codec.patch(PortBinding(UUID, mac=tuple(old)), {"mac": ["set", changed]})
    assert new == PortBinding(UUID, mac=tuple(sorted(set(old) ^ set(changed))))


def test_a_patch_leaves_other_columns_and_the_old_row_alone() -> None:
    old = PortBinding(UUID, logical_port="p", options={"a": "1"}, mac=("m",))
    new = RowCodec(PortBinding, SCHEMA).patch(old, {"options": ["map", [["b", "2"]]]})
    assert new == PortBinding(UUID, logical_port="p", options={"a": "1", "b": "2"}, mac=("m",))
    assert old.options == {"a": "1"}


def without(table: str, *columns: str, **changed: Any) -> Schema:
    """The schema with columns left out or of another type."""
    raw = sb_schema()
    for column in columns:
        del raw["tables"][table]["columns"][column]
    raw["tables"][table]["columns"] |= {name: {"type": kind} for name, kind in changed.items()}
    return Schema.parse(raw)


def test_missing_columns_are_defaults_and_not_asked_for() -> None:
    codec = RowCodec(LogicalFlow, without("Logical_Flow", "tags", "controller_meter"))
    assert not {"tags", "controller_meter"} & set(codec.columns)
    assert codec.decode(UUID, {"match": "1", "tags": ["map", [["a", "b"]]]}) == LogicalFlow(
        UUID, match="1"
    )


def test_columns_of_another_type_are_as_if_missing() -> None:
    schema = without(
        "Port_Binding",
        tag="string",
        up={"key": "boolean", "min": 0, "max": 4},
        mac={"key": "string", "value": "string", "min": 0, "max": "unlimited"},
        options={"key": "string", "value": "integer", "min": 0, "max": "unlimited"},
    )
    assert set(RowCodec(PortBinding, schema).mismatched) == {"tag", "up", "mac", "options"}


def test_a_set_that_became_a_single_value_is_still_read() -> None:
    codec = RowCodec(AddressSet, without("Address_Set", addresses={"key": "string", "min": 0}))
    row = codec.decode(UUID, {"addresses": "10.0.0.1"})
    assert row == AddressSet(UUID, addresses=("10.0.0.1",))
    # A single value is replaced, not merged.
    assert codec.patch(row, {"addresses": "10.0.0.2"}) == AddressSet(UUID, addresses=("10.0.0.2",))


_atoms = st.sampled_from(["a", "", 0, 7, True, None, 1.5, UUID])
_values = st.one_of(
    _atoms,
    st.just(["uuid", UUID]),
    st.builds(lambda found: ["set", found], st.lists(_atoms | st.just(["uuid", UUID]), max_size=3)),
    st.builds(lambda found: ["map", found], st.lists(st.tuples(_atoms, _atoms), max_size=3)),
    st.lists(_atoms, max_size=3),
)


@given(st.data())
def test_a_compiled_decoder_does_the_same(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(SOUTHBOUND))
    json = data.draw(st.fixed_dictionaries({}, optional={f.name: _values for f in fields(row)}))
    looped, compiled = RowCodec(row, SCHEMA), RowCodec(row, SCHEMA)
    compiled.maker(WORTH)
    assert looped.maker(WORTH - 1) != compiled.maker(1), "it stays compiled"
    try:
        expected: Row | str = looped.decode(UUID, json)
    except RowError as error:
        expected = str(error)
    try:
        found: Row | str = compiled.decode(UUID, json)
    except RowError as error:
        found = str(error)
    assert found == expected
    if isinstance(found, Row):
        for field in fields(row):  # True == 1
            assert type(getattr(found, field.name)) is type(getattr(expected, field.name))


def test_unknown_types_of_newer_schemas_are_left_out() -> None:
    schema = without("Chassis", quaternion={"key": {"type": "quaternion"}}, odd=7)
    assert "quaternion" not in schema.tables["Chassis"] and "odd" not in schema.tables["Chassis"]
    assert "name" in schema.tables["Chassis"]


@pytest.mark.parametrize("raw", [None, [], {}, {"tables": []}, {"name": 1, "tables": {"a": 1}}])
def test_a_schema_that_is_none_is_refused(raw: Any) -> None:
    with pytest.raises(DatabaseError, match="not understood"):
        Schema.parse(raw)


def test_values_are_encoded_by_the_servers_types() -> None:
    chassis = SCHEMA.tables["Chassis"]
    assert chassis["encaps"].encode((NamedUuid("row0"), UUID)) == [
        "set",
        [["named-uuid", "row0"], ["uuid", UUID]],
    ]
    assert chassis["other_config"].encode({"a": "b"}) == ["map", [["a", "b"]]]
    assert chassis["other_config"].encode_mutation("delete", ("a",)) == ["set", ["a"]]
    binding = SCHEMA.tables["Port_Binding"]
    assert binding["chassis"].encode(None) == ["set", []]
    assert binding["up"].encode(False) is False
    assert binding["mac"].encode(["x"]) == ["set", ["x"]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("integer", "1"), ("integer", True), ("string", 1), ("boolean", 0), ("uuid", 5)],
)
def test_values_that_do_not_fit_are_not_sent(kind: str, value: object) -> None:
    with pytest.raises(DatabaseError):
        ServerColumn(kind).encode(value)
    with pytest.raises(DatabaseError):
        ServerColumn(kind).encode({"a": "b"})


def test_equal_wishes_give_equal_conditions() -> None:
    one = [Clause("chassis", "==", UUID), Clause("type", "==", "patch")]
    other = [Clause("type", "==", "patch"), Clause("chassis", "==", UUID), one[0]]
    assert encode(one, "Port_Binding", SCHEMA) == encode(other, "Port_Binding", SCHEMA)
    assert encode(True, "Port_Binding", SCHEMA) == ALL
    assert encode(False, "Port_Binding", SCHEMA) == encode([], "Port_Binding", SCHEMA) == NONE


def test_conditions_on_missing_columns_select_nothing() -> None:
    clauses = [Clause("mirror_port", "==", "p"), Clause("type", "==", "patch")]
    assert encode(clauses, "Port_Binding", SCHEMA) == [["type", "==", "patch"]]
    assert encode(clauses[:1], "Port_Binding", SCHEMA) == NONE
    assert encode([Clause("tag", "==", "no integer")], "Port_Binding", SCHEMA) == NONE


def test_condition_state_asks_for_differences_only() -> None:
    state = ConditionState()
    state.want({PortBinding: False, ECMPNexthop: False})
    assert not state.settled(SCHEMA)
    assert state.start(SCHEMA, resume=False) == {"Port_Binding": NONE}
    assert state.settled(SCHEMA) and state.request(SCHEMA) is None
    state.want({Chassis: True})
    assert state.request(SCHEMA) == {"Port_Binding": ALL}
    assert state.in_flight and not state.settled(SCHEMA)
    state.want({PortBinding: False})
    assert state.request(SCHEMA) is None, "one request at a time"
    state.acknowledge()
    assert state.request(SCHEMA) == {"Port_Binding": NONE}
    with pytest.raises(DatabaseError, match="in flight"):
        state.start(SCHEMA, resume=True)


def test_annotations_of_all_tables_are_understood() -> None:
    # A typo in an annotation would show only when a server has the column.
    for row in SOUTHBOUND:
        hints = typing.get_type_hints(row, include_extras=True)
        full = {field.name: {"type": "string"} for field in fields(row) if field.name != "uuid"}
        raw = {"name": "x", "version": "1", "tables": {row.TABLE: {"columns": full}}}
        codec = RowCodec(row, Schema.parse(raw))
        texts = {name for name in full if hints[name] in TEXTS}
        assert texts == set(codec.columns)
        assert set(codec.mismatched) == set(full) - texts
