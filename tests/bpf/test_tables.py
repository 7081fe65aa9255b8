# SPDX-License-Identifier: Apache-2.0
"""Tables against real maps: what packets of a generation find is what was wanted.

Packets of the generation before still find the state before, until the grace
period; adoption finds what was left.  The maps are the BPF object's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller import plaindata
from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.chassis import address
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import Datapath, McGroup, Port, PortKind, Rule, SetMember, Tunnel
from tests.support.kernel import private_kernel
from tests.support.reader import Reader, View

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


def insns(*each: tuple[int, ...]) -> bytes:
    return bytes(ffi.buffer(ffi.new("struct ovn_insn[]", list(each))))


END = (lib.OP_END, 0, 0, 0, 0, 0, 0)
DROP = insns((lib.OP_DROP, 0, 0, 0, lib.DROP_ACTION, 0, 0), END)
OUTPUT = insns((lib.OP_OUTPUT, 0, 0, 0, 0, 0, 0), END)
CLONE = insns((lib.OP_CLONE, 0, 0, 0, 2, 0, 0), (lib.OP_OUTPUT, 0, 0, 0, 0, 0, 0), END, END)


def goes_on(table: int) -> bytes:
    egress, number = divmod(table, lib.OVN_EGRESS_BASE)
    return insns((lib.OP_NEXT, 0, egress, number + 1, 0, 0, 0), END)


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


# --- the desired state, kept apart from the tables --------------------------------


@dataclass
class Wanted:
    """What a series of changes amounts to."""

    rules: dict[tuple[object, ...], Rule] = field(default_factory=dict)
    ports: dict[tuple[int, int], Port] = field(default_factory=dict)
    groups: dict[tuple[int, int], McGroup] = field(default_factory=dict)
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    datapaths: dict[int, Datapath] = field(default_factory=dict)
    members: dict[tuple[object, ...], SetMember] = field(default_factory=dict)

    def after(self, change: TableChange) -> Wanted:
        new = Wanted(*(dict(getattr(self, f.name)) for f in fields(self)))
        for rule in change.rules_removed:
            new.rules.pop(key(rule), None)
        new.rules.update((key(rule), rule) for rule in change.rules_added)
        for port in change.ports_removed:
            new.ports.pop((port.dp, port.port), None)
        new.ports.update(((port.dp, port.port), port) for port in change.ports_added)
        for group in change.groups_removed:
            new.groups.pop((group.dp, group.key), None)
        new.groups.update(((group.dp, group.key), group) for group in change.groups_added)
        for tunnel in change.tunnels_removed:
            new.tunnels.pop(tunnel.name, None)
        new.tunnels.update((tunnel.name, tunnel) for tunnel in change.tunnels_added)
        for datapath in change.datapaths_removed:
            new.datapaths.pop(datapath.dp, None)
        new.datapaths.update((datapath.dp, datapath) for datapath in change.datapaths_added)
        for member in change.sets_removed:
            new.members.pop((member.kind, member.plen, member.value), None)
        new.members.update(((m.kind, m.plen, m.value), m) for m in change.sets_added)
        return new

    def whole(self) -> TableChange:
        """All of it, as a restarted agent would say it."""
        return TableChange(
            rules_added=list(self.rules.values()),
            ports_added=list(self.ports.values()),
            groups_added=list(self.groups.values()),
            tunnels_added=list(self.tunnels.values()),
            datapaths_added=list(self.datapaths.values()),
            sets_added=list(self.members.values()),
        )

    def remote(self, name: str) -> bytes:
        return address(self.tunnels[name].remote) if name in self.tunnels else b""

    def nameless(self) -> bool:
        named = {p.chassis for p in self.ports.values() if p.chassis}
        named.update(name for g in self.groups.values() for name in g.remote)
        return not named <= self.tunnels.keys()

    def view(self) -> View:
        return View(
            rules={
                (r.dp, r.table, r.mask, r.values): (r.prio, r.insns) for r in self.rules.values()
            },
            skips=self.skips(),
            ports={
                where: (
                    p.kind,
                    p.localport * lib.OVN_PORT_F_LOCALPORT + p.nested * lib.OVN_PORT_F_NESTED,
                    p.ifindex,
                    p.vlan,
                    p.ct_zone,
                    p.peer_dp,
                    p.peer_port,
                )
                for where, p in self.ports.items()
            },
            ports_chassis={where: self.remote(p.chassis) for where, p in self.ports.items()},
            groups={
                where: (g.local, tuple(self.remote(name) for name in g.remote))
                for where, g in self.groups.items()
            },
            devices={(p.ifindex, p.vlan): w for w, p in self.ports.items() if p.ifindex},
            sets={(m.kind, m.plen, m.value): m.sets for m in self.members.values()},
        )

    def skips(self) -> dict[tuple[int, int], int]:
        """Tables whose only rule is `next;`, and the next one that is not such."""
        tables: dict[tuple[int, int], list[Rule]] = {}
        for rule in self.rules.values():
            tables.setdefault((rule.dp, rule.table), []).append(rule)
        trivial = {
            where
            for where, rules in tables.items()
            if [(r.mask, r.insns) for r in rules] == [((), goes_on(where[1]))]
        }
        skips = {}
        for dp, table in trivial:
            after = table + 1
            while (dp, after) in trivial:
                after += 1
            skips[dp, table] = after
        return skips


def key(rule: Rule) -> tuple[object, ...]:
    return rule.dp, rule.table, rule.mask, rule.values


# --- random changes ------------------------------------------------------------------

WORDS = {
    "none": (),
    "one": ((lib.OW_INPORT, 0xFFFFFFFF),),
    "prefix": ((lib.OW_IP_DST, 0xFFFFFF00),),
    "set": ((lib.OW_INPORT, 0xFFFFFFFF), (lib.OW_SET_SRC, 0xFFFFFFFF)),
    "sets": ((lib.OW_SET_DST, 0xFFFFFFFF), (lib.OW_SET_OUT, 0xFFFFFFFF)),
    "class m": tuple((w, 0xFFFF) for w in range(9)),
    "class l": tuple((w, 0xFF) for w in range(17)),
}
TABLES = (0, 1, 2, 3, 62, lib.OVN_EGRESS_BASE, lib.OVN_EGRESS_BASE + 1, 127)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mask = draw(st.sampled_from(list(WORDS.values())))
    table = draw(st.sampled_from(TABLES))
    lists = [DROP, OUTPUT, CLONE]
    if (table + 1) % lib.OVN_EGRESS_BASE:
        lists += [goes_on(table)] * 3
    return Rule(
        dp=draw(st.sampled_from([1, 2, 0xFFFFFF])),
        table=table,
        prio=draw(st.sampled_from([0, 1, 100, 65535])),
        mask=mask,
        values=tuple(draw(st.sampled_from([0, 7])) & bits for _, bits in mask),
        insns=draw(st.sampled_from(lists)),
        flow=draw(st.integers(0, 9)),
    )


NAMES = st.sampled_from(["hv1", "hv2", "hv3"])


@st.composite
def ports(draw: st.DrawFn) -> Port:
    dp, port = draw(st.sampled_from([1, 2])), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(PortKind))
    # A device is one port's: it is told apart by the port's own number.
    return Port(
        dp=dp,
        port=port,
        kind=kind,
        localport=draw(st.booleans()),
        ifindex=dp * 100 + port * 10 + draw(st.integers(0, 1)) if kind == PortKind.VIF else 0,
        vlan=draw(st.sampled_from([0, 5])) if kind == PortKind.VIF else 0,
        chassis=draw(NAMES) if kind == PortKind.REMOTE else "",
        peer_dp=3 if kind == PortKind.PATCH else 0,
        ct_zone=draw(st.integers(0, 2)),
    )


@st.composite
def groups(draw: st.DrawFn) -> McGroup:
    return McGroup(
        dp=draw(st.sampled_from([1, 2])),
        key=32768 + draw(st.integers(0, 2)),
        local=tuple(draw(st.lists(st.integers(1, 9), max_size=4))),
        remote=tuple(draw(st.lists(NAMES, max_size=3, unique=True))),
    )


@st.composite
def tunnels(draw: st.DrawFn) -> Tunnel:
    number = draw(st.integers(1, 3))
    return Tunnel(
        name=f"hv{number}",
        local="192.0.2.100",
        remote=f"192.0.2.{number}",
        ifindex=draw(st.integers(1, 2)),
        mtu=1500,
    )


@st.composite
def members(draw: st.DrawFn) -> SetMember:
    kind = draw(st.sampled_from([lib.OVN_SET_IP4, lib.OVN_SET_IP6, lib.OVN_SET_PORT]))
    numbers = st.lists(st.integers(1, 40), min_size=1, max_size=20, unique=True)
    return SetMember(
        kind=kind,
        plen=0 if kind == lib.OVN_SET_PORT else draw(st.sampled_from([8, 24, 32])),
        value=(draw(st.sampled_from([0x0A000000, 0x0B000000])), 0, 0, 0),
        sets=tuple(sorted(draw(numbers))),
    )


DATAPATHS = st.builds(Datapath, dp=st.sampled_from([1, 2, 9]), dnat_zone=st.integers(0, 3))


def some(what: st.SearchStrategy[object], most: int) -> st.SearchStrategy[list[object]]:
    return st.lists(what, max_size=most)


CHANGES = st.builds(
    TableChange,
    rules_removed=some(rules(), 8),
    rules_added=some(rules(), 8),
    ports_removed=some(ports(), 3),
    ports_added=some(ports(), 4),
    groups_removed=some(groups(), 2),
    groups_added=some(groups(), 2),
    tunnels_removed=some(tunnels(), 1),
    tunnels_added=some(tunnels(), 2),
    sets_removed=some(members(), 2),
    sets_added=some(members(), 3),
    datapaths_removed=some(DATAPATHS, 1),
    datapaths_added=some(DATAPATHS, 1),
)
THEN = st.sampled_from(["", "reclaim", "settle", "adopt"])

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
