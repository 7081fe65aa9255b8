# SPDX-License-Identifier: Apache-2.0
"""Plans for the C that fills literals in (csrc/native/fill.h), and what it made.

compile.plans has them of matches, compile.action_templates of actions.  A plan is bytes,
so that it can be kept in a file and given to the C as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from struct import pack
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.literals import TAKEN
from ovn_bpf_controller.plaindata import NamedTuple

_WORDS: Final[Any] = ffi.new("uint32_t []", lib.OVN_FILL_WORDS)
_BYTES: Final[Any] = ffi.buffer(_WORDS)
_BITS: Final = 128  # of the largest literal
_unpack: Final[Any] = ffi.unpack
_fill: Final[Any] = lib.ovn_fill


class Blank(NamedTuple):
    """A literal to fill in: it may be as large as `most`; of it `mask` counts."""

    literal: int
    mask: int
    most: int


class Slot(NamedTuple):
    """Word `at` gets (masked value of a blank >> pos & ones) << shift."""

    blank: int
    pos: int
    ones: int
    at: int
    shift: int


# Words (a, b) that are to agree in a mask: two keys meet if all of a pair's do.
Pair = Sequence[tuple[int, int, int]]


def plan(
    words: Sequence[int], blanks: Sequence[Blank], slots: Sequence[Slot], pairs: Sequence[Pair] = ()
) -> bytes | None:
    """For filled_words() and filled_bytes(); words: with zeros in the slots.

    None if it is too much for the C.
    """
    if len(words) > lib.OVN_FILL_WORDS or len(blanks) > lib.OVN_MAX_LITERALS:
        return None
    if any(blank.literal >= lib.OVN_MAX_LITERALS for blank in blanks):
        return None
    numbers = [len(words), len(blanks), len(slots), len(pairs), *words]
    for blank in blanks:
        numbers += [blank.literal, *_quarters(blank.mask), *_quarters(blank.most)]
    numbers += chain.from_iterable(slots)
    for pair in pairs:
        last = len(pair) - 1
        for n, (a, b, mask) in enumerate(pair or ((0, 0, 0),)):
            numbers += (a, b, mask, n < last)
    return pack(f"={len(numbers)}I", *numbers)


def _quarters(value: int) -> Sequence[int]:
    return [value >> shift & 0xFFFFFFFF for shift in range(0, _BITS, 32)]


def filled_words(code: bytes, size: int) -> tuple[int, ...] | None:
    """The `size` words of an instance with what is in literals.TAKEN; None when a value
    does not fit, or keys meet."""
    if _fill(code, TAKEN, _WORDS) < 0:
        return None
    return tuple(_unpack(_WORDS, size))


def filled_bytes(code: bytes, size: int) -> bytes | None:
    """The same as `size` bytes."""
    if _fill(code, TAKEN, _WORDS) < 0:
        return None
    made: bytes = _BYTES[:size]
    return made
