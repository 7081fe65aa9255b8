# SPDX-License-Identifier: Apache-2.0
"""`python3 -m ovn_bpf_controller.slowpath PLANE PROGRAMS SOCKET PIDFILE`: the process.

PLANE: directory of the pins.  PROGRAMS: the one below it of this build's programs.
SOCKET: number of an inherited descriptor, the agent's end of the conversation.
PIDFILE: see slowpath.takeover.
"""

from __future__ import annotations

import gc
import importlib
import sys


def main() -> int:
    """Returns the exit status."""
    gc.disable()  # while nothing is made but modules, which stay
    process = importlib.import_module("ovn_bpf_controller.slowpath.process")
    gc.freeze()
    gc.enable()
    return int(process.main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
