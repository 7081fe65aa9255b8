# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-ctl top: who sends and gets most, now.

Two looks at ovn-bpf/ports and ovn-bpf/drops, and what changed between them, a second.
On a terminal the screen is drawn anew each time; into a pipe the tables follow one
another.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

Ask = Callable[[str], str]
"""Command of the agent -> its JSON."""

_COUNTS: Final = ("sent_packets", "sent_bytes", "got_packets", "got_bytes")
_ROWS: Final = 20
_CLEAR: Final = "\x1b[H\x1b[2J"


class _Look:
    """Counters of one moment.  drops: packets by reason."""

    def __init__(self, ask: Ask) -> None:
        self.at = time.monotonic()
        rows = json.loads(ask("ovn-bpf/ports"))
        self.ports = {r["port"]: [r[name] for name in _COUNTS] for r in rows if r["kind"] == "vif"}
        self.drops: dict[str, int] = {}
        for row in json.loads(ask("ovn-bpf/drops")):
            reason = row["reason"]
            self.drops[reason] = self.drops.get(reason, 0) + row["packets"]


def samples(ask: Ask, seconds: float) -> Iterator[dict[str, Any]]:
    """Without end, one in `seconds`: rates by port, and of drops by reason."""
    before = _Look(ask)
    while True:
        time.sleep(seconds)
        now = _Look(ask)
        yield _rates(before, now)
        before = now


def _rates(before: _Look, now: _Look) -> dict[str, Any]:
    span = now.at - before.at
    ports = []
    for name, counts in now.ports.items():
        old = before.ports.get(name, counts)
        rates = [max(0, new - was) / span for new, was in zip(counts, old, strict=True)]
        ports.append({"port": name, **dict(zip(_COUNTS, rates, strict=True))})
    ports.sort(key=lambda row: row["sent_bytes"] + row["got_bytes"], reverse=True)
    drops = {
        reason: (count - before.drops.get(reason, 0)) / span
        for reason, count in now.drops.items()
        if count > before.drops.get(reason, 0)
    }
    return {"ports": ports, "drops": drops}


def text(sample: dict[str, Any]) -> str:
    """A sample for people."""
    lines = [f"{'PORT':<40} {'SENT p/s':>10} {'bit/s':>10} {'GOT p/s':>10} {'bit/s':>10}"]
    for row in sample["ports"][:_ROWS]:
        sent, sent_bytes, got, got_bytes = (row[name] for name in _COUNTS)
        lines.append(
            f"{row['port']:<40} {_short(sent):>10} {_short(sent_bytes * 8):>10}"
            f" {_short(got):>10} {_short(got_bytes * 8):>10}"
        )
    lines += [
        f"dropped {_short(rate)} p/s: {reason}" for reason, rate in sorted(sample["drops"].items())
    ]
    return "\n".join(lines) + "\n"


def _short(number: float) -> str:
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.0f}" if not unit else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.1f}T"


def run(ask: Ask, seconds: float, times: int, as_json: bool) -> None:
    """Prints until interrupted, or `times` samples (0: no end)."""
    screen = sys.stdout.isatty() and not as_json
    for number, sample in enumerate(samples(ask, seconds), 1):
        shown = json.dumps(sample) + "\n" if as_json else text(sample)
        sys.stdout.write((_CLEAR if screen else "") + shown)
        sys.stdout.flush()
        if number == times:
            return
