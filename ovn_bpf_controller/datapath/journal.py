# SPDX-License-Identifier: Apache-2.0
"""What one change of the tables still has to do: back out, or clean up behind it.

Tables.apply makes one per change and hands it to every part it touches, so that
a change either takes effect whole or leaves nothing behind, and memory that a
running packet may still read is freed by nobody too early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = tuple[Callable[..., object], tuple[Any, ...]]


class Journal:
    """Calls by the moment they are due, of a change that becomes `generation`."""

    __slots__ = ("_undo", "_flip", "_wait", "after", "generation")

    def __init__(self, generation: int = 0, wait: Callable[[int], object] | None = None) -> None:
        """wait(g): returns when no packet obeys a generation before g."""
        self.generation = generation
        self._wait = wait
        self._undo: list[Call] = []
        self._flip: list[Call] = []
        self.after: list[Call] = []

    def ensure_past(self, generation: int) -> None:
        """Waits until no packet obeys what was true before `generation`.

        For what has room for two versions only.  Raises DataPlaneError.
        """
        if self._wait is not None:
            self._wait(generation)

    def undo(self, call: Callable[..., object], *args: Any) -> None:
        """To be called, last first, if the change fails."""
        self._undo.append((call, args))

    def at_flip(self, call: Callable[..., object], *args: Any) -> None:
        """To be called just before the new generation is published; must not fail."""
        self._flip.append((call, args))

    def after_grace(self, call: Callable[..., object], *args: Any) -> None:
        """To be called when no packet of the previous generation runs any more."""
        self.after.append((call, args))

    @property
    def empty(self) -> bool:
        """True if nothing was changed."""
        return not (self._undo or self._flip or self.after)

    def roll_back(self) -> None:
        """Carries the undo calls out."""
        run(reversed(self._undo))

    def flip(self) -> None:
        """Carries the calls of the last moment out."""
        run(self._flip)


def run(calls: Any) -> None:
    """Carries `calls` out in order."""
    for call, args in calls:
        call(*args)
