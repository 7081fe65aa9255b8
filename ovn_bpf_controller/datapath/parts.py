# SPDX-License-Identifier: Apache-2.0
"""Breaks for what is long: tables.Tables and its parts write a millisecond's worth at a time.

Between two parts the agent's loop may go round, so that nothing waits for a large change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

PART: Final = 128  # things written without a break: about a millisecond

T = TypeVar("T")


def in_parts(things: Iterable[T]) -> Iterator[T | None]:
    """The things, and None now and then: time for a break."""
    for number, thing in enumerate(things, 1):
        yield thing
        if not number % PART:
            yield None
