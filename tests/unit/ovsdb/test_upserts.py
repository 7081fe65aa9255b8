# SPDX-License-Identifier: Apache-2.0
"""Wishes for rows, against a real server: bounded, in order, and each for itself."""

from __future__ import annotations

from ovn_bpf_controller.binding.writer import now_ms
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import FDB
from ovn_bpf_controller.ovsdb.transact import Transaction
from ovn_bpf_controller.upserts import MOST, Upserts
from tests.support.ovsdb import OvsdbServer
from tests.support.pump import pump
from tests.support.sb_truth import MakeCache, synced

BAD = 1 << 24  # no datapath's key: the server's schema refuses it


def add(txn: Transaction, dp: int, port: int) -> None:
    txn.insert(FDB, dp_key=dp, mac="0e:00:00:00:00:01", port_key=port)


def settle(cache: SouthboundCache, wishes: Upserts[int, int]) -> None:
    def done() -> bool:
        wishes.run(now_ms(), add)
        return not wishes

    pump(cache, done)


def ports(cache: SouthboundCache) -> dict[int, int]:
    return {row.dp_key: row.port_key for row in cache.table(FDB).values()}


def test_what_the_server_refuses_costs_itself_only(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    wishes: Upserts[int, int] = Upserts(cache, "FDB")
    for dp in (1, BAD, 2):
        wishes.wish(dp, 7, now_ms())
    settle(cache, wishes)
    assert ports(cache) == {1: 7, 2: 7}


def test_the_later_of_two_wishes_counts_whichever_comes_first(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    wishes: Upserts[int, int] = Upserts(cache, "FDB")
    for dp, orders in ((1, (10, 20)), (2, (20, 10))):
        for order in orders:
            wishes.wish(dp, order, now_ms(), order)
    settle(cache, wishes)
    assert ports(cache) == {1: 20, 2: 20}


def test_there_are_not_more_than_so_many(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    wishes: Upserts[int, int] = Upserts(cache, "FDB")
    for dp in range(1, MOST + 1):
        wishes.wish(dp, 1, now_ms())
    assert not wishes.overflowed
    wishes.wish(MOST + 1, 1, now_ms())
    wishes.wish(1, 2, now_ms())
    assert wishes.overflowed and not wishes.overflowed
    settle(cache, wishes)
    assert ports(cache) == {1: 2} | {dp: 1 for dp in range(2, MOST + 1)}


def test_nothing_is_written_before_its_time(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    wishes: Upserts[int, int] = Upserts(cache, "FDB")
    due = now_ms() + 200
    wishes.wish(1, 1, due)
    wishes.wish(1, 2, due + 60_000)  # the first one's time stays
    settle(cache, wishes)
    assert now_ms() >= due and ports(cache) == {1: 2}
