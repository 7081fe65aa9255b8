# SPDX-License-Identifier: Apache-2.0
"""Rows for people: columns under their names, as wide as they need to be.

observe.commands prints what is not asked for as JSON by it.
"""

from __future__ import annotations

from ovn_bpf_controller.observe.chassis import Rows


def table(rows: Rows) -> str:
    """The text; empty without rows.  All rows have the same columns."""
    if not rows:
        return ""
    lines = [[name.upper().replace("_", " ") for name in rows[0]]]
    lines += [[str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )
