# SPDX-License-Identifier: Apache-2.0
"""ssl: remotes with real certificates: right, wrong, missing, to be bootstrapped."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import ovs.poller
import pytest

from ovn_bpf_controller.ovsdb import tls
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.ovsdb.tables import AddressSet
from ovn_bpf_controller.ovsdb.tls import TlsFiles, configure, settle
from ovn_bpf_controller.ovsdb.tls_settings import TlsSettings, checked, versions
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


def test_what_the_server_says_before_it_closes_is_logged(
    server: OvsdbServer, files: TlsFiles, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also to who writes before reading it, which a busy machine makes of everybody."""
    pem = ca.issue("late", days=-1)
    configure(replace(files, private_key=str(pem.key), certificate=str(pem.cert)))
    said: list[str] = []
    monkeypatch.setattr(tls.vlog, "warn", said.append)
    _, stream = tls.open_stream(f"127.0.0.1:{server.listen('pssl')}")
    while stream.connect():
        poller = ovs.poller.Poller()
        stream.connect_wait(poller)
        poller.block()
    closed = select.poll()
    closed.register(stream._socket.fileno(), select.POLLRDHUP)
    assert closed.poll(60_000)
    # The server has ended its side; what we write is taken until it refuses it.
    deadline = time.monotonic() + 60
    while (sent := stream.send(b"too late")) > 0 and time.monotonic() < deadline:
        pass
    assert sent == -errno.EPROTO
    assert len(said) == 1 and "certificate expired" in said[0]
    stream.close()


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


# --- settings ---------------------------------------------------------------------


@pytest.fixture
def settled() -> Iterator[None]:
    """Settings are taken back at the end."""
    yield
    settle(TlsSettings())


def test_versions_of_tls_are_those_asked_for(
    tmp_path: Path, ca: Authority, files: TlsFiles, settled: None, make_cache: MakeCache
) -> None:
    """A real ovsdb-server that speaks TLS 1.2 alone."""
    options = [*ca.server_options("old"), "--ssl-protocols=TLSv1.2"]
    with OvsdbServer(tmp_path / "sb12", extra=options) as server:
        sbctl(server, "init")
        remote = f"ssl:127.0.0.1:{server.listen('pssl')}"
        settle(TlsSettings(protocols="TLSv1.3"))
        cache = make_cache(remote)
        pump(cache, lambda: "protocol version" in cache.detail)
        settle(TlsSettings(protocols="TLSv1.2-TLSv1.3"))
        synced(cache)


def test_ciphers_are_those_asked_for(
    tmp_path: Path, ca: Authority, files: TlsFiles, settled: None, make_cache: MakeCache
) -> None:
    weak, strong = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    options = [*ca.server_options("c"), "--ssl-protocols=TLSv1.2", f"--ssl-ciphers={strong}"]
    with OvsdbServer(tmp_path / "sbc", extra=options) as server:
        sbctl(server, "init")
        remote = f"ssl:127.0.0.1:{server.listen('pssl')}"
        settle(TlsSettings(protocols="TLSv1.2", ciphers=weak))
        cache = make_cache(remote)
        pump(cache, lambda: "handshake failure" in cache.detail)
        settle(TlsSettings(protocols="TLSv1.2", ciphers=f"{weak}:{strong}"))
        synced(cache)


class TlsListener:
    """A TLS server of Python's that notes what a client asked for and sent."""

    def __init__(self, ca: Authority) -> None:
        self.names: list[str | None] = []
        self.chains: list[str] = []
        pem = ca.issue("listener")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem.cert, pem.key)
        self._context.load_verify_locations(ca.pem.cert)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.sni_callback = lambda _, name, __: self.names.append(name)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(30)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                with suppress(OSError), self._context.wrap_socket(peer, server_side=True) as tls:
                    chain = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
                    self.chains.append(str([ssl.DER_cert_to_PEM_cert(_der(c)) for c in chain]))

    def close(self) -> None:
        self._socket.close()


