# SPDX-License-Identifier: Apache-2.0
"""What two long tuples do not have in common, when they have nearly all in common.

compile.sets asks it about address sets: of 10,000 addresses one comes or goes.  To put
either into a set takes a millisecond; slices that are equal are found in 0.1 ms.
"""

from __future__ import annotations


def difference(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """(only in old, only in new).  No text may be twice in either; order is no matter,
    but the closer the changes lie together in a like order, the sooner it is done."""
    start = _common(old, new)
    left, right = old[start:][::-1], new[start:][::-1]
    end = _common(left, right)
    gone, come = dict.fromkeys(left[end:]), dict.fromkeys(right[end:])
    return [text for text in gone if text not in come], [t for t in come if t not in gone]


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many elements at the beginning are equal."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
