# SPDX-License-Identifier: Apache-2.0
"""A measure that is ended by a signal ends what it has started, as with Ctrl-C.

The command lines of tests.bench call by_signal() first: Python would die of SIGTERM
with its servers, agents and directories left behind.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType


def by_signal() -> None:
    """From here on SIGTERM and SIGHUP raise SystemExit, once: the status is a shell's."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # what is under way is the end
    sys.exit(128 + number)
