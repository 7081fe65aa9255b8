# SPDX-License-Identifier: Apache-2.0
"""Breaks for what is long: tables.Tables and its parts write a millisecond's worth at a time.

Between two parts the agent's loop may go round, so that nothing waits for a large change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

PART: Final = 128  # things written without a break: about a millisecond

T = TypeVar("T")


def in_parts(things: Iterable[T], size: int = PART) -> Iterator[list[T]]:
    """The things, so many at a time: whoever writes them takes a break between."""
    rest = iter(things)
    while part := list(islice(rest, size)):
        yield part
