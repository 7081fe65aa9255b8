# SPDX-License-Identifier: Apache-2.0
"""The HTTP side of observe.metrics_server, which imports it when it is first needed.

prometheus_client writes the text; wsgiref serves it, also on a unix socket.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import Metric

from ovn_bpf_controller.process.log import Logger

_log = Logger("metrics")


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        _log.dbg(format % args)

    def address_string(self) -> str:
        """A client on a unix socket has no address."""
        return str(self.client_address[0]) if self.client_address else "local"


class _Wsgi(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Without WSGIServer's look-up of our own name."""
        self.allow_reuse_address = True
        if self.address_family == socket.AF_UNIX:
            path = str(self.server_address)
            if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
                os.unlink(path)  # of an agent that is gone
            self.socket.bind(path)
        else:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        request, address = super().get_request()
        return request, address or ("local", 0)


class HttpServer:
    """One listening socket and its thread.  Raises OSError and ValueError."""

    def __init__(self, where: str, collect: Callable[[], Iterable[Metric]]) -> None:
        class Collector:
            def collect(self) -> Iterable[Metric]:
                return collect()

            def describe(self) -> Iterable[Metric]:
                """Nothing: registering must not ask the main loop, which is here."""
                return ()

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector())
        family, address = _address(where)
        self._path = address if isinstance(address, str) else ""
        kind = type("_Family", (_Wsgi,), {"address_family": family})
        self._wsgi = kind(address, _Handler)
        self._wsgi.set_app(make_wsgi_app(registry))
        self._thread = threading.Thread(target=self._wsgi.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; a socket file goes."""
        self._wsgi.shutdown()
        self._wsgi.server_close()
        self._thread.join()
        if self._path:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass  # somebody tidied up


def _address(where: str) -> tuple[int, Any]:
    """Family and address.  Raises ValueError."""
    if where.startswith("unix:"):
        return socket.AF_UNIX, where.removeprefix("unix:")
    host, colon, port = where.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError("unix:PATH or HOST:PORT expected")
    if host.startswith("["):
        return socket.AF_INET6, (host.strip("[]"), int(port))
    return socket.AF_INET, (host, int(port))