def _der(certificate: Any) -> bytes:
    """Public only since Python 3.13, and there it is bytes."""
    if isinstance(certificate, bytes):
        return certificate
    return ssl.PEM_cert_to_DER_cert(certificate.public_bytes())


@pytest.mark.parametrize(
    ("host", "wanted", "name"),
    [("127.0.0.1", "", None), ("localhost", "", "localhost"), ("127.0.0.1", "sb.cloud", "sb.cloud"),
     ("localhost", "sb.cloud", "sb.cloud")],
)  # fmt: skip
def test_the_server_is_asked_for_by_name(
    ca: Authority, files: TlsFiles, settled: None, make_cache: MakeCache, host: str, wanted: str,
    name: str | None,
) -> None:  # fmt: skip
    """Host names are sent, addresses are not; --ssl-server-name beats both."""
    settle(TlsSettings(server_name=wanted))
    listener = TlsListener(ca)
    cache = make_cache(f"ssl:{host}:{listener.port}")
    pump(cache, lambda: bool(listener.names), recheck=200)
    assert listener.names[0] == name
    listener.close()


@pytest.mark.parametrize("more", [False, True])
def test_certificates_for_the_peer_go_along(
    tmp_path: Path, ca: Authority, files: TlsFiles, settled: None, make_cache: MakeCache, more: bool
) -> None:
    """One that we do not need ourselves: OpenSSL would send those by itself."""
    peer = Authority(tmp_path / "peer", "peer").pem.cert
    settle(TlsSettings(peer_ca_cert=str(peer) if more else ""))
    listener = TlsListener(ca)
    cache = make_cache(f"ssl:127.0.0.1:{listener.port}")
    pump(cache, lambda: bool(listener.chains), recheck=200)
    sent = ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(peer.read_text()))
    assert (repr(sent)[1:-1] in listener.chains[0]) == more
    listener.close()


def test_any_peer_will_do_when_none_is_to_be_checked(
    tmp_path: Path, server: OvsdbServer, files: TlsFiles, make_cache: MakeCache
) -> None:
    configure(replace(files, ca_cert="none"))
    synced(make_cache(f"ssl:127.0.0.1:{server.listen('pssl')}"))


@pytest.mark.parametrize(
    ("text", "lowest", "highest"),
    [("TLSv1.2", "TLSv1_2", "TLSv1_2"), ("TLSv1,TLSv1.1,TLSv1.2", "TLSv1_2", "TLSv1_2"),
     ("tlsv1.3", "TLSv1_3", "TLSv1_3"), ("TLSv1.2+", "TLSv1_2", "MAXIMUM_SUPPORTED"),
     ("TLSv1+", "TLSv1_2", "MAXIMUM_SUPPORTED"), ("TLSv1.1-TLSv1.3", "TLSv1_2", "TLSv1_3"),
     ("TLSv1.3 TLSv1.2", "TLSv1_2", "TLSv1_3")],
)  # fmt: skip
def test_protocols_are_lists_ranges_or_open(text: str, lowest: str, highest: str) -> None:
    """As stream-ssl.c of Open vSwitch 3.1 and 3.5 reads them, but for what is deprecated."""
    assert versions(text) == (ssl.TLSVersion[lowest], ssl.TLSVersion[highest])


@pytest.mark.parametrize("text", ["", ",", "SSLv3", "TLSv1.2,x", "TLSv1,TLSv1.1", "TLSv1.4+"])
def test_protocols_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not (recognized|supported)"):
        versions(text)


def test_settings_that_cannot_be_obeyed_are_left_out() -> None:
    wrong = TlsSettings("SSLv2", "no such cipher", "", ".leading.dot", "/a/file")
    assert checked(wrong) == TlsSettings(peer_ca_cert="/a/file")
    right = TlsSettings("TLSv1.3", "ECDHE-ECDSA-AES256-GCM-SHA384", "", "name", "/a/file")
    assert checked(right) == right
    suites = checked(TlsSettings(suites="TLS_AES_256_GCM_SHA384")).suites
    assert bool(suites) == hasattr(ssl.SSLContext, "set_ciphersuites")
