# SPDX-License-Identifier: Apache-2.0
"""The texts of matches and actions, taken apart into literals and what is around them.

compile.templates and compile.action_templates ask.  shape_of() looks at every flow of
the Southbound and is in C (csrc/native/literals.c); take_apart() tells more, of one
flow in a hundred, and says what the C has to do.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.lang.lexer import ConstantError, parse_constant
from ovn_bpf_controller.lang.nodes import Format
from ovn_bpf_controller.plaindata import NamedTuple

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


def whole(text: str) -> Text:
    """A text that has a shape, with all that is known of it."""
    found = take_apart(text)
    assert found is not None
    return found


_OUT: Final[Any] = ffi.new("struct ovn_literals *")
_SHAPE: Final[Any] = ffi.buffer(_OUT.shape)
_LOW: Final[Any] = _OUT.low
_ASK: Final[int] = lib.OVN_LITERALS_ASK
_unpack: Final[Any] = ffi.unpack


def shape_of(text: str) -> tuple[object, list[int | str]] | None:
    """The values that take_apart() finds, and a shape: texts with one shape have the
    same parts and kinds."""
    data = text.encode()
    length = lib.ovn_take_apart(data, len(data), _OUT)
    if length < 0:
        return _shape_of_odd(text) if length == _ASK else None
    values: list[int | str] = _unpack(_LOW, _OUT.n)
    names = _OUT.n_names
    if names:
        where = _unpack(_OUT.names, 3 * names)
        for i in range(0, 3 * names, 3):
            values[where[i]] = text[where[i + 1] : where[i + 2]]
    for i in range(_OUT.n_wide):
        n = _OUT.wide[i]
        values[n] = _OUT.high[n] << 64 | _LOW[n]
    return _SHAPE[:length], values


def _shape_of_odd(text: str) -> tuple[object, list[int | str]] | None:
    """The same of texts that are too much for the C: very long ones, large numbers."""
    found = take_apart(text)
    if found is None:
        return None
    kinds = tuple([kind for kind, _ in found.values])
    return (found.parts, kinds), [value for _, value in found.values]


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
