# SPDX-License-Identifier: Apache-2.0
"""`python3 -m ovn_bpf_controller`, and the console script ovn-bpf-controller: the daemon.

Imports it with the collector of garbage at rest: it finds nothing in what is imported.
"""

from __future__ import annotations

import gc
import importlib
import sys


def main() -> int:
    """Returns the exit status."""
    # What is imported stays; process.garbage takes the collector over.
    gc.disable()
    return int(importlib.import_module("ovn_bpf_controller.cli.controller").main())


if __name__ == "__main__":
    sys.exit(main())
