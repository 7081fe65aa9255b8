# SPDX-License-Identifier: Apache-2.0
"""TLS for the databases: the files, and a stream that uses them.

process/ and the agent set the files (-p, -c, -C, --bootstrap-ca-cert, or the
SSL table); remote.py opens the streams.  python-ovs' own SSLStream is not used: it
polls for writability during a handshake, which spins, lets most errors of the
handshake through as exceptions (3.1) or as EPERM (4.0), and cannot bootstrap a CA
certificate.
"""

from __future__ import annotations

import errno
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

import ovs.poller
import ovs.stream
import ovs.vlog

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.tls_settings import (
    TlsSettings as TlsSettings,
)
from ovn_bpf_controller.ovsdb.tls_settings import (
    apply,
    checked,
    load_identity,
)
from ovn_bpf_controller.plaindata import dataclass

vlog = ovs.vlog.Vlog("stream_ssl")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files.  bootstrap: fetch ca_cert from the first peer if it is missing.

    ca_cert "none": any peer will do, as ovn-controller's `-C none`.
    """

    private_key: str = ""
    certificate: str = ""
    ca_cert: str = ""
    bootstrap: bool = False


_files = TlsFiles()
_settings = TlsSettings()


def configure(files: TlsFiles) -> None:
    """Use these files for connections made from now on."""
    global _files
    _files = files


def settle(settings: TlsSettings) -> None:
    """Speak TLS so from now on."""
    global _settings
    _settings = checked(settings)


def open_stream(address: str, name: str = "") -> tuple[int, Any]:
    """(errno, stream) to HOST:PORT, an address; DatabaseError or OSError for bad files.

    name: the host's, to ask for (SNI), if the remote is given by name.
    """
    context, bootstrap = _context(_files, _settings)
    error, inner = ovs.stream.Stream.open(f"tcp:{address}")
    name = _settings.server_name or name
    return (error, None) if error else (0, TlsStream(inner, context, bootstrap, name))


def _context(files: TlsFiles, settings: TlsSettings) -> tuple[ssl.SSLContext, str]:
    """A client context, and the path to bootstrap the CA certificate to, or ""."""
    if not (files.private_key and files.certificate and files.ca_cert):
        raise DatabaseError("private key, certificate and CA certificate must be configured")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # OVSDB peers are known by their CA, not by a host name.
    context.check_hostname = False
    apply(context, settings)
    load_identity(context, files.certificate, files.private_key, settings.peer_ca_cert)
    if files.ca_cert == "none":
        context.verify_mode = ssl.CERT_NONE
        return context, ""
    if files.bootstrap and not Path(files.ca_cert).exists():
        context.verify_mode = ssl.CERT_NONE
        return context, files.ca_cert
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.ca_cert)
    return context, ""


class TlsStream:
    """A TLS client over a TCP stream, with the interface of ovs.stream.Stream."""

    def __init__(
        self, inner: Any, context: ssl.SSLContext, bootstrap: str, server_name: str
    ) -> None:
        self._inner = inner
        self._context = context
        self._bootstrap = bootstrap
        self._server_name = server_name or None
        self._socket: ssl.SSLSocket | None = None
        self._ready = False
        self._write = False

    def connect(self) -> int:
        """0 once the handshake is done, EAGAIN before, else an errno; ssl.SSLError."""
        if self._ready:
            return 0
        if self._socket is None:
            error = int(self._inner.connect())
            if error:
                return error
            self._socket = self._context.wrap_socket(
                self._inner.socket,
                do_handshake_on_connect=False,
                server_hostname=self._server_name,
            )
            self._inner.socket = self._socket
        try:
            self._write = False
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            return errno.EAGAIN
        except ssl.SSLWantWriteError:
            self._write = True
            return errno.EAGAIN
        if self._bootstrap:
            _bootstrap(self._socket, self._bootstrap)
            raise DatabaseError(f"CA certificate bootstrapped to {self._bootstrap}; reconnecting")
        self._ready = True
        return 0

    def recv(self, n: int) -> tuple[int, bytes]:
        """(errno, data); (0, b"") at the end of the stream."""
        assert self._socket is not None
        try:
            return 0, self._socket.recv(n)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return errno.EAGAIN, b""
        except ssl.SSLZeroReturnError:
            return 0, b""
        except OSError as error:
            return _errno(error), b""

    def send(self, data: bytes) -> int:
        """Bytes sent, or a negative errno."""
        assert self._socket is not None
        try:
            return self._socket.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return -errno.EAGAIN
        except OSError as error:
            return -_errno(self._alert() or error)

    def _alert(self) -> ssl.SSLError | None:
        """Why the peer closed, if it said so: more than that we could not write any more.

        With TLS 1.3 it looks at our certificate when our side of the handshake is over.
        """
        assert self._socket is not None
        try:
            self._socket.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLZeroReturnError):
            return None
        except ssl.SSLError as error:
            return error
        except OSError:  # the connection's own end, which the caller has seen
            return None
        return None

    def close(self) -> None:
        """Close without waiting for the peer's close_notify."""
        self._inner.close()

    def connect_wait(self, poller: ovs.poller.Poller) -> None:
        if self._socket is None:
            self._inner.connect_wait(poller)
        else:
            poller.fd_wait(self._socket, ovs.poller.POLLOUT if self._write else ovs.poller.POLLIN)

    def recv_wait(self, poller: ovs.poller.Poller) -> None:
        if self._socket is not None and self._socket.pending():
            poller.immediate_wake()
        poller.fd_wait(self._socket, ovs.poller.POLLIN)

    def send_wait(self, poller: ovs.poller.Poller) -> None:
        poller.fd_wait(self._socket, ovs.poller.POLLOUT)


def _errno(error: OSError) -> int:
    # SSLError's errno is OpenSSL's own number, not one of the system's.
    if isinstance(error, ssl.SSLError):
        vlog.warn(f"TLS: {error}")
        return errno.EPROTO
    return error.errno or errno.EPROTO


def _bootstrap(sock: ssl.SSLSocket, path: str) -> None:
    """Save the last certificate of the peer's chain, which must be self-signed.

    As ovs-vswitchd(8) --bootstrap-ca-cert: never replaces an existing file.
    DatabaseError if the peer sent no such certificate or the file cannot be written.
    """
    # Public only since Python 3.13, and there it gives bytes.
    getter = getattr(sock, "get_unverified_chain", None) or getattr(
        getattr(sock, "_sslobj", None), "get_unverified_chain", None
    )
    chain = list(getter() or ()) if getter else []
    if not chain:
        raise DatabaseError("cannot bootstrap the CA certificate: the peer sent no chain")
    last = chain[-1]
    pem = ssl.DER_cert_to_PEM_cert(last) if isinstance(last, bytes) else last.public_bytes()
    info = {} if isinstance(last, bytes) else last.get_info()
    if info.get("subject") != info.get("issuer"):
        raise DatabaseError("cannot bootstrap: the peer's last certificate is not self-signed")
    try:
        with tempfile.NamedTemporaryFile("w", dir=Path(path).parent, delete=False) as part:
            part.write(pem)
            os.fchmod(part.fileno(), 0o644)
        try:
            os.link(part.name, path)
        finally:
            os.unlink(part.name)
    except OSError as error:
        raise DatabaseError(f"cannot write the CA certificate: {error}") from error
    vlog.info(f"bootstrapped CA certificate to {path}")
