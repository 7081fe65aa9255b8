# SPDX-License-Identifier: Apache-2.0
"""Rows that the Southbound is to have, wished for one by one and written in batches.

learning.Learning has one for each table.  One transaction at a time is on its way; a
wish is forgotten when the server has carried it out.  What the server will not take is
found by writing one at a time, and costs itself only.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar

from ovn_bpf_controller.binding.writer import Lane, now_ms
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.transact import Pending, Transaction
from ovn_bpf_controller.plaindata import dataclass

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MOST: Final = 1024  # wishes, as ovn-controller has it
BATCH: Final = 256

Add = Callable[[Transaction, K, V], None]
"""Adds what carries a wish out, which may be nothing."""


@dataclass(frozen=True, slots=True)
class _Wish(Generic[V]):
    value: V
    at_ms: int
    order: int


class Upserts(Generic[K, V]):
    """Wishes for rows of one table, by what the table's index is made of.

    overflowed: wishes were refused since this was asked last.
    """

    def __init__(self, southbound: SouthboundCache, name: str) -> None:
        """name: of the table, for the log."""
        self._southbound = southbound
        self._lane = Lane(southbound, name)
        self._wishes: dict[K, _Wish[V]] = {}
        self._sent: dict[K, _Wish[V]] = {}
        self._pending: Pending | None = None
        self._batch = BATCH
        self._overflowed = False

    def __bool__(self) -> bool:
        return bool(self._wishes)

    @property
    def overflowed(self) -> bool:
        """See the class."""
        found, self._overflowed = self._overflowed, False
        return found

    def wish(self, key: K, value: V, at_ms: int, order: int = 0) -> None:
        """at_ms: now_ms() from when on it may be written; of an earlier wish it stays.

        order: of two wishes the greater one counts, whichever comes first.
        """
        before = self._wishes.get(key)
        if before is not None and order < before.order:
            return
        if before is None and len(self._wishes) >= MOST:
            self._overflowed = True
            return
        at_ms = at_ms if before is None else min(at_ms, before.at_ms)
        self._wishes[key] = _Wish(value, at_ms, order)

    def run(self, now: int, add: Add[K, V]) -> None:
        """Sends what is due, when the last transaction is done."""
        if not self._lane.ready(now) or not self._southbound.synced:
            return
        if self._pending is not None:
            self._done(self._pending)
            self._pending = None
        due = [key for key, wish in self._wishes.items() if wish.at_ms <= now]
        txn = Transaction()
        self._sent = {key: self._wishes[key] for key in due[: self._batch]}
        for key, wish in self._sent.items():
            add(txn, key, wish.value)
        if txn:
            self._pending = self._lane.send(txn)
        else:
            self._forget()

    def _done(self, pending: Pending) -> None:
        if pending.ok:
            self._batch = min(2 * self._batch, BATCH)
            self._forget()
        elif not pending.retryable and len(self._sent) > 1:
            self._batch = 1
        elif not pending.retryable:
            self._forget()

    def _forget(self) -> None:
        """What was sent, unless it has changed meanwhile."""
        for key, wish in self._sent.items():
            if self._wishes.get(key) == wish:
                del self._wishes[key]
        self._sent = {}

    def wait(self, poller: Any) -> None:
        """Wakes the poller when something is due."""
        now = now_ms()
        self._lane.wait(poller, now)
        if self._wishes and self._southbound.synced and self._lane.ready(now):
            poller.timer_wait_until(min(wish.at_ms for wish in self._wishes.values()))
