# SPDX-License-Identifier: Apache-2.0
"""Many updates in one message are what they are one by one: pure."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.schema import Schema
from ovn_bpf_controller.ovsdb.store import Store
from ovn_bpf_controller.ovsdb.tables import AddressSet
from tests.support.sb_truth import sb_schema

SCHEMA = Schema.parse(sb_schema())
TABLE = AddressSet.TABLE
UUIDS = [f"{n}1111111-2222-3333-4444-555555555555" for n in range(4)]

_rows = st.sampled_from([{}, {"name": "a"}, {"name": "b", "addresses": "x"}, {"name": 7}, None, 7])
_updates = st.one_of(
    st.builds(
        lambda kind, row: {kind: row}, st.sampled_from(["insert", "initial", "modify"]), _rows
    ),
    st.just({"delete": None}),
    st.just({"insert": {"name": "c"}, "delete": None}),
)
_messages = st.lists(st.dictionaries(st.sampled_from(UUIDS), _updates, max_size=4), max_size=4)


def bound() -> Store:
    store = Store([AddressSet])
    store.bind(SCHEMA)
    return store


def take(store: Store, update: dict[str, Any]) -> bool:
    """False: the store wants everything anew."""
    try:
        store.apply({TABLE: update}, 2)
    except DatabaseError:
        return False
    return True


def slowly(store: Store, update: dict[str, Any]) -> None:
    """As Store.apply(), a row at a time and with nothing taken for plainly new."""
    codec = store._codecs[TABLE]
    for uuid, each in update.items():
        try:
            new = store._row2(codec, uuid, each)
        except DatabaseError as error:
            if "which is not known" in str(error) or "nothing that is understood" in str(error):
                raise
            store._bad.add((TABLE, uuid))
            store.bad_rows += 1
            new = None
        store._put(TABLE, uuid, new)


@given(_messages)
def test_a_message_is_its_rows_one_by_one(messages: list[dict[str, Any]]) -> None:
    one, other = bound(), bound()
    for message in messages:
        if not take(one, message):
            return
        slowly(other, message)
    assert dict(one.table(AddressSet)) == dict(other.table(AddressSet))
    assert one.take_changes() == other.take_changes()
    assert one._bad == other._bad and one.bad_rows == other.bad_rows


def test_a_bad_row_that_gets_well_is_bad_no_more() -> None:
    store = bound()
    assert take(store, {UUIDS[0]: {"insert": {"name": 7}}}) and store.bad_rows == 1
    assert take(store, {UUIDS[0]: {"modify": {"name": "a"}}}), "it is known to be bad"
    assert take(store, {UUIDS[0]: {"initial": {"name": "a"}}})
    assert store.table(AddressSet)[UUIDS[0]].name == "a"
    assert take(store, {UUIDS[0]: {"modify": {"name": "b"}}})
    assert store.table(AddressSet)[UUIDS[0]].name == "b"
