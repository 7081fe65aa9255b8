# SPDX-License-Identifier: Apache-2.0
"""The texts of matches and actions, taken apart into literals and what is around them.

compile.templates and compile.action_templates ask.  What takes a text apart is one
regular expression, since it looks at every flow of the Southbound.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final, NamedTuple

from ovn_bpf_controller.lang.lexer import ConstantError, parse_constant
from ovn_bpf_controller.lang.nodes import Format

# As lang.lexer reads constants and names, but without a mask: masks stay in the template.
_LITERAL: Final = re.compile(
    r"""("[^"\\]*"|[$@][A-Za-z_.][\w.]*|(?<![\w.$@/])(?=[0-9]|::|[0-9a-fA-F]+:)"""
    r"""[0-9A-Za-z:]*(?:\.(?!\.)[0-9A-Za-z]*)*)""",
    re.ASCII,
)
# Variables, IPv6 masks, escapes: not worth a template.
_ODD: Final = re.compile(r"//|\^|\\|/[0-9a-fA-F]*:")
STRING: Final = "string"
SET: Final = "$"
GROUP: Final = "@"
WIDTHS: Final = {Format.IP4: 32, Format.IP6: 128, Format.ETH: 48}

Literal = tuple[object, int | str]  # Format, STRING, SET or GROUP; value


class Text(NamedTuple):
    """A text taken apart: parts[i] stands before literal i."""

    parts: tuple[str, ...]
    literals: tuple[str, ...]
    values: tuple[Literal, ...]

    def text(self) -> str:
        """The text itself."""
        return "".join(p + q for p, q in zip(self.parts, (*self.literals, ""), strict=True))

    def with_literal(self, index: int, text: str) -> str:
        """The text with another literal."""
        literals = [*self.literals[:index], text, *self.literals[index + 1 :], ""]
        return "".join(p + q for p, q in zip(self.parts, literals, strict=True))


@lru_cache(maxsize=1 << 16)
def _value(text: str) -> Literal | None:
    if text[0] == '"':
        return STRING, text[1:-1]
    if text[0] in "$@":
        return text[0], text[1:]
    try:
        const = parse_constant(text)
    except ConstantError:
        return None
    assert isinstance(const.value, int)
    return const.format, const.value


def take_apart(text: str) -> Text | None:
    """The literals of a match or of actions; None for texts that have no template."""
    if _ODD.search(text):
        return None
    pieces_ = _LITERAL.split(text)
    values = [_value(literal) for literal in pieces_[1::2]]
    known = tuple([value for value in values if value is not None])
    if len(known) != len(values):
        return None
    return Text(tuple(pieces_[::2]), tuple(pieces_[1::2]), known)


def another(value: Literal, mask: int = 0) -> str | None:
    """A literal of the same kind with another value; mask: the bits to turn over."""
    kind, number = value
    if kind in (SET, GROUP):
        return f"{kind}{number}_"
    if isinstance(number, str):
        return f'"{number}\'"' if number else None
    if not mask:
        mask = 1 << WIDTHS[kind] - 1 if kind in WIDTHS else 1
    number ^= mask
    if kind is Format.IP4:
        return str(ipaddress.IPv4Address(number))
    if kind is Format.IP6:
        return str(ipaddress.IPv6Address(number))
    if kind is Format.ETH:
        return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))
    return f"{number:#x}" if kind is Format.HEX else str(number)
