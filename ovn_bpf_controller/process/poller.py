# SPDX-License-Identifier: Apache-2.0
"""ovs.poller.Poller on poll(2) instead of select(2).

process.main_loop blocks in it.  The library's own uses select, which raises for
descriptors from 1024 up; an agent with a link per port and some dozens of maps
gets there.
"""

from __future__ import annotations

import select
from typing import Protocol

import ovs.poller

# For the library's own look at a connection, for the same reason; and its emulation
# asks for ssl's types each time, which loads that (process.later).
ovs.poller.SelectPoll = select.poll


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Poller(ovs.poller.Poller):  # type: ignore[misc]
    """Same methods; events for one descriptor add up, as with the library's."""

    timeout: int  # Milliseconds, -1 for none; set by the library's timer methods.

    def __init__(self) -> None:
        super().__init__()
        self._events: dict[int, int] = {}

    @property
    def awake(self) -> bool:
        """Whether block() will not wait: somebody has work left."""
        return self.timeout == 0

    def fd_wait(self, fd: int | _HasFileno, events: int) -> None:
        """Make the next block() return when fd is ready for one of events."""
        number = fd if isinstance(fd, int) else fd.fileno()
        self._events[number] = self._events.get(number, 0) | events

    def block(self) -> None:
        """Wait for an event or the earliest timer (ms), and forget both."""
        poll = select.poll()
        for fd, events in self._events.items():
            poll.register(fd, events)
        timeout, self.timeout = self.timeout, -1
        self._events.clear()
        poll.poll(None if timeout < 0 else timeout)
