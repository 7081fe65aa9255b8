# SPDX-License-Identifier: Apache-2.0
"""What holds for every sequence: zones, deltas, ports' states, the port index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.binding.claims import Bind, Claim
from ovn_bpf_controller.binding.desired import Delta, Desired, LocalDatapath, PortSecurity, diff
from ovn_bpf_controller.binding.if_status import IfStatus, Moment, PortWrite, State
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.view import Interface
from ovn_bpf_controller.binding.zones import Moved, ZoneTable, limit
from ovn_bpf_controller.model import Datapath, McGroup, Port, PortKind, Tunnel
from ovn_bpf_controller.ovsdb.tables import PortBinding

# --- zones --------------------------------------------------------------------------

NAMES = st.sampled_from("abcdefgh")
ZONE_STEPS = st.lists(
    st.tuples(st.sets(NAMES), st.dictionaries(NAMES, st.integers(0, 6), max_size=2)), max_size=8
)


@given(ZONE_STEPS)
def test_zones_are_unique_stable_and_restored(
    steps: list[tuple[set[str], dict[str, int]]],
) -> None:
    table = ZoneTable(1, 20)
    pinned: Mapping[str, int] = {}
    for names, requested in steps:
        before = dict(table.zones)
        changed = table.update(names, requested)
        zones = dict(table.zones)
        assert changed == {n for n in before.keys() | zones.keys() if before.get(n) != zones.get(n)}
        assert zones.keys() == names | requested.keys()
        assert all(zones[name] == zone for name, zone in requested.items())
        free = [zone for name, zone in zones.items() if name not in requested]
        assert len(set(free)) == len(free) and 0 not in free
        assert not set(free) & (set(requested.values()) - {0})
        for name, zone in before.items():
            if name in zones and name not in requested | dict(pinned):
                assert zones[name] == zone or zone in requested.values()
        pinned = requested
        again = ZoneTable(1, 20)
        again.restore({**table.persistent(), "ct-zone-": "5", "ct-zone-x": "rubbish", "y": "1"})
        kept = {name: zone for name, zone in again.zones.items()}
        assert kept.items() <= zones.items()


@given(ZONE_STEPS)
def test_zones_that_change_hands_are_told_once(
    steps: list[tuple[set[str], dict[str, int]]],
) -> None:
    table = ZoneTable(1, 20)
    for names, requested in steps:
        before = dict(table.zones)
        table.update(names, requested)
        zones = dict(table.zones)
        moved = table.take_moved()
        owners = {z: {n for n in zones if zones[n] == z} for z in zones.values()}
        owned = {z: {n for n in before if before[n] == z} for z in before.values()}
        assert moved.allotted == {z for z in owners if owners[z] - owned.get(z, set())}
        assert moved.released == owned.keys() - owners.keys()
        assert not any(table.take_moved())


def test_restored_zones_keep_their_connections() -> None:
    table = ZoneTable()
    table.restore({"ct-zone-a": "7", "ct-zone-b": "8"})
    table.update({"a", "b"}, {}, keep=True)
    assert not any(table.take_moved())
    table.update({"a", "c"}, {})
    assert table.take_moved() == Moved(frozenset({1}), frozenset({8}))


def test_a_zone_rests_before_somebody_else_gets_it() -> None:
    """Packets of its old port may be under way while the new one's flows come."""
    table = ZoneTable()
    table.update({"a"}, {})
    table.update({"b"}, {})
    assert dict(table.zones) == {"b": 2}
    table.update({"b", "c"}, {})
    assert dict(table.zones) == {"b": 2, "c": 1}


def test_zone_limits_are_read_as_ovn_controller_reads_them() -> None:
    for text, value in (("10", 10), ("0", 0), ("-1", 0), ("4294967296", 0), ("x", 5), ("", 5)):
        assert limit({"ct-zone-limit": text}, 5) == value
    assert limit({}, 5) == 5 and limit({}) == 0


def test_zones_run_out_without_harm() -> None:
    table = ZoneTable(1, 2)
    table.update("abc", {})
    assert sorted(table.zones.values()) == [1, 2]
    table.update("c", {})
    assert dict(table.zones) == {"c": 1}


def test_nothing_is_dropped_before_all_is_known() -> None:
    table = ZoneTable()
    table.restore({"ct-zone-a": "7", "ct-zone-b": "8", "ct-zone-c": "8", "ct-zone-d": "70000"})
    assert dict(table.zones) == {"a": 7, "b": 8}
    table.update({"z"}, {}, keep=True)
    assert dict(table.zones) == {"a": 7, "b": 8, "z": 1}
    table.update({"z"}, {})
    assert dict(table.zones) == {"z": 1}


