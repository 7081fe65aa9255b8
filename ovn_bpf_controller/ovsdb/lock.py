# SPDX-License-Identifier: Apache-2.0
"""A lock of an OVSDB server's, such as ovs-vswitchd's (RFC 7047 4.1.8 to 4.1.10).

Replica has one and runs it over its connection.  It says whose something is and
keeps nobody from writing: ovn-controller's part of the local database is written
whoever has ovs-vswitchd's duties.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ovn_bpf_controller.ovsdb.session import Message

#: Notifications for notice().
NOTICES: Final = ("locked", "stolen")

Request = Callable[[str, list[Any], Callable[[Message], None] | None], int | None]


class Lock:
    """held: it is ours now.  contended: somebody else has it; false while not known.

    request: Monitor.request.
    """

    def __init__(self, request: Request) -> None:
        self.held = False
        self.contended = False
        self._request = request
        self._name = ""
        self._asked: int | None = None  # the request that counts

    def want(self, name: str | None) -> None:
        """Try to get and keep the lock of this name; None gives it up."""
        name = name or ""
        if name == self._name:
            return
        if self._name:
            self._request("unlock", [self._name], None)
        self._name = name
        self._ask()

    def restart(self, connected: bool) -> None:
        """The connection was lost, or a new one is there."""
        if connected:
            self._ask()
        else:
            self.held = self.contended = False

    def notice(self, message: Message) -> None:
        """The server passes a lock on, or takes it away."""
        params = message.get("params")
        if isinstance(params, list) and params[:1] == [self._name]:
            self._know(held=message.get("method") == "locked")

    def _ask(self) -> None:
        self.held = self.contended = False
        self._asked = None
        if self._name:
            self._asked = self._request("lock", [self._name], self._answered)

    def _answered(self, message: Message) -> None:
        if message.get("id") == self._asked:
            result = message.get("result")
            self._know(held=isinstance(result, dict) and result.get("locked") is True)

    def _know(self, held: bool) -> None:
        self.held, self.contended = held, not held
