# SPDX-License-Identifier: Apache-2.0
"""One measure from the command line: `python -m tests.bench.NAME [--rounds N] [--json FILE]`.

Modules of tests.bench that measure in rounds call main() when they are run by themselves;
`make bench` runs all of them by __main__.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.bench import ending

Found = TypeVar("Found", bound=dict[str, Any])


def main(
    description: str | None, measure: Callable[[int], Found], report: Callable[[Found], str]
) -> None:
    """Measures, prints the tables, and writes the figures if asked to."""
    ending.by_signal()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    found = measure(options.rounds)
    print(report(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
