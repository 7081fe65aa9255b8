# SPDX-License-Identifier: Apache-2.0
"""Locks that processes share on a data plane: flock(2) on directories of its pins.

They exist as long as what they guard, in every mount namespace that sees it, and
leave no file behind.  A directory of the host, such as /run/lock, may be missing or
read-only where the agent runs.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

# Below a plane's directory, one for each purpose; what lies there does not matter.
RESUME: Final = "."  # who runs ovn_resume, whose argument is one map element
WATCH: Final = "maps"  # the one that reads witnesses
SAMPLES: Final = "links"  # the one that reads samples


def opened(plane: Path, purpose: str) -> int:
    """Something for flock(2), the caller's to close.

    plane: directory of its pins.  purpose: one of the above.  Raises OSError when
    there is no plane.
    """
    return os.open(plane / purpose, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def taken(plane: Path, purpose: str) -> int | None:
    """The same, locked until it is closed; None where somebody has it locked."""
    lock = opened(plane, purpose)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
