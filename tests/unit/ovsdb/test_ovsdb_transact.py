# SPDX-License-Identifier: Apache-2.0
"""Transactions on a real server: done, refused, forbidden, read-only, lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import (
    FDB,
    AddressSet,
    Chassis,
    ECMPNexthop,
    Encap,
    MACBinding,
    PortBinding,
    SBGlobal,
)
from ovn_bpf_controller.ovsdb.tls import TlsFiles, configure
from ovn_bpf_controller.ovsdb.transact import Pending, Status, Transaction
from tests.support.certs import Authority
from tests.support.ovsdb import OvnCentral, OvsdbServer, wait_until
from tests.support.pump import pump
from tests.support.sb_truth import MakeCache, assert_same, sbctl, server_rows, synced


def done(cache: SouthboundCache, transaction: Transaction) -> Pending:
    """The outcome; the cache has seen its effects by then."""
    pending = cache.transact(transaction)
    pump(cache, lambda: pending.done)
    return pending


def register(cache: SouthboundCache, name: str = "hv1", ip: str = "10.0.0.1") -> Pending:
    """What binding does first: a Chassis with its Encap."""
    transaction = Transaction(f"registering {name}")
    encap = transaction.insert(Encap, type="geneve", ip=ip, chassis_name=name)
    transaction.insert(Chassis, name=name, hostname=name, encaps=[encap], other_config={"a": "1"})
    return done(cache, transaction)


def test_insert_update_mutate_delete(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    pending = register(cache)
    assert pending.status is Status.SUCCESS and pending.ok and not pending.error
    # An update comes before the reply: the effects are there with the outcome.
    ((uuid, chassis),) = cache.table(Chassis).items()
    ((encap, _),) = cache.table(Encap).items()
    assert set(pending.uuids.values()) == {uuid, encap} and chassis.encaps == (encap,)
    assert_same(cache, sb)

    change = Transaction().set_keys(Chassis, uuid, "other_config", {"a": "2", "b": "3"})
    change.update(Chassis, uuid, hostname="other", transport_zones=["z2", "z1"])
    change.mutate(Chassis, uuid, "vtep_logical_switches", "insert", ["v1"])
    assert done(cache, change).ok
    row = cache.table(Chassis)[uuid]
    assert row.other_config == {"a": "2", "b": "3"} and row.hostname == "other"
    assert row.transport_zones == ("z1", "z2") and row.vtep_logical_switches == ("v1",)
    sbctl(sb, "set", "Chassis", uuid, "external_ids:neutron=kept")
    change = Transaction().mutate(Chassis, uuid, "other_config", "delete", ["a", "nothing"])
    change.mutate(Chassis, uuid, "transport_zones", "delete", ["z1"])
    assert done(cache, change).ok
    row = cache.table(Chassis)[uuid]
    assert row.other_config == {"b": "3"} and row.external_ids == {"neutron": "kept"}
    assert_same(cache, sb)

    assert done(cache, Transaction().delete(Chassis, uuid)).ok
    assert not cache.table(Chassis) and not cache.table(Encap), "the server collects the Encap"
    assert done(cache, Transaction().delete(Chassis, uuid)).ok, "deleting twice is no error"


def test_nothing_to_do_is_unchanged(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    (uuid,) = cache.table(SBGlobal)
    for transaction in (
        Transaction("only a comment"),
        Transaction().update(SBGlobal, uuid, nb_cfg_timestamp=5),  # not in this schema
        Transaction().update(ECMPNexthop, uuid, nexthop="x"),
    ):
        pending = cache.transact(transaction)
        assert pending.status is Status.UNCHANGED and pending.ok
    assert not Transaction("only a comment") and Transaction().delete(SBGlobal, uuid)


def test_columns_that_the_server_lacks_are_left_out(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    transaction = Transaction()
    transaction.insert(AddressSet, name="as1", options={"not": "here"})
    assert done(cache, transaction).ok and cache.table(AddressSet)


def test_wait_guards_against_changes_of_others(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    (uuid,) = cache.table(SBGlobal)
    guarded = Transaction().wait(SBGlobal, uuid, nb_cfg=0).update(SBGlobal, uuid, ipsec=True)
    assert done(cache, guarded).ok
    sbctl(sb, "set", "SB_Global", ".", "nb_cfg=5")
    pending = done(cache, guarded)
    assert pending.error == "timed out" and pending.retryable and not pending.ok
    assert done(cache, Transaction().wait(SBGlobal, uuid, until="!=", nb_cfg=0)).ok


def test_constraint_violation_is_no_reason_to_retry(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    assert register(cache, "hv1").ok
    pending = register(cache, "hv2")
    assert pending.status is Status.ERROR and pending.error == "constraint violation"
    assert "geneve" in pending.details and not pending.retryable
    assert not pending.permission_denied and "constraint violation" in str(pending)
    assert len(cache.table(Chassis)) == 1


def test_value_that_does_not_fit_is_an_error_at_once(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    (uuid,) = cache.table(SBGlobal)
    pending = cache.transact(Transaction().update(SBGlobal, uuid, nb_cfg="five"))
    assert pending.status is Status.ERROR and not pending.retryable
    assert "'five' is no integer" in pending.details


def test_many_transactions_in_flight(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    pendings = []
    for number in range(200):
        transaction = Transaction()
        row = transaction.insert(AddressSet, name=f"as{number}")
        pendings.append((cache.transact(transaction), row, number))
    pump(cache, lambda: all(pending.done for pending, _, _ in pendings))
    for pending, row, number in pendings:
        assert cache.table(AddressSet)[pending.uuid(row)].name == f"as{number}"


@pytest.fixture
def connection_sb(tmp_path: Path) -> OvsdbServer:
    """A Southbound whose remotes come from its Connection table."""
    return OvsdbServer(tmp_path / "sb", extra=["--remote=db:OVN_Southbound,SB_Global,connections"])


def test_read_only_remote_is_a_reason_to_retry(
    connection_sb: OvsdbServer, make_cache: MakeCache
) -> None:
    with connection_sb as sb:
        sbctl(sb, "init", "--", "set-connection", "read-only", "ptcp:0:127.0.0.1")
        port = sb.wait_log(r"listening on port (\d+)")[1]
        cache = synced(make_cache(f"tcp:127.0.0.1:{port}"))
        pending = register(cache)
        assert pending.status is Status.ERROR and pending.error == "not allowed"
        assert pending.retryable and not pending.permission_denied
        assert cache.synced and not cache.table(Chassis), "reading goes on"


def test_standby_server_is_read_until_it_becomes_active(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    with OvsdbServer(tmp_path / "a") as active, OvsdbServer(tmp_path / "b") as standby:
        sbctl(active, "init")
        standby.appctl("ovsdb-server/set-active-ovsdb-server", active.remote)
        standby.appctl("ovsdb-server/connect-active-ovsdb-server")
        wait_until(lambda: server_rows(standby, "SB_Global"), "replication")
        cache = synced(make_cache(standby.remote))
        pending = register(cache)
        assert pending.error == "not allowed" and pending.retryable
        standby.appctl("ovsdb-server/disconnect-active-ovsdb-server")
        pump(cache, lambda: cache.synced)
        assert register(cache).ok and cache.table(Chassis)


def learn(cache: SouthboundCache, port: PortBinding, chassis: str) -> None:
    """What a chassis writes of what it learns, with every column that it ever writes."""
    columns = {"logical_port": "lrp", "ip": "10.0.0.9"}
    insert = Transaction().absent(MACBinding, **columns)
    mac = {"mac": "0e:00:00:00:00:09", "timestamp": 1}
    insert.insert(MACBinding, **columns, **mac, datapath=port.datapath)
    where = {"dp_key": 1, "mac": "0e:00:00:00:00:09"}
    insert.absent(FDB, **where)
    insert.insert(FDB, **where, port_key=1, timestamp=1)
    assert done(cache, insert).ok
    (binding,), (station,) = cache.table(MACBinding), cache.table(FDB)
    change = Transaction().update(MACBinding, binding, mac="0e:00:00:00:00:0a", timestamp=2)
    change.update(FDB, station, port_key=2)
    change.update(PortBinding, port.uuid, chassis=chassis, virtual_parent="vm1")
    change.set_keys(PortBinding, port.uuid, "options", {"additional-chassis-activated": "hv1"})
    assert done(cache, change).ok
    assert cache.table(PortBinding)[port.uuid].virtual_parent == "vm1"


def test_absent_refuses_what_another_client_made(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    where = {"dp_key": 1, "mac": "0e:00:00:00:00:09"}
    for port in (1, 2):
        transaction = Transaction().absent(FDB, **where)
        transaction.insert(FDB, **where, port_key=port)
        pending = done(cache, transaction)
        assert pending.ok is (port == 1)
    assert pending.error == "timed out" and pending.retryable
    assert [row.port_key for row in cache.table(FDB).values()] == [1]


def test_rbac_role_forbids_what_is_not_the_chassis_own(
    tmp_path: Path, make_cache: MakeCache
) -> None:
    ca = Authority(tmp_path / "ca")
    extra = [*ca.server_options(), "--remote=db:OVN_Southbound,SB_Global,connections"]
    with OvnCentral(tmp_path, sb_extra=extra) as central:
        central.nbctl("ls-add", "sw0", "--", "lsp-add", "sw0", "p1")
        central.sync()
        central.sbctl("set-connection", "role=ovn-controller", "pssl:0:127.0.0.1")
        port = central.sb.wait_log(r"listening on port (\d+)")[1]
        pem = ca.issue("hv1")
        configure(TlsFiles(str(pem.key), str(pem.cert), str(ca.pem.cert)))
        try:
            cache = synced(make_cache(f"ssl:127.0.0.1:{port}"))
            pending = register(cache, "hv2", "10.0.0.2")
            assert pending.permission_denied and not pending.retryable, str(pending)
            assert register(cache, "hv1").ok
            (uuid,) = cache.table(Chassis)
            (binding,) = cache.table(PortBinding)
            claim = Transaction().update(PortBinding, binding, chassis=uuid)
            assert done(cache, claim).ok
            pending = done(cache, Transaction().update(PortBinding, binding, tunnel_key=9))
            assert pending.permission_denied and "RBAC" in pending.details
            release = Transaction().update(PortBinding, binding, chassis=None)
            assert done(cache, release).ok
            assert cache.table(PortBinding)[binding].chassis is None
            learn(cache, cache.table(PortBinding)[binding], uuid)
        finally:
            configure(TlsFiles())
