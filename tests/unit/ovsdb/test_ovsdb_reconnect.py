# SPDX-License-Identifier: Apache-2.0
"""Connections that break, servers that stop, freeze, restart or leave their cluster.

However it went, the cache must end up equal to the server, and the changes it
told must lead from what it had before to that, without deletes and inserts of
rows that never went away.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import ovs.poller
import pytest

from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.conditions import Clause
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import FDB, SOUTHBOUND, AddressSet, SBGlobal
from ovn_bpf_controller.ovsdb.transact import Status, Transaction
from tests.support.ovsdb import ClusterServer, OvsdbServer, run_tool, wait_until
from tests.support.pump import pump, pump_changes
from tests.support.sb_truth import MakeCache, assert_same, sb_schema, sbctl, synced, write_schema


def add_sets(server: OvsdbServer, *numbers: int) -> None:
    """Address_Set rows named as1 …"""
    for number in numbers:
        sbctl(server, "create", "Address_Set", f"name=as{number}", f'addresses="10.0.0.{number}"')


def add_ballast(server: OvsdbServer) -> None:
    """A server keeps no more history of transactions than it has data."""
    addresses = ",".join(f'"10.1.{i >> 8}.{i & 255}"' for i in range(1000))
    sbctl(server, "create", "Address_Set", "name=ballast", f"addresses={addresses}")


def names(cache: SouthboundCache) -> set[str]:
    return {row.name for row in cache.table(AddressSet).values()} - {"ballast"}


def snapshot(cache: SouthboundCache) -> dict[str, dict[str, object]]:
    return {row.TABLE: dict(cache.table(row)) for row in SOUTHBOUND}


def assert_leads(
    before: dict[str, dict[str, object]], changes: Changes, cache: SouthboundCache
) -> None:
    """changes, applied to before, give the cache; each says truly what was there."""
    for table, rows in changes.items():
        for uuid, (old, new) in rows.items():
            assert before[table].get(uuid) == old and old != new
            if new is None:
                del before[table][uuid]
            else:
                before[table][uuid] = new
    assert before == snapshot(cache)


def change_everything(server: OvsdbServer) -> None:
    """One row goes, one comes, one changes, as2 stays."""
    sbctl(server, "destroy", "Address_Set", "as1")
    add_sets(server, 4)
    sbctl(server, "set", "Address_Set", "as3", 'addresses="10.9.9.9"')


def test_restarted_server_is_compared_with_what_we_had(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    add_sets(sb, 1, 2, 3)
    cache = synced(make_cache(sb.remote))
    before = snapshot(cache)
    sb.stop()
    pump(cache, lambda: not cache.connected)
    assert cache.status == "not connected" and not cache.synced and cache.has_ever_synced
    assert names(cache) == {"as1", "as2", "as3"}, "rows stay while there is no server"
    sb.start()
    change_everything(sb)
    changes = pump_changes(cache, lambda: cache.synced)
    assert set(changes) == {"Address_Set"} and len(changes["Address_Set"]) == 3
    assert_leads(before, changes, cache)
    assert_same(cache, sb)


def test_killed_server_loses_what_it_did_not_answer(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    sb.pause()
    transaction = Transaction()
    transaction.insert(AddressSet, name="lost")
    pending = cache.transact(transaction)
    cache.run()
    assert not pending.done
    sb.kill()
    pump(cache, lambda: pending.done)
    assert pending.status is Status.LOST and pending.retryable and not pending.ok
    again = cache.transact(transaction)
    assert again.status is Status.LOST, "at once while there is no connection"
    sb.start()
    pump(cache, lambda: cache.synced)
    pending = cache.transact(transaction)
    pump(cache, lambda: pending.done)
    assert pending.ok and names(cache) == {"lost"}


def test_cut_connection_to_a_cluster_is_resumed(tmp_path: Path, make_cache: MakeCache) -> None:
    with ClusterServer(tmp_path) as server:
        sbctl(server, "init")
        add_ballast(server)
        add_sets(server, 1, 2, 3)
        cache = synced(make_cache(server.remote))
        loaded = cache.statistics.loads
        for _ in range(3):
            before = snapshot(cache)
            cache.force_reconnect()
            pump(cache, lambda: not cache.connected)
            change_everything(server)
            changes = pump_changes(cache, lambda: cache.synced)
            assert_leads(before, changes, cache)
            assert_same(cache, server)
            sbctl(server, "destroy", "Address_Set", "as4")
            add_sets(server, 1)
            pump(cache, lambda: names(cache) == {"as1", "as2", "as3"})
        assert cache.statistics.resumes == 3 and cache.statistics.loads == loaded


def test_wish_of_conditions_while_disconnected_is_sent_after_resuming(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    with ClusterServer(tmp_path) as server:
        sbctl(server, "init")
        add_ballast(server)
        add_sets(server, 1, 2, 3)
        cache = make_cache(server.remote)
        cache.set_conditions({AddressSet: [Clause("name", "==", "as1")]})
        synced(cache)
        cache.force_reconnect()
        pump(cache, lambda: not cache.connected)
        cache.set_conditions({AddressSet: [Clause("name", "==", "as3")]})
        assert not cache.conditions_settled
        pump(cache, lambda: cache.conditions_settled)
        assert names(cache) == {"as3"} and cache.statistics.resumes == 1


def test_change_of_conditions_in_flight_is_not_resumed(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    with ClusterServer(tmp_path) as server:
        sbctl(server, "init")
        add_ballast(server)
        add_sets(server, 1, 2, 3)
        cache = make_cache(server.remote)
        cache.set_conditions({AddressSet: [Clause("name", "==", "as1")]})
        synced(cache)
        server.pause()
        cache.set_conditions({AddressSet: [Clause("name", "==", "as2")]})
        cache.run()
        cache.force_reconnect()
        pump(cache, lambda: not cache.connected)
        server.resume()
        pump(cache, lambda: cache.conditions_settled)
        assert names(cache) == {"as2"} and cache.statistics.resumes == 0


def test_frozen_server_does_not_block_us_and_is_noticed(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    port = sb.listen()
    cache = synced(make_cache(f"tcp:127.0.0.1:{port}", probe_interval=1000))
    sb.pause()
    started = time.monotonic()
    for _ in range(100):
        cache.run()
    assert time.monotonic() - started < 10.0
    pump(cache, lambda: not cache.connected)
    assert time.monotonic() - started >= 1.0
    sb.resume()
    pump(cache, lambda: cache.synced)
    assert_same(cache, sb)


def test_idle_connection_is_kept_by_probes(sb: OvsdbServer, make_cache: MakeCache) -> None:
    port = sb.listen()
    cache = synced(make_cache(f"tcp:127.0.0.1:{port}"))
    cache.set_probe_interval(1000)
    deadline = time.monotonic() + 3.5
    pump(cache, lambda: time.monotonic() > deadline, recheck=200)
    assert cache.connected and cache.statistics.loads == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_one_of_two_remotes_is_dead(sb: OvsdbServer, make_cache: MakeCache) -> None:
    dead = f"tcp:127.0.0.1:{free_port()}"
    for _ in range(4):  # whichever is tried first
        cache = synced(make_cache(dead, sb.remote))
        assert cache.remote == sb.remote
        assert_same(cache, sb)


def test_unreachable_remotes_are_tried_with_back_off(tmp_path: Path, make_cache: MakeCache) -> None:
    cache = make_cache(f"unix:{tmp_path}/none.sock", f"tcp:127.0.0.1:{free_port()}")
    wakes = 0
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert cache.run() == {}
        poller = ovs.poller.Poller()
        cache.wait(poller)
        poller.timer_wait(500)
        poller.block()
        wakes += 1
    assert wakes < 40, "no busy loop"
    assert not cache.connected and not cache.has_ever_connected


def test_server_that_appears_later_is_found(tmp_path: Path, make_cache: MakeCache) -> None:
    server = OvsdbServer(tmp_path)
    cache = make_cache(server.remote)
    for _ in range(3):
        cache.run()
    with server:
        synced(cache)


def test_other_remotes_replace_the_connection_only_if_need_be(
    sb: OvsdbServer, tmp_path: Path, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    cache.set_remotes([f"unix:{tmp_path}/none.sock", sb.remote])
    cache.run()
    assert cache.connected and cache.statistics.loads == 1
    with OvsdbServer(tmp_path / "other") as other:
        sbctl(other, "init")
        add_sets(other, 7)
        before = snapshot(cache)
        cache.set_remotes([other.remote])
        changes = pump_changes(cache, lambda: names(cache) == {"as7"})
        assert_leads(before, changes, cache)
        assert_same(cache, other)
        cache.set_remotes([])
        pump(cache, lambda: not cache.connected)
        cache.set_remotes([sb.remote])
        pump(cache, lambda: cache.synced)
        assert_same(cache, sb)


def test_data_on_its_way_does_not_keep_a_connection_that_is_to_be_replaced(
    sb: OvsdbServer, tmp_path: Path, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    with OvsdbServer(tmp_path / "other") as other:
        sbctl(other, "init")
        add_sets(other, 7)
        add_sets(sb, 1)
        poller = ovs.poller.Poller()
        cache.wait(poller)
        poller.block()  # until the update of as1 can be read
        cache.set_remotes([other.remote])
        pump(cache, lambda: names(cache) == {"as7"})
        assert_same(cache, other)


def test_servers_without_conditional_monitoring(sb: OvsdbServer, make_cache: MakeCache) -> None:
    sb.appctl("ovsdb-server/disable-monitor-cond")
    add_sets(sb, 1, 2, 3)
    cache = make_cache(sb.remote)
    cache.set_conditions({AddressSet: False})
    synced(cache)
    before = snapshot(cache)
    assert_same(cache, sb)
    change_everything(sb)
    changes = pump_changes(
        cache,
        lambda: (
            names(cache) == {"as2", "as3", "as4"}
            and any("10.9.9.9" in row.addresses for row in cache.table(AddressSet).values())
        ),
    )
    assert_leads(before, changes, cache)
    assert_same(cache, sb)


def test_converted_database_is_monitored_by_its_new_schema(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    schema = sb_schema()
    old_columns = schema["tables"]["FDB"]["columns"]
    with OvsdbServer(tmp_path) as sb:
        sbctl(sb, "init")
        sbctl(sb, "create", "FDB", "mac=aa", "dp_key=1", "port_key=2")
        cache = synced(make_cache(sb.remote))
        before = snapshot(cache)
        assert next(iter(cache.table(FDB).values())).timestamp == 0
        old_columns["timestamp"] = {"type": "integer"}
        schema["version"] = "20.99.0"
        path = write_schema(tmp_path / "new.ovsschema", schema)
        run_tool("ovsdb-client", "convert", sb.remote, path)
        run_tool(
            "ovsdb-client", "transact", sb.remote,
            json.dumps(["OVN_Southbound", {
                "op": "update", "table": "FDB", "where": [], "row": {"timestamp": 5},
            }]),
        )  # fmt: skip
        changes = pump_changes(cache, lambda: next(iter(cache.table(FDB).values())).timestamp == 5)
        assert cache.schema_version == "20.99.0" and set(changes) == {"FDB"}
        assert_leads(before, changes, cache)


def test_cluster_members_come_and_go(tmp_path: Path, make_cache: MakeCache) -> None:
    first = ClusterServer(tmp_path, "sb1")
    second = ClusterServer(tmp_path, "sb2", first)
    third = ClusterServer(tmp_path, "sb3", first)
    with first, second, third:
        members = {server.remote: server for server in (first, second, third)}
        sbctl(first, "init")
        cache = synced(make_cache(*members))
        victim = members.pop(cache.remote)
        victim.stop()
        before = snapshot(cache)
        changes = pump_changes(cache, lambda: cache.synced and cache.remote in members)
        assert_leads(before, changes, cache)

        def written() -> bool:
            # A new leader may have to be elected first.
            transaction = Transaction()
            transaction.insert(AddressSet, name="as1")
            pending = cache.transact(transaction)
            pump(cache, lambda: pending.done)
            assert pending.ok or pending.retryable or "constraint" in pending.error, str(pending)
            return names(cache) == {"as1"}

        wait_until(written, "a write through the rest of the cluster")

        # Without a majority a member is of no use, though it still answers.
        other = next(server for remote, server in members.items() if remote != cache.remote)
        left = members[cache.remote]
        other.stop()
        pump(cache, lambda: not cache.synced)
        wait_until(lambda: cache.run() is not None and "disconnected" in cache.detail)
        assert names(cache) == {"as1"}
        other.start()
        pump(cache, lambda: cache.synced)
        assert_same(cache, left)


def test_stale_cluster_member_is_refused_until_reset(tmp_path: Path, make_cache: MakeCache) -> None:
    with ClusterServer(tmp_path / "new") as new:
        sbctl(new, "init")
        add_sets(new, *range(1, 9))
        cache = synced(make_cache(new.remote))
        with ClusterServer(tmp_path / "old") as old:
            sbctl(old, "init")
            cache.set_remotes([old.remote])
            pump(cache, lambda: "stale" in cache.detail)
            assert len(cache.table(AddressSet)) == 8 and not cache.synced
            cache.reset_cluster_state()
            pump(cache, lambda: cache.synced)
            assert_same(cache, old)


def test_server_without_our_database_is_not_used(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = make_cache(sb.remote, database="OVN_Nowhere")
    pump(cache, lambda: "does not have OVN_Nowhere" in cache.detail)
    assert not cache.synced


@pytest.mark.parametrize("tables", [(SBGlobal,), ()])
def test_only_the_tables_asked_for_are_loaded(
    sb: OvsdbServer, make_cache: MakeCache, tables: tuple[type, ...]
) -> None:
    add_sets(sb, 1)
    cache = synced(make_cache(sb.remote, tables=tables))
    assert cache.row_count == len(tables)
