# SPDX-License-Identifier: Apache-2.0
"""Tables against real maps: what packets of a generation find is what was wanted.

Packets of the generation before still find the state before, until the grace
period; adoption finds what was left.  The maps are the BPF object's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller import plaindata
from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.chassis import address
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import McGroup, Port, PortKind, Rule, SetMember, Tunnel
from tests.support.kernel import private_kernel
from tests.support.reader import Reader, View
from tests.support.table_changes import CHANGES, DROP, END, OUTPUT, THEN, insns
from tests.support.wanted import Wanted

# Small, so that elements are reused soon and views are read fast.
SIZES = {
    "ovn_stages": 16 * lib.OVN_STAGES_PER_DP,
    "ovn_masks": 8000,
    "ovn_tuples": 1 << 14,
    "ovn_idx_s": 1 << 13,
    "ovn_rules_s": 1 << 13,
    "ovn_datapaths": 16,
    "ovn_chassis": 16,
    "ovn_ifports": 512,
}


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with private_kernel():
        plane = Plane("test", sizes=SIZES)
        yield plane
        plane.close()


@pytest.fixture
def tables(plane: Plane) -> Iterator[Tables]:
    tables = emptied(plane)
    yield tables
    tables.close()


def emptied(plane: Plane) -> Tables:
    tables = Tables(plane.maps)
    tables.adopt()
    tables.apply(TableChange(), complete=True)
    tables.settle()
    return tables


PROPERTY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def at_once(view: View) -> tuple[object, ...]:
    """The part of a view that generations rule; tunnels change at the flip for all."""
    remote = {where: local for where, (local, _) in view.groups.items()}
    return view.rules, view.skips, view.ports, remote, view.devices, view.sets


@PROPERTY
@given(data=st.data())
def test_each_generation_sees_its_own_state(plane: Plane, data: st.DataObject) -> None:
    with ExitStack() as stack:
        play(plane, data, stack)


def play(plane: Plane, data: st.DataObject, stack: ExitStack) -> None:
    """Applies changes, and looks after each."""
    tables = emptied(plane)
    stack.callback(tables.close)
    reader = Reader(plane.maps)
    stack.callback(reader.close)
    wanted = Wanted()
    states = {tables.generation: wanted}
    for _ in range(data.draw(st.integers(1, 8))):
        change, then = data.draw(CHANGES), data.draw(THEN)
        wanted = wanted.after(change)
        new = tables.apply(change)
        states[new] = wanted
        assert reader.generation() == new
        assert reader.view(new) == wanted.view()
        for generation in range(tables.past, new):
            assert at_once(reader.view(generation)) == at_once(states[generation].view())
        if then == "adopt":
            tables = Tables(plane.maps)
            stack.callback(tables.close)
            tables.adopt()
            assert reader.view(tables.generation) == wanted.view()
            again = tables.apply(wanted.whole(), complete=True)
            # A chassis without a tunnel has no name in the maps: it is written anew.
            assert again == new or wanted.nameless(), "nothing was to be written"
            new = again
            states = dict.fromkeys(range(tables.past, new + 1), wanted)
        elif then:
            getattr(tables, then)()
        assert reader.view(new) == wanted.view()
        remotes = {address(t.remote) for t in wanted.tunnels.values()}
        if tables.settled:
            assert reader.peers() == {a: a for a in remotes}
        assert {d: (z.dnat_zone, 0) for d, z in wanted.datapaths.items()}.items() <= (
            reader.zones().items()
        )
    tables.apply(TableChange(), complete=True)
    tables.settle()
    assert {used for used, _ in tables.use().values()} == {0}


# --- failures ---------------------------------------------------------------------


def rule(dp: int, value: int, **other: object) -> Rule:
    mask = ((lib.OW_INPORT, 0xFFFFFFFF),)
    plain = Rule(dp=dp, table=3, prio=9, mask=mask, values=(value,), insns=DROP, flow=value)
    return plaindata.replace(plain, **other)  # type: ignore[arg-type]


def many(count: int) -> list[Rule]:
    return [rule(1, value) for value in range(count)]


def masked(mask: int, table: int) -> Rule:
    return rule(1, 0, table=table, mask=((lib.OW_INPORT, mask),), values=(0,), prio=mask)


FULL = [
    ("ovn_rules_s", TableChange(rules_added=many(1 << 13))),
    (
        "ovn_masks",
        TableChange(rules_added=[masked(n, table=n % 3) for n in range(1, (1 << 13) + 1)]),
    ),
    (
        "ovn_insns",
        TableChange(
            rules_added=[
                rule(1, n, insns=insns(*[(lib.OP_SET, n, 0, 0, 0, 0, 0)] * 20, END))
                for n in range(60)
            ]
        ),
    ),
    ("ovn_datapaths", TableChange(rules_added=[rule(dp, 1) for dp in range(1, 17)])),
    (
        "ovn_ports",
        TableChange(ports_added=[Port(1, n, PortKind.NONE) for n in range(1, 1025)]),
    ),
    ("ovn_members", TableChange(groups_added=[McGroup(1, 32768, tuple(range(1024)), ())])),
    (
        "ovn_sets",
        TableChange(
            sets_added=[
                SetMember(lib.OVN_SET_IP4, 32, (n, 0, 0, 0), tuple(range(20))) for n in range(400)
            ]
        ),
    ),
    (
        "ovn_chassis",
        TableChange(groups_added=[McGroup(1, 32768, (), tuple(f"hv{n}" for n in range(16)))]),
    ),
    (
        "ovn_ifports",
        TableChange(ports_added=[Port(1, n, PortKind.VIF, ifindex=n) for n in range(1, 1001)]),
    ),
]


@pytest.mark.parametrize(("name", "change"), FULL, ids=[name for name, _ in FULL])
def test_a_full_map_is_named_and_changes_nothing(
    plane: Plane, tables: Tables, name: str, change: TableChange
) -> None:
    wanted = Wanted().after(
        TableChange(
            rules_added=[rule(2, 1), rule(1, 5, insns=OUTPUT)],
            ports_added=[Port(1, 1, PortKind.VIF, ifindex=7), Port(1, 2, PortKind.NONE)],
            groups_added=[McGroup(1, 32768, (1, 2), ("hv1",))],
            tunnels_added=[Tunnel("hv1", "192.0.2.100", "192.0.2.1", 1, 1500)],
        )
    )
    generation = tables.apply(wanted.whole())
    reader = Reader(plane.maps)
    before = tables.use()
    with pytest.raises(DataPlaneError, match=f"map {name} is full"):
        tables.apply(change)
    assert reader.generation() == generation
    assert reader.view(generation) == reader.view(generation + 1) == wanted.view()
    assert tables.use() == before
    assert tables.apply(wanted.whole(), complete=True) == generation
    after = wanted.after(TableChange(rules_added=[rule(2, 77)]))
    assert reader.view(tables.apply(after.whole())) == after.view()
    tables.apply(TableChange(), complete=True)
    tables.settle()
    assert reader.view(tables.generation) == Wanted().view()
    assert {used for used, _ in tables.use().values()} == {0}


def test_a_change_that_is_given_up_half_way_leaves_nothing(plane: Plane, tables: Tables) -> None:
    wanted = Wanted().after(TableChange(rules_added=[rule(2, n) for n in range(200)]))
    generation = tables.apply(wanted.whole())
    reader = Reader(plane.maps)
    before = tables.use()
    change = TableChange(
        rules_removed=[rule(2, n) for n in range(100)],
        rules_added=[rule(1, n) for n in range(300)],
        ports_added=[Port(1, n, PortKind.VIF, ifindex=n) for n in range(1, 200)],
    )
    slices = sum(1 for _ in tables.applying(change))
    assert slices > 5
    assert reader.view(tables.generation) == wanted.after(change).view()
    generation = tables.apply(wanted.whole(), complete=True)
    tables.settle()
    for stop in range(1, slices + 1):
        writing = tables.applying(change)
        for _ in range(stop):
            next(writing)
        assert reader.view(generation) == wanted.view(), "not yet"
        writing.close()
        assert reader.view(generation) == reader.view(generation + 1) == wanted.view()
        assert tables.use() == before


def test_a_rule_under_one_mask_too_many_is_refused_alone(plane: Plane, tables: Tables) -> None:
    fitting = [masked(n, table=3) for n in range(1, lib.OVN_MAX_TUPLES + 1)]
    surplus = masked(lib.OVN_MAX_TUPLES + 1, table=3)
    tables.apply(TableChange(rules_added=[*fitting, surplus]))
    assert [thing for thing, _ in tables.rejected] == [surplus]
    wanted = Wanted().after(TableChange(rules_added=fitting))
    assert Reader(plane.maps).view(tables.generation) == wanted.view()
    tables.apply(TableChange(rules_added=[surplus], rules_removed=fitting[:1]))
    assert tables.rejected == []


def test_a_match_on_too_many_words_is_refused_alone(plane: Plane, tables: Tables) -> None:
    mask = tuple((word, 1) for word in range(lib.OVN_CLASS_L + 1))
    wide = rule(1, 0, mask=mask, values=(0,) * len(mask))
    tables.apply(TableChange(rules_added=[wide, rule(1, 1)]))
    assert [thing for thing, _ in tables.rejected] == [wide]
    wanted = Wanted().after(TableChange(rules_added=[rule(1, 1)]))
    assert Reader(plane.maps).view(tables.generation) == wanted.view()


def test_a_tunnel_to_nowhere_is_refused_alone(plane: Plane, tables: Tables) -> None:
    broken = Tunnel("hv1", "192.0.2.100", "nonsense", 1, 1500)
    sound = Tunnel("hv2", "192.0.2.100", "192.0.2.2", 1, 1500)
    tables.apply(TableChange(tunnels_added=[broken, sound]))
    assert tables.rejected == [(broken, "tunnel address 'nonsense' is no IP address")]
    assert set(Reader(plane.maps).peers()) == {address("192.0.2.2")}


def test_members_may_have_every_prefix_length(plane: Plane, tables: Tables) -> None:
    lengths = range(129)
    tables.apply(
        TableChange(sets_added=[SetMember(lib.OVN_SET_IP6, n, (0, 0, 0, 0), (n,)) for n in lengths])
    )
    assert len(Reader(plane.maps).view(tables.generation).sets) == len(lengths)
    assert not tables.rejected