# --- deltas --------------------------------------------------------------------------

KEYS = st.integers(1, 3)


@st.composite
def local_datapaths(draw: st.DrawFn, uuid: str, dp: int) -> LocalDatapath:
    ports = {
        key: Port(dp, key, draw(st.sampled_from(PortKind)))
        for key in draw(st.sets(KEYS, max_size=3))
    }
    groups = {
        32768 + key: McGroup(dp, 32768 + key, tuple(sorted(draw(st.sets(KEYS)))), ())
        for key in draw(st.sets(KEYS, max_size=2))
    }
    security = {
        f"{uuid}-{key}": PortSecurity(dp, key, f"{uuid}-{key}", draw(st.sampled_from([(), ("m",)])))
        for key in ports
    }
    return LocalDatapath(
        uuid,
        Datapath(dp, draw(st.integers(0, 1))),
        ports,
        groups,
        {f"{uuid}-{key}": key for key in ports},
        {f"g{key}": key for key in groups},
        security,
        frozenset(draw(st.sets(st.sampled_from([f"{uuid}-{key}" for key in range(1, 4)])))),
    )


@st.composite
def desireds(draw: st.DrawFn) -> Desired:
    keys = draw(st.lists(st.integers(1, 5), unique=True, max_size=3))
    uuids = draw(st.lists(st.sampled_from("ABCD"), unique=True, min_size=3, max_size=3))
    datapaths = {
        uuid: draw(local_datapaths(uuid, key)) for uuid, key in zip(uuids, keys, strict=False)
    }
    tunnels = {
        name: Tunnel(name, "l", "r", draw(st.integers(0, 1)), 1500)
        for name in draw(st.sets(st.sampled_from("xyz")))
    }
    return Desired(datapaths=datapaths, tunnels=tunnels, resident=frozenset(draw(st.sets(NAMES))))


def applied(old: Mapping[Any, Any], changes: Mapping[Any, Any]) -> dict[Any, Any]:
    merged = dict(old) | dict(changes)
    return {key: value for key, value in merged.items() if value is not None}


def securities(desired: Desired) -> dict[tuple[int, int], PortSecurity]:
    return {
        (s.dp, s.port): s
        for local in desired.datapaths.values()
        for s in local.port_security.values()
    }


@given(desireds(), desireds())
def test_a_delta_leads_from_one_state_to_the_other(old: Desired, new: Desired) -> None:
    delta: Delta = diff(old, new)
    assert applied(old.ports(), delta.ports) == new.ports()
    assert applied(old.groups(), delta.groups) == new.groups()
    assert applied(old.tunnels, delta.tunnels) == dict(new.tunnels)
    assert applied(securities(old), delta.port_security) == securities(new)
    before = {local.key: local.datapath for local in old.datapaths.values()}
    after = {local.key: local.datapath for local in new.datapaths.values()}
    assert applied(before, delta.datapaths) == after
    for uuid in old.datapaths.keys() | new.datapaths.keys():
        one = old.datapaths.get(uuid, LocalDatapath("", Datapath(0)))
        other = new.datapaths.get(uuid, LocalDatapath("", Datapath(0)))
        for name in [*one.port_keys, *one.group_keys, *other.port_keys, *other.group_keys]:
            if one.name_key(name) != other.name_key(name):
                assert (uuid, name) in delta.names
        assert one.elsewhere ^ other.elsewhere <= delta.moved
    assert not diff(new, new)


# --- if-status ------------------------------------------------------------------------


