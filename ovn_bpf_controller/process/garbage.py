# SPDX-License-Identifier: Apache-2.0
"""When Python's collector of cyclic garbage runs: between changes, never within one.

main_loop calls begin() once and idle() whenever it has nothing to do.  What the
agent keeps (rows, rules) is acyclic and stays: walking it again and again cost a
sixth of a large load and put pauses into small changes.
"""

from __future__ import annotations

import gc
import time
from typing import Final

# Objects made and kept since the last collection: from here on a look is worth it …
YOUNG: Final = 2000
# … and from here on it was a load, whose objects stay: they are never looked at.
BULK: Final = 50_000
# Seconds between collections: a load, which comes in slices, gets BULK that way.
_PAUSE: Final = 0.25
_EVERY: Final = 10  # young collections before one of the middle generation, and so on


class Collector:
    """Takes the collector's timing over."""

    def __init__(self) -> None:
        self._rounds = 0
        self._due = 0.0

    def begin(self) -> None:
        """From here on idle() decides.  What was imported is never looked at again."""
        gc.disable()
        gc.freeze()

    def idle(self) -> None:
        """Collects if it is worth it: well below a millisecond for the young ones."""
        young = gc.get_count()[0]
        if young >= BULK:
            gc.freeze()
        elif young >= YOUNG and time.monotonic() >= self._due:
            self._due = time.monotonic() + _PAUSE
            self._rounds += 1
            generation = 0
            while generation < 2 and self._rounds % _EVERY ** (generation + 1) == 0:
                generation += 1
            gc.collect(generation)
