# SPDX-License-Identifier: Apache-2.0
"""Named points at which the agent can be made to die, to show that it may die anywhere.

OVN_BPF_CRASH_AT=POINT in the environment: the agent kills itself, as by `kill -9`, the
first time that it comes there.  tests/packaging and tests/restart do it for all POINTS
under traffic; without the variable a point costs a comparison.
"""

from __future__ import annotations

import os
import signal
from typing import Final

VARIABLE: Final = "OVN_BPF_CRASH_AT"

# In the order in which a start comes by.
POINTS: Final = (
    "programs-loaded",  # nothing is pinned yet
    "maps-pinned",
    "programs-pinned",
    "link-moved",  # the first device runs this build's program, others do not
    "change-staged",  # all is written aside, no packet obeys it
    "change-live",  # the generation is there, nothing else knows
    "device-attached",  # the first of several
    "link-inherited",  # the first device left another layout's maps
    "superseded",  # the other layout is gone
    "acknowledging",  # live, and the databases do not know
)

_WANTED: Final = os.environ.get(VARIABLE, "")


def crash_point(name: str) -> None:
    """Dies here if this is the point that was asked for."""
    if name == _WANTED:
        os.kill(os.getpid(), signal.SIGKILL)