class World:
    """A Southbound and a local database of one port, as IfStatus sees them."""

    def __init__(self) -> None:
        self.row = PortBinding("p", logical_port="p", datapath="dp", up=False)
        self.ids: dict[str, str] = {"iface-id": "p"}
        self.status = IfStatus()
        self.seq = 0
        self.acked = 0
        self.now = 0
        self.plugged = True
        self.settled = True
        self.settled_with_us = 0
        self.unready: set[int] = set()

    @property
    def iface(self) -> Interface:
        return Interface("i", "tap", ofport=1, ifindex=4, external_ids=dict(self.ids))

    def run(self) -> None:
        self.seq += 1
        self.now += 100
        if self.settled and self.row.chassis == "me" and not self.settled_with_us:
            self.settled_with_us = self.seq
        if self.row.chassis != "me":
            self.settled_with_us = 0
        claims = {"p": Claim(self.row, self.iface, Bind.MAIN)} if self.plugged else {}
        moment = Moment(self.now, self.seq, self.acked, self.settled, "me", {}, self.unready)
        bound = [self.row] if self.row.chassis == "me" else []
        writes = self.status.run(moment, claims, bound, [self.iface])
        for uuid in writes.installed:
            assert uuid == "i" and self.live, "ovn-installed too early"
            self.ids["ovn-installed"] = "true"
        if writes.uninstalled:
            self.ids.pop("ovn-installed", None)
        for wish in writes.ports:
            self.write(wish)

    @property
    def live(self) -> bool:
        acked = bool(self.settled_with_us) and self.acked >= self.settled_with_us
        return acked and 4 not in self.unready

    def write(self, wish: PortWrite) -> None:
        columns: dict[str, Any] = {}
        if wish.guarded and self.row.chassis != "me":
            return
        if wish.chassis is not None:
            columns["chassis"] = "me" if wish.chassis else None
            if wish.chassis:
                self.status.claim_sent("p", self.now)
        if wish.up is not None:
            assert not wish.up or self.live, "up too early"
            columns["up"] = wish.up
        self.row = PortBinding(
            **{name: getattr(self.row, name) for name in PortBinding.__slots__}
            | {"uuid": "p"}
            | columns
        )


ACTIONS = st.lists(
    st.sampled_from(
        [
            *("run", "run", "ack", "steal", "unplug", "plug", "unsettle", "settle", "forge"),
            *("attach", "detach"),
        ]
    ),
    max_size=40,
)


@given(ACTIONS)
def test_up_never_comes_before_its_time_and_always_in_the_end(actions: list[str]) -> None:
    world = World()
    for action in actions:
        if action == "run":
            world.run()
        elif action == "ack":
            world.acked = world.seq
        elif action == "steal":
            world.row = PortBinding("p", logical_port="p", datapath="dp", up=True, chassis="other")
        elif action in ("plug", "unplug"):
            world.plugged = action == "plug"
        elif action == "forge":
            world.ids["ovn-installed"] = "true"
        elif action in ("attach", "detach"):
            world.unready = {4} if action == "detach" else set()
        else:
            world.settled = action == "settle"
    for world.plugged in (True, False):
        world.settled, world.unready = True, set()
        for _ in range(20):
            world.run()
            world.acked = world.seq
        if world.plugged:
            assert world.row.chassis == "me" and world.row.up is True
            assert world.ids.get("ovn-installed") == "true"
            assert world.status.states() == {"p": State.INSTALLED}
        else:
            assert world.row.chassis is None and not world.row.up
            assert "ovn-installed" not in world.ids and not world.status.states()


# --- the index --------------------------------------------------------------------------

ROWS = st.dictionaries(
    st.sampled_from(["u1", "u2", "u3"]),
    st.tuples(
        st.sampled_from("ab"), st.sampled_from("xy"), st.sampled_from([None, "c1", "c2"]),
        st.sampled_from([None, "a"]),
    ),
)  # fmt: skip


@given(st.lists(ROWS, max_size=6))
def test_the_index_equals_one_made_from_scratch(
    states: list[dict[str, tuple[str, str, str | None, str | None]]],
) -> None:
    index = PortIndex()
    rows: dict[str, PortBinding] = {}
    for state in states:
        new = {
            uuid: PortBinding(
                uuid, logical_port=f"{name}{uuid}", datapath=dp, chassis=c, parent_port=p
            )
            for uuid, (name, dp, c, p) in state.items()
        }
        index.apply(
            {
                u: (rows.get(u), new.get(u))
                for u in rows.keys() | new.keys()
                if rows.get(u) != new.get(u)
            }
        )
        rows = new
        for row in rows.values():
            assert index.name(row.logical_port) is not None
            assert index.uuid(row.uuid) == row
        for dp in "xy":
            found = {row.uuid for row in index.datapath(dp)}
            assert found == {row.uuid for row in rows.values() if row.datapath == dp}
        for chassis in ("c1", "c2"):
            found = {row.uuid for row in index.chassis(chassis)}
            assert found == {row.uuid for row in rows.values() if row.chassis == chassis}
        found = {row.uuid for row in index.children("a")}
        assert found == {row.uuid for row in rows.values() if row.parent_port == "a"}
