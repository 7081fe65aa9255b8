# SPDX-License-Identifier: Apache-2.0
"""Event counters with rates, as OVS's daemons have them (lib/coverage.c).

Whoever does something worth counting calls hit(); `coverage/show` and
`coverage/read-counter` show totals and averages in OVS's text, which exporters
parse.  Names are ovn-controller's where the event is the same.
"""

from __future__ import annotations

import time
import zlib
from collections import deque

from ovn_bpf_controller.process.unixctl import CommandError, Commands

PERIOD = 5.0  # seconds; what OVS calls COVERAGE_RUN_INTERVAL
_MINUTE = 12  # periods
_HOUR = 60  # minutes


class Counter:
    """One event.  total: since the start."""

    def __init__(self) -> None:
        self.total = 0
        self._seen = 0
        self._periods: deque[int] = deque([0] * _MINUTE, _MINUTE)
        self._minutes: deque[int] = deque([0] * _HOUR, _HOUR)

    def roll(self, minute: bool) -> None:
        """Closes a period of PERIOD seconds; minute: and with it a minute."""
        self._periods.append(self.total - self._seen)
        self._seen = self.total
        if minute:
            self._minutes.append(sum(self._periods))

    def rates(self) -> tuple[float, float, float]:
        """Events a second over the last period, minute and hour."""
        return (
            self._periods[-1] / PERIOD,
            sum(self._periods) / 60,
            sum(self._minutes) / 3600,
        )


class Coverage:
    """All counters of the process."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._next = time.monotonic() + PERIOD
        self._rolls = 0

    def declare(self, *names: str) -> None:
        """Lets read-counter know events that have not happened yet."""
        for name in names:
            self._counters.setdefault(name, Counter())

    def hit(self, name: str, times: int = 1) -> None:
        """The event happened."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Counter()
        counter.total += times

    def run(self) -> None:
        """To be called often; closes periods that are over."""
        while time.monotonic() >= self._next:
            self._next += PERIOD
            self._rolls += 1
            for counter in self._counters.values():
                counter.roll(self._rolls % _MINUTE == 0)

    def show(self) -> str:
        """The text of coverage/show."""
        hit = {name: c for name, c in sorted(self._counters.items()) if c.total}
        mark = zlib.crc32(" ".join(hit).encode())
        lines = [
            "Event coverage, avg rate over last: 5 seconds, last minute, last hour,  "
            f"hash={mark:08x}:"
        ]
        for name, counter in hit.items():
            last, minute, hour = counter.rates()
            lines.append(
                f"{name:<24} {last:5.1f}/sec {minute:9.3f}/sec {hour:13.4f}/sec   "
                f"total: {counter.total}"
            )
        lines.append(f"{len(self._counters) - len(hit)} events never hit")
        return "\n".join(lines)

    def read(self, name: str) -> str:
        """The text of coverage/read-counter.  Raises CommandError."""
        counter = self._counters.get(name)
        if counter is None:
            raise CommandError("No such counter")
        return str(counter.total)

    def totals(self) -> dict[str, int]:
        """Events since the start, by name."""
        return {name: counter.total for name, counter in self._counters.items()}


_coverage = Coverage()
totals = _coverage.totals
hit = _coverage.hit
run = _coverage.run
declare = _coverage.declare


def register(commands: Commands) -> None:
    """Adds the commands."""
    commands.register("coverage/show", "", 0, 0, lambda _request: _coverage.show())
    commands.register(
        "coverage/read-counter", "COUNTER", 1, 1, lambda request: _coverage.read(request.args[0])
    )
