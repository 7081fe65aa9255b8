# SPDX-License-Identifier: Apache-2.0
"""Runs objects that have run() and wait(poller), as the agent's main loop does.

Waiting goes through their own wait(): an object that forgets to ask for a
wake-up makes its test fail by running into the deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ovs.poller

from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes

#: Seconds; the machine may be busy.
DEADLINE = 90.0
#: Milliseconds after which a condition is looked at even if nothing woke us.
RECHECK = 2000


class Runnable(Protocol):
    """What a main loop runs."""

    def run(self) -> Any: ...

    def wait(self, poller: ovs.poller.Poller) -> None: ...


def pump(
    what: Runnable | Sequence[Runnable],
    condition: Callable[[], Any],
    timeout: float = DEADLINE,
    recheck: int = RECHECK,
) -> list[Any]:
    """Run until the condition is true; AssertionError after timeout seconds.

    Returns the true values that run() gave, in order.
    """
    objects = list(what) if isinstance(what, Sequence) else [what]
    deadline = time.monotonic() + timeout
    results: list[Any] = []
    while True:
        results += [result for result in [one.run() for one in objects] if result]
        if condition():
            return results
        left = deadline - time.monotonic()
        states = [getattr(one, "detail", "") for one in objects]
        assert left > 0, f"not true within {timeout} s; {states}"
        poller = ovs.poller.Poller()
        for one in objects:
            one.wait(poller)
        poller.timer_wait(int(min(recheck, left * 1000)))
        poller.block()


def pump_changes(
    cache: SouthboundCache, condition: Callable[[], Any], timeout: float = DEADLINE
) -> Changes:
    """pump() one cache; returns all its changes as if they had come at once."""
    merged = Changes()
    for changes in pump(cache, condition, timeout):
        for table, rows in changes.items():
            for uuid, (old, new) in rows.items():
                merged.note(table, uuid, old, new)
    return merged
