# SPDX-License-Identifier: Apache-2.0
"""How long the parts of the main loop take, as OVS's daemons tell it (lib/stopwatch.c).

The agent wraps its steps in timed(); `stopwatch/show` prints OVS's text, which
exporters parse.  Names are ovn-controller's; one for what we do otherwise or not
at all stays at 0 samples, so that nobody's dashboard breaks.  change-live is ours:
from the arrival of a change to the packets that obey it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ovn_bpf_controller.process.unixctl import CommandError, Commands

# Weight of a new sample in the moving averages, as in lib/stopwatch.c.
_SHORT, _LONG = 0.5, 0.01
# The percentile is of the latest samples: exact, and enough for a person.
_KEPT = 1000


class Stopwatch:
    """Statistics over samples in milliseconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all samples."""
        self._count = 0
        self._max = self._min = 0.0
        self._short = self._long = 0.0
        self._latest: deque[float] = deque(maxlen=_KEPT)

    def add(self, ms: float) -> None:
        """One more sample."""
        if not self._count:
            self._max = self._min = self._short = self._long = ms
        self._count += 1
        self._max, self._min = max(self._max, ms), min(self._min, ms)
        self._short += (ms - self._short) * _SHORT
        self._long += (ms - self._long) * _LONG
        self._latest.append(ms)

    @property
    def percentile(self) -> float:
        """95 % of the latest samples are below."""
        ordered = sorted(self._latest)
        return ordered[int(len(ordered) * 0.95)] if ordered else 0.0

    def values(self) -> dict[str, float]:
        """What text() says, by the names that exporters give it; milliseconds."""
        return {
            "total_samples": self._count,
            "maximum": self._max,
            "minimum": self._min,
            "95th_percentile": self.percentile,
            "short_term_avg": self._short,
            "long_term_avg": self._long,
        }

    def text(self, name: str) -> str:
        """OVS's words about it."""
        return "\n".join(
            (
                f"Statistics for '{name}'",
                f"  Total samples: {self._count}",
                f"  Maximum: {self._max:.0f} msec",
                f"  Minimum: {self._min:.0f} msec",
                f"  95th percentile: {self.percentile:.6f} msec",
                f"  Short term average: {self._short:.6f} msec",
                f"  Long term average: {self._long:.6f} msec",
            )
        )


_watches: dict[str, Stopwatch] = {}


def declare(*names: str) -> None:
    """Stopwatches to show although nothing was timed yet."""
    for name in names:
        if name not in _watches:
            _watches[name] = Stopwatch()


def add(name: str, seconds: float) -> None:
    """One sample of something that is no block of code."""
    declare(name)
    _watches[name].add(seconds * 1000)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Times the block."""
    start = time.monotonic()
    try:
        yield
    finally:
        add(name, time.monotonic() - start)


def values() -> dict[str, dict[str, float]]:
    """Stopwatch.values() of each."""
    return {name: watch.values() for name, watch in _watches.items()}


def _named(args: list[str]) -> dict[str, Stopwatch]:
    if not args:
        return _watches
    if args[0] not in _watches:
        raise CommandError("No such stopwatch")
    return {args[0]: _watches[args[0]]}


def _show(args: list[str]) -> str:
    return "\n".join(watch.text(name) for name, watch in _named(args).items())


def _reset(args: list[str]) -> str:
    """One that is not there is no error, as in lib/stopwatch.c."""
    for name, watch in _watches.items():
        if not args or name == args[0]:
            watch.reset()
    return ""


def register(commands: Commands) -> None:
    """Adds the commands."""
    commands.register("stopwatch/show", "[NAME]", 0, 1, lambda request: _show(request.args))
    commands.register("stopwatch/reset", "[NAME]", 0, 1, lambda request: _reset(request.args))
