# SPDX-License-Identifier: Apache-2.0
"""Long answers to control commands, a piece in each iteration of the main loop.

A table of a million connections takes many seconds to print; the agent goes on with
its work meanwhile.  The agent owns one; commands hand over iterators.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.process.unixctl import Request

_log = Logger("jobs")
_rate = RateLimit(5, 5)
_SLICE: Final = 0.05  # seconds of an iteration


class Jobs:
    """Answers under way, first come, first served."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Request, Iterator[str], list[str]]] = []

    def start(self, request: Request, pieces: Iterator[str]) -> None:
        """Answers with all pieces, now if there are few.

        An empty piece: it is to be asked again in the next iteration.  An OvnBpfError
        becomes an error reply.
        """
        self._waiting.append((request, pieces, []))
        if len(self._waiting) == 1:
            self.run()

    def run(self) -> None:
        """Goes on for a moment."""
        until = time.monotonic() + _SLICE
        while self._waiting and time.monotonic() < until:
            request, pieces, done = self._waiting[0]
            try:
                piece = next(pieces, None)
            except OvnBpfError as error:
                request.error(str(error))
            except Exception as error:
                # A bug in one command must not take the chassis down.
                _log.exception(f"{error}")
                request.error("internal error, see the log")
            else:
                if piece:
                    done.append(piece)
                    continue
                if piece is not None:
                    return  # it waits for something
                request.reply("".join(done))
            del self._waiting[0]

    def wait(self, poller: Any) -> None:
        """Wakes the poller while there is something left."""
        if self._waiting:
            poller.immediate_wake()
