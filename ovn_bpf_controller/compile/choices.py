# SPDX-License-Identifier: Apache-2.0
"""Lists of numbers in matches, for compile.templates: `tcp.dst == {80, 443, 8080}`.

A match with a list is what the matches with each of its numbers are together, so that
its template is the one of the match with the first number alone: one for lists of any
length, found out without trying each number.
"""

from __future__ import annotations

import re
from typing import Final

from ovn_bpf_controller.compile.literals import Text
from ovn_bpf_controller.lang.nodes import Format

# Numbers that fit 64 bits, as lang.lexer reads them.
_NUMBER: Final = "(?:0|[1-9][0-9]{0,17})"
_LIST: Final = re.compile(rf"\{{\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)\s*\}}", re.ASCII)

Choices = list[list[int]]  # the numbers of each list, each once


def first_alone(match: str) -> tuple[str, Choices] | None:
    """The match with each list of numbers cut to its first, and the lists; None if
    there are none, or texts that are not what they look like."""
    if "\\" in match:
        return None
    found: Choices = []

    def cut(at: re.Match[str]) -> str:
        if match.count('"', 0, at.start()) % 2:
            return at[0]
        numbers = list(dict.fromkeys(map(int, at[1].split(","))))
        found.append(numbers)
        return f"{{{numbers[0]}}}"

    alone = _LIST.sub(cut, match)
    return (alone, found) if found else None


def listed(text: Text) -> tuple[int, ...]:
    """Which literals of a match from first_alone() stand for its lists, in order."""
    return tuple(
        n
        for n, (kind, _) in enumerate(text.values)
        if kind is Format.DECIMAL
        and text.parts[n].endswith("{")
        and text.parts[n + 1].startswith("}")
    )
