# SPDX-License-Identifier: Apache-2.0
"""Hypothesis' choices for programs that build things one after another.

Simple choices come first in every list, so that a failure shrinks towards a small
network and a dull packet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[int]], int]


class Source:
    """draw: of a composite strategy, or of st.data()."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._used: set[int] = set()

    def number(self, low: int, high: int) -> int:
        """low..high."""
        return self._draw(st.integers(low, high))

    def pick(self, options: Sequence[T]) -> T:
        """One of them."""
        return options[self.number(0, len(options) - 1)]

    def some(self, options: Sequence[T], most: int) -> list[T]:
        """One or more of them, no one twice."""
        left = list(options)
        return [
            left.pop(self.number(0, len(left) - 1))
            for _ in range(self.number(1, min(most, len(left))))
        ]

    def chance(self, percent: int) -> bool:
        """True in so many of 100 cases."""
        return self.number(1, 100) > 100 - percent

    def unused(self, low: int, high: int) -> int:
        """Like number(), and never twice: of equal priorities OVN leaves open which wins."""
        found = self.number(low, high)
        while found in self._used:
            found = found + 1 if found < high else low
        self._used.add(found)
        return found
