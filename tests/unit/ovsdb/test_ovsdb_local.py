# SPDX-License-Identifier: Apache-2.0
"""LocalDatabase beside a real ovsdb-server and ovs-vsctl."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.local_tables import (
    LOCAL,
    SSL,
    Bridge,
    Datapath,
    Interface,
    OpenVSwitch,
    Port,
)
from ovn_bpf_controller.ovsdb.transact import Status
from tests.support import debian
from tests.support.ovsdb import LocalServer, OvsdbServer
from tests.support.pump import pump
from tests.support.sb_truth import as_plain, server_rows


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    with LocalServer(tmp_path) as running:
        running.vsctl("add-br", "br-int")
        running.vsctl("add-port", "br-int", "p1")
        running.vsctl("set", "Interface", "p1", "external_ids:iface-id=lsp1")
        yield running


@pytest.fixture
def database(server: LocalServer) -> Iterator[LocalDatabase]:
    with_contents = LocalDatabase(server.remote)
    pump(with_contents, lambda: with_contents.synced)
    yield with_contents
    with_contents.close()


def interface(database: LocalDatabase, name: str = "p1") -> Interface | None:
    return next((i for i in database.table(Interface).values() if i.name == name), None)


def the(row: Interface | None) -> Interface:
    assert row is not None
    return row


def test_rows_are_typed_and_follow_ovs_vsctl(server: LocalServer, database: LocalDatabase) -> None:
    row = database.open_vswitch
    assert row is not None and row.ovs_version is None and row.external_ids == {}
    bridge = database.bridge("br-int")
    assert bridge is not None and database.bridges() == [bridge] and row.bridges == (bridge.uuid,)
    assert [port.name for port in database.ports(bridge)] == ["br-int", "p1"]
    iface = the(interface(database))
    assert iface in database.interfaces(bridge)
    assert iface.ofport is None and iface.external_ids == {"iface-id": "lsp1"}
    server.vsctl("set", "Interface", "p1", "ofport=7", "options:a=b", "mtu=1400")
    pump(database, lambda: the(interface(database)).ofport == 7)
    assert the(interface(database)).options == {"a": "b"} and the(interface(database)).mtu == 1400
    assert iface.ofport is None, "rows never change"
    server.vsctl("del-port", "p1")
    pump(database, lambda: interface(database) is None)
    assert database.bridge("br-none") is None


def test_external_ids_prefer_the_chassis_own(server: LocalServer, database: LocalDatabase) -> None:
    server.vsctl("set", "Open_vSwitch", ".", "external_ids:k=all", "external_ids:k-hv1=mine")
    pump(database, lambda: database.external_id("k"))
    assert database.external_id("k") == "all"
    assert database.external_id("k", chassis="hv1") == "mine"
    assert database.external_id("k", chassis="hv2") == "all"
    assert database.external_id("none", "default", chassis="hv2") == "default"


def test_ssl_row(server: LocalServer, database: LocalDatabase) -> None:
    assert database.ssl is None
    server.vsctl("--bootstrap", "set-ssl", "/k.pem", "/c.pem", "/ca.pem")
    pump(database, lambda: database.ssl)
    assert database.ssl == SSL(
        next(iter(database.table(SSL))), "/k.pem", "/c.pem", "/ca.pem", bootstrap_ca_cert=True
    )
    server.vsctl("del-ssl")
    pump(database, lambda: database.ssl is None)


def test_transaction_sets_what_differs(server: LocalServer, database: LocalDatabase) -> None:
    iface = the(interface(database))
    row = database.open_vswitch
    assert row is not None
    with database.transaction("a test") as txn:
        txn.set(Interface, iface.uuid, ofport=3, link_state="up", mtu=None)
        txn.set_keys(Interface, iface.uuid, "external_ids", {"ovn-installed": "true"})
        txn.set(OpenVSwitch, row.uuid, iface_types=("tap", "internal"), cur_cfg=4, ovs_version="3")
    pump(database, lambda: txn.pending.done)
    assert txn.pending.status is Status.SUCCESS
    now = the(interface(database))
    assert (now.ofport, now.link_state) == (3, "up")
    assert now.external_ids == {"iface-id": "lsp1", "ovn-installed": "true"}
    assert server.vsctl("get", "Interface", "p1", "ofport") == "3"
    assert server.vsctl("get", "Open_vSwitch", ".", "iface_types") == "[internal, tap]"

    with database.transaction() as txn:
        txn.set(Interface, iface.uuid, ofport=3, mtu=None)
        txn.set_keys(Interface, iface.uuid, "external_ids", {"iface-id": "lsp1", "gone": None})
        txn.set(OpenVSwitch, row.uuid, iface_types=["internal", "tap"])
    pump(database, lambda: txn.pending.done)
    assert txn.pending.status is Status.UNCHANGED

    with database.transaction() as txn:
        txn.set(Interface, iface.uuid, ofport=None)
        txn.set_keys(Interface, iface.uuid, "external_ids", {"ovn-installed": None})
    pump(database, lambda: txn.pending.done)
    now = the(interface(database))
    assert now.ofport is None and now.external_ids == {"iface-id": "lsp1"}


def test_bridge_with_its_port_is_created_and_removed(
    server: LocalServer, database: LocalDatabase
) -> None:
    row = database.open_vswitch
    assert row is not None
    with database.transaction() as txn:
        iface = txn.insert(Interface, name="br-new", type="internal")
        port = txn.insert(Port, name="br-new", interfaces=[iface])
        bridge = txn.insert(
            Bridge, name="br-new", ports=[port], fail_mode="secure", other_config={"a": "b"}
        )
        txn.add(OpenVSwitch, row.uuid, "bridges", bridge)
    # Somebody else's bridge of the same moment must survive.
    server.vsctl("add-br", "br-other")
    pump(database, lambda: txn.pending.done and len(database.bridges()) == 3)
    assert txn.pending.ok
    made = database.bridge("br-new")
    assert made is not None and made.fail_mode == "secure" and made.other_config == {"a": "b"}
    assert server.vsctl("list-br").split() == ["br-int", "br-new", "br-other"]
    with database.transaction() as txn:
        txn.remove(OpenVSwitch, row.uuid, "bridges", made.uuid)
    pump(database, lambda: txn.pending.done and database.bridge("br-new") is None)
    assert server.vsctl("list-br").split() == ["br-int", "br-other"]


def test_a_row_that_has_only_defaults_is_made(server: LocalServer, database: LocalDatabase) -> None:
    row = database.open_vswitch
    assert row is not None
    with database.transaction() as txn:
        made = txn.insert(Datapath, datapath_version="")
        txn.set_keys(OpenVSwitch, row.uuid, "datapaths", {"system": made})
    pump(database, lambda: txn.pending.done)
    assert txn.pending.ok, txn.pending
    assert server.vsctl("get", "Open_vSwitch", ".", "datapaths").startswith("{system=")


def test_two_transactions_in_flight(database: LocalDatabase) -> None:
    uuid = the(interface(database)).uuid
    with database.transaction() as one:
        one.set(Interface, uuid, ofport=1)
    with database.transaction() as two:
        two.set(Interface, uuid, mtu=1500)
    pump(database, lambda: one.pending.done and two.pending.done)
    assert (the(interface(database)).ofport, the(interface(database)).mtu) == (1, 1500)


def test_refused_transaction_tells_why(database: LocalDatabase) -> None:
    with database.transaction() as txn:
        iface = txn.insert(Interface, name="dangling")
        port = txn.insert(Port, name="p1", interfaces=[iface])
        bridge = database.bridge("br-int")
        assert bridge is not None
        txn.add(Bridge, bridge.uuid, "ports", port)
    pump(database, lambda: txn.pending.done)
    assert txn.pending.status is Status.ERROR and "p1" in txn.pending.details


def test_abandoned_transaction_changes_nothing(database: LocalDatabase) -> None:
    uuid = the(interface(database)).uuid
    with pytest.raises(RuntimeError), database.transaction() as txn:
        txn.set(Interface, uuid, ofport=1)
        raise RuntimeError("in the middle")
    assert txn.pending.done
    database.run()
    assert the(interface(database)).ofport is None


def test_rows_are_what_the_server_has(server: LocalServer, database: LocalDatabase) -> None:
    """ovsdb-client reads the same."""
    server.vsctl(
        "set", "Port", "p1", "tag=5", "trunks=[3,1,2]", "vlan_mode=access", "external_ids:a=b",
        "--", "set", "Interface", "p1", "mtu_request=1400", "options:key=flow", "ofport_request=9",
        "--", "set", "Open_vSwitch", ".", "datapath_types=[system,netdev]",
        "--", "--id=@d", "create", "Datapath", "datapath_version=7",
        "--", "set", "Open_vSwitch", ".", "datapaths:system=@d",
        "--", "--id=@m", "create", "Mirror", "name=m", "--", "set", "Bridge", "br-int",
        "mirrors=@m", "--", "set-ssl", "/key", "/cert", "/ca",
    )  # fmt: skip
    pump(database, lambda: database.ssl is not None)
    compared = 0
    for table in LOCAL:
        there, here = server_rows(server, table.TABLE), database.table(table)
        assert set(here) == set(there), table.TABLE
        for uuid, columns in there.items():
            for name in set(columns) & set(table.__slots__):
                assert as_plain(here[uuid], name, columns[name]) == columns[name], (table, name)
                compared += columns[name] not in ([], {}, "")
    assert compared >= 30


def test_rows_say_nothing_of_an_open_transaction(database: LocalDatabase) -> None:
    iface = the(interface(database))
    with pytest.raises(RuntimeError), database.transaction() as txn:
        txn.set(Interface, iface.uuid, ofport=8)
        txn.set(Interface, iface.uuid, ofport=None)
        txn.set(Interface, iface.uuid, ofport=9)
        txn.insert(Port, name="p2")
        assert the(interface(database)).ofport is None
        assert {port.name for port in database.table(Port).values()} == {"br-int", "p1"}
        raise RuntimeError("in the middle")
    with database.transaction() as txn:
        txn.set(Interface, iface.uuid, ofport=8)
        txn.set(Interface, iface.uuid, ofport=None)
    pump(database, lambda: txn.pending.done)
    assert the(interface(database)).ofport is None


def test_no_transaction_before_the_contents_are_there(tmp_path: Path) -> None:
    database = LocalDatabase(f"unix:{tmp_path}/none.sock")
    assert not database.synced and not database.connected
    assert database.open_vswitch is None and database.bridges() == []
    assert database.external_id("k", "default") == "default"
    with pytest.raises(DatabaseError, match="not there yet"):
        database.transaction()
    database.close()
    with pytest.raises(DatabaseError, match="not a valid OVSDB remote"):
        LocalDatabase("nonsense")


def test_empty_database_is_synced_without_a_row(tmp_path: Path) -> None:
    server = LocalServer(tmp_path)
    OvsdbServer.start(server)
    with server:
        database = LocalDatabase(server.remote)
        pump(database, lambda: database.synced)
        assert database.open_vswitch is None
        server.vsctl("init")
        pump(database, lambda: database.open_vswitch)
        database.close()


def test_restarted_server_is_found_again(server: LocalServer, database: LocalDatabase) -> None:
    server.stop()
    pump(database, lambda: not database.connected)
    assert interface(database) is not None, "rows stay while there is no server"
    with database.transaction() as txn:
        txn.set(Interface, the(interface(database)).uuid, ofport=1)
    assert txn.pending.done and txn.pending.retryable
    server.start()
    server.vsctl("add-port", "br-int", "p2")
    pump(database, lambda: database.connected and interface(database, "p2"))
    with database.transaction() as txn:
        txn.set(Interface, the(interface(database)).uuid, ofport=1)
    pump(database, lambda: txn.pending.done)
    assert txn.pending.ok


def test_lock_is_ours_passed_on_and_taken_over(
    server: LocalServer, database: LocalDatabase
) -> None:
    other = LocalDatabase(server.remote)
    both = [database, other]
    pump(other, lambda: other.synced)
    assert not database.has_lock and not database.lock_contended
    database.set_lock("ovs_vswitchd")
    pump(both, lambda: database.has_lock)
    other.set_lock("ovs_vswitchd")
    pump(both, lambda: other.lock_contended)
    assert database.has_lock and not other.has_lock
    # Writing is not what the lock is about: see lock.py.
    with other.transaction() as txn:
        txn.set(Interface, the(interface(other)).uuid, mtu=9000)
    pump(both, lambda: txn.pending.done)
    assert txn.pending.ok
    database.set_lock(None)
    pump(both, lambda: other.has_lock)
    assert not database.has_lock and not other.lock_contended
    database.set_lock("ovs_vswitchd")
    pump(both, lambda: database.lock_contended)
    other.close()
    pump(database, lambda: database.has_lock)
    server.stop()
    pump(database, lambda: not database.has_lock)
    server.start()
    pump(database, lambda: database.has_lock)


def test_lock_of_a_real_ovs_vswitchd_is_respected(
    tmp_path: Path, server: LocalServer, database: LocalDatabase
) -> None:
    environment = os.environ | {"OVS_RUNDIR": str(tmp_path), "OVS_LOGDIR": str(tmp_path)}
    vswitchd = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "ovs-vswitchd", "--no-chdir", "--disable-system",
         f"--unixctl={tmp_path}/vswitchd.ctl", "-vconsole:off", "-vsyslog:off", server.remote],
        env=environment,
    )  # fmt: skip
    try:
        pump(database, lambda: database.open_vswitch and database.open_vswitch.iface_types)
        database.set_lock("ovs_vswitchd")
        pump(database, lambda: database.lock_contended)
        assert not database.has_lock
    finally:
        vswitchd.kill()
        vswitchd.wait(20)
    pump(database, lambda: database.has_lock)


#: Answers to what LocalDatabase asks first; the schema's columns are of no known type.
SENSELESS = (
    b'{"id":1,"error":{"error":"unknown database"},"result":null}'
    b'{"id":2,"error":null,"result":{"name":"Open_vSwitch","version":"1","tables":{"Bridge":'
    b'{"columns":{"name":{"type":"nonsense"}}}}}}{"id":3,"error":null,"result":[false,"x",{"Bridge":7}]}'
)


def test_garbage_from_the_local_server_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "raw.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        listener.setblocking(False)
        database = LocalDatabase(f"unix:{path}")
        answers = 0
        deadline = time.monotonic() + 3

        def serve() -> bool:
            nonlocal answers
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                return time.monotonic() > deadline
            client.sendall(SENSELESS)
            clients.append(client)
            answers += 1
            return False

        clients: list[socket.socket] = []
        pump(database, serve, recheck=100)
        assert 1 <= answers < 20 and not database.synced
        database.close()
        for client in clients:
            client.close()


def test_the_same_with_debians_libraries(tmp_path: Path) -> None:
    # The package depends on python3-openvswitch 3.1, whose API is older than PyPI's.
    arguments = ("-q", "-p", "no:cacheprovider", "-n", "0", __file__, "-k", "not debian")
    with tempfile.TemporaryDirectory() as short:  # names of sockets must be
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, "--basetemp", f"{short}/t"],
            env=os.environ | {"PYTHONPATH": debian.python_path(tmp_path)},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 0, done.stdout
