# SPDX-License-Identifier: Apache-2.0
"""Serves /metrics on a TCP address or a unix socket, as external_ids:ovn-bpf-metrics says.

A thread speaks HTTP; it asks the main loop for the numbers and waits, so that nothing
reads the agent while it works.  The agent owns one MetricsServer and calls run() once
a round; without the key there is neither thread nor library in memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import ovs.poller

from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.process.log import Logger

if TYPE_CHECKING:
    from concurrent.futures import Future

    from prometheus_client.core import Metric

    from ovn_bpf_controller.observe.metrics_http import HttpServer

_log = Logger("metrics")
PATIENCE: Final = 10.0  # seconds that a scrape waits for the main loop

Families = Callable[[], "Iterable[Metric]"]


class MetricsServer:
    """At most one listening socket.  families: reads the numbers, in the main loop."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._where = ""
        self._server: HttpServer | None = None
        self._asked: deque[Future[list[Metric]]] = deque()  # by any thread
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self, where: str) -> None:
        """Listens where it should, and answers scrapes that wait.

        where: unix:PATH, HOST:PORT, [IPV6]:PORT, or "" for nowhere.
        """
        if where != self._where:
            self._move(where)
        while self._asked:
            self._answer(self._asked.popleft())

    def wait(self, poller: Any) -> None:
        """Wakes the poller for the next scrape."""
        poller.fd_wait(self._wake, ovs.poller.POLLIN)

    def close(self) -> None:
        """Stops listening."""
        self._move("")

    def _answer(self, future: Future[list[Metric]]) -> None:
        try:
            os.read(self._wake, 4096)
        except BlockingIOError:
            pass  # taken with an earlier one
        try:
            future.set_result(list(self._families()))
        except OvnBpfError as error:
            future.set_exception(error)

    def _move(self, where: str) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None
        self._where = where
        if not where:
            return
        from ovn_bpf_controller.observe.metrics_http import HttpServer

        try:
            self._server = HttpServer(where, self.collect)
        except (OSError, ValueError) as error:
            _log.err(f"no metrics at {where}: {error}")
        else:
            _log.info(f"metrics at {where}")

    def collect(self) -> Iterable[Metric]:
        """prometheus_client's collector, in the thread of a scrape."""
        from concurrent.futures import Future  # with the library: only where it is asked for

        future: Future[list[Metric]] = Future()
        self._asked.append(future)
        os.write(self._waker, b"x")
        return future.result(PATIENCE)
