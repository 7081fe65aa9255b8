# SPDX-License-Identifier: Apache-2.0
"""Where fields really lie: the overlap of reg0..reg9, xreg and xxreg.

`normal` and `evaluate` see registers only as reg0..reg9, so that xxreg0 and
reg1 cannot disagree.  reg0 is the most significant word of xreg0 and xxreg0.
"""

from __future__ import annotations

from functools import lru_cache

from ovn_bpf_controller.plaindata import NamedTuple


class Piece(NamedTuple):
    """Bits offset..offset+width-1 of root; shift: where they go in the field."""

    root: str
    offset: int
    width: int
    shift: int


def _words(root: str) -> tuple[str, ...]:
    """Registers that make up a wide one, least significant first; or nothing."""
    for prefix, count in (("xxreg", 4), ("xreg", 2)):
        if root.startswith(prefix):
            first = int(root[len(prefix) :]) * count
            return tuple(f"reg{first + i}" for i in reversed(range(count)))
    return ()


@lru_cache(maxsize=4096)
def pieces(root: str, offset: int, width: int) -> tuple[Piece, ...]:
    """A field of root as parts of root fields that do not overlap."""
    words = _words(root)
    if not words:
        return (Piece(root, offset, width, 0),)
    found = []
    for index, word in enumerate(words):
        low = max(offset, 32 * index)
        high = min(offset + width, 32 * index + 32)
        if low < high:
            found.append(Piece(word, low - 32 * index, high - low, low - offset))
    return tuple(found)
