# SPDX-License-Identifier: Apache-2.0
"""RCU grace periods, waited for by a thread of their own.

Tables asks for one at each change: 8 to 20 ms in which its caller should be able to
make the next change.  A ticket is over once no program runs that ran when it was
asked for; one grace period serves all tickets that were asked for before it began.
"""

from __future__ import annotations

import os
import threading

from ovn_bpf_controller.datapath.maps import grace_period
from ovn_bpf_controller.errors import DataPlaneError


class Grace:
    """Tickets 1, 2, ….  fileno() is readable when over() has become more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked = 0
        self._over = 0
        self._error: DataPlaneError | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ask(self) -> int:
        """A ticket for a grace period that begins from here on."""
        with self._changed:
            self._asked += 1
            self._error = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="grace", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return self._asked

    def over(self) -> int:
        """The last ticket whose grace period is over."""
        with self._changed:
            return self._over

    def wait(self, ticket: int) -> None:
        """Returns when the ticket is over.  Raises DataPlaneError if the kernel
        offers no way to tell; the next ask() tries again."""
        with self._changed:
            self._changed.wait_for(lambda: self._over >= ticket or self._error is not None)
            if self._over < ticket and self._error is not None:
                raise self._error

    def fileno(self) -> int:
        """For a poll loop."""
        return self._event

    def clear(self) -> None:
        """Makes fileno() unreadable until the next ticket is over."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            pass  # nothing was over since the last call

    def close(self) -> None:
        """Ends the thread, at the end of a grace period that it waits for."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        os.close(self._event)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or (self._asked > self._over and self._error is None)
                )
                if self._closed:
                    return
                ticket = self._asked
            error = None
            try:
                grace_period()
            except DataPlaneError as failure:
                error = failure
            with self._changed:
                self._error = error
                if error is None:
                    self._over = ticket
                os.eventfd_write(self._event, 1)
                self._changed.notify_all()
