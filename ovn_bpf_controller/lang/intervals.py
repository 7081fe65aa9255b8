# SPDX-License-Identifier: Apache-2.0
"""Sets of unsigned integers as sorted, disjoint ranges.

`normal` works with them where a match excludes values or compares their
order: a thousand `!=` on one field cost as much as their prefixes, not a
product.  A prefix is (value, mask) with the mask's ones at the top.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Intervals = tuple[tuple[int, int], ...]  # ((low, high), …), both inclusive
Prefix = tuple[int, int]


def everything(width: int) -> Intervals:
    """All values of a field of that width."""
    return ((0, (1 << width) - 1),)


def is_prefix(mask: int, width: int) -> bool:
    """Whether a mask is ones followed by zeros."""
    hole = ((1 << width) - 1) & ~mask
    return hole & (hole + 1) == 0


def union(ranges: Iterable[tuple[int, int]]) -> Intervals:
    """Sorted and joined."""
    joined: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if joined and low <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return tuple(joined)


def complement(intervals: Intervals, width: int) -> Intervals:
    """Values of the field that are not in intervals."""
    gaps = []
    start = 0
    for low, high in intervals:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start < 1 << width:
        gaps.append((start, (1 << width) - 1))
    return tuple(gaps)


def intersection(a: Intervals, b: Intervals) -> Intervals:
    """Values in both."""
    common = []
    i = j = 0
    while i < len(a) and j < len(b):
        low, high = max(a[i][0], b[j][0]), min(a[i][1], b[j][1])
        if low <= high:
            common.append((low, high))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


def clip(intervals: Intervals, low: int, high: int) -> Intervals:
    """The part of intervals within low..high."""
    index = max(bisect_right(intervals, (low, high)) - 1, 0)
    found = []
    for first, last in intervals[index:]:
        if first > high:
            break
        if last >= low:
            found.append((max(first, low), min(last, high)))
    return tuple(found)


def prefixes(intervals: Intervals, width: int) -> Iterator[Prefix]:
    """The fewest prefixes that cover intervals exactly, lowest first."""
    full = (1 << width) - 1
    for low, high in intervals:
        start = low
        while start <= high:
            size = start & -start or 1 << width
            while size > high - start + 1:
                size >>= 1
            yield start, full & ~(size - 1)
            start += size
