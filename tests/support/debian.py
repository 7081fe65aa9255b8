# SPDX-License-Identifier: Apache-2.0
"""Debian 12's Python libraries in the place of PyPI's newest, which the tests run with.

The package depends on Debian's, and APIs differ: a program that is started with this
PYTHONPATH finds them first, and no orjson, which Debian 12 does not have.
"""

from __future__ import annotations

from pathlib import Path

PLACE = Path("/usr/lib/python3/dist-packages")
LIBRARIES = ("ovs", "prometheus_client", "pyroute2")
_THEIRS = ("decorator.py", "sortedcontainers")


def python_path(directory: Path) -> str:
    """A PYTHONPATH, made in an empty directory."""
    for name in (*LIBRARIES, *_THEIRS):
        assert (PLACE / name).exists(), name
        (directory / name).symlink_to(PLACE / name)
    (directory / "orjson.py").write_text("raise ImportError('Debian 12 has none')\n")
    return str(directory)
