# SPDX-License-Identifier: Apache-2.0
"""ssl: remotes with real certificates: right, wrong, missing, to be bootstrapped."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import ovs.poller
import pytest

from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.tables import AddressSet
from ovn_bpf_controller.ovsdb.tls import TlsFiles, configure
from ovn_bpf_controller.plaindata import replace
from tests.support.certs import Authority
from tests.support.ovsdb import OVS_SCHEMA, OvsdbServer
from tests.support.pump import pump
from tests.support.sb_truth import MakeCache, assert_same, sbctl, synced


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def server(tmp_path: Path, ca: Authority) -> Iterator[OvsdbServer]:
    """A Southbound with TLS keys; listen("pssl") makes it listen."""
    with OvsdbServer(tmp_path / "sb", extra=ca.server_options()) as running:
        sbctl(running, "init")
        yield running


@pytest.fixture
def files(ca: Authority) -> Iterator[TlsFiles]:
    """The client's files, configured; taken back at the end."""
    pem = ca.issue("hv1")
    made = TlsFiles(str(pem.key), str(pem.cert), str(ca.pem.cert))
    configure(made)
    yield made
    configure(TlsFiles())


def test_contents_and_changes_come_over_tls(
    server: OvsdbServer, files: TlsFiles, make_cache: MakeCache
) -> None:
    # More than a socket buffer and than one TLS record in either direction.
    for name in ("a", "b"):
        addresses = ",".join(f'"10.{i >> 8}.{i & 255}.1"' for i in range(6000))
        sbctl(server, "create", "Address_Set", f"name={name}", f"addresses={addresses}")
    cache = synced(make_cache(f"ssl:127.0.0.1:{server.listen('pssl')}"))
    assert_same(cache, server)
    sbctl(server, "create", "Address_Set", "name=c")
    pump(cache, lambda: len(cache.table(AddressSet)) == 3)
    cache.force_reconnect()
    pump(cache, lambda: not cache.connected)
    pump(cache, lambda: cache.synced)
    assert_same(cache, server)


def test_tls_over_ipv6(server: OvsdbServer, files: TlsFiles, make_cache: MakeCache) -> None:
    port = server.listen("pssl", "[::1]")
    synced(make_cache(f"ssl:[::1]:{port}"))


def test_server_of_another_authority_is_refused(
    tmp_path: Path, server: OvsdbServer, files: TlsFiles, make_cache: MakeCache
) -> None:
    other = Authority(tmp_path / "other", "other")
    configure(replace(files, ca_cert=str(other.pem.cert)))
    cache = make_cache(f"ssl:127.0.0.1:{server.listen('pssl')}")
    pump(cache, lambda: "certificate verify failed" in cache.detail)
    assert not cache.has_ever_connected


def test_client_of_another_authority_is_refused(
    tmp_path: Path, server: OvsdbServer, files: TlsFiles, make_cache: MakeCache
) -> None:
    pem = Authority(tmp_path / "other", "other").issue("hv1")
    configure(replace(files, private_key=str(pem.key), certificate=str(pem.cert)))
    cache = make_cache(f"ssl:127.0.0.1:{server.listen('pssl')}")
    deadline = time.monotonic() + 3
    pump(cache, lambda: time.monotonic() > deadline, recheck=200)
    assert not cache.synced


@pytest.mark.parametrize("missing", ["private_key", "certificate", "ca_cert"])
def test_missing_files_are_named_and_waited_for(
    server: OvsdbServer, files: TlsFiles, make_cache: MakeCache, missing: str
) -> None:
    port = server.listen("pssl")
    paths = {name: getattr(files, name) for name in ("private_key", "certificate", "ca_cert")}
    configure(TlsFiles(**(paths | {missing: ""})))
    cache = make_cache(f"ssl:127.0.0.1:{port}")
    pump(cache, lambda: "must be configured" in cache.detail)
    configure(TlsFiles(**(paths | {missing: "/nonexistent"})))
    pump(cache, lambda: "No such file" in cache.detail)
    configure(files)
    synced(cache)


def test_ca_certificate_is_bootstrapped_once(
    tmp_path: Path, server: OvsdbServer, files: TlsFiles, ca: Authority, make_cache: MakeCache
) -> None:
    path = tmp_path / "fetched.pem"
    configure(replace(files, ca_cert=str(path), bootstrap=True))
    remote = f"ssl:127.0.0.1:{server.listen('pssl')}"
    synced(make_cache(remote))
    assert path.read_text().split() == ca.pem.cert.read_text().split()
    # From now on it is what peers must be signed by.
    wrong = Authority(tmp_path / "other", "other").pem.cert.read_text()
    path.write_text(wrong)
    cache = make_cache(remote)
    pump(cache, lambda: "certificate verify failed" in cache.detail)
    assert path.read_text() == wrong


@pytest.mark.parametrize("greeting", [b"", b"garbage that is no TLS record\r\n"])
def test_peer_that_does_not_speak_tls(
    files: TlsFiles, make_cache: MakeCache, greeting: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        cache = make_cache(f"ssl:127.0.0.1:{listener.getsockname()[1]}")
        cache.run()
        with listener.accept()[0] as peer:
            peer.sendall(greeting)
            wakes, deadline = 0, time.monotonic() + 1.5
            while time.monotonic() < deadline:
                cache.run()
                poller = ovs.poller.Poller()
                cache.wait(poller)
                poller.timer_wait(250)
                poller.block()
                wakes += 1
            assert wakes < 40, "a handshake that stands still costs no CPU"
        assert not cache.has_ever_connected


def test_plain_tcp_client_of_a_tls_server(server: OvsdbServer, make_cache: MakeCache) -> None:
    cache = make_cache(f"tcp:127.0.0.1:{server.listen('pssl')}")
    pump(cache, lambda: cache.has_ever_connected and not cache.connected)
    assert not cache.synced


def test_local_database_over_tls(tmp_path: Path, ca: Authority, files: TlsFiles) -> None:
    with OvsdbServer(tmp_path / "l", OVS_SCHEMA, "ovs", ca.server_options("local")) as running:
        database = LocalDatabase(f"ssl:127.0.0.1:{running.listen('pssl')}")
        pump(database, lambda: database.synced)
        database.close()
