# SPDX-License-Identifier: Apache-2.0
"""Prints what pyproject.toml requires, with the extras named, for pip -r.

The Makefile calls it: the environment must be there before the package can be
built, and the ranges are to stand in one place.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main(extras: list[str]) -> None:
    """Prints build requirements, dependencies and the extras' own."""
    found = tomllib.loads(Path("pyproject.toml").read_text())
    project = found["project"]
    lines = {*found["build-system"]["requires"], *project["dependencies"]}
    for extra in extras:
        lines.update(project["optional-dependencies"][extra])
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main(sys.argv[1:])
