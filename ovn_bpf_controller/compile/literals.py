# SPDX-License-Identifier: Apache-2.0
"""The texts of matches and actions, taken apart into literals and what is around them.

compile.templates and compile.action_templates ask.  take() looks at every flow of
the Southbound and is in C (csrc/native/literals.c); take_apart() tells more, of one
flow in a hundred, and says what the C has to do.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
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
_COMMENT: Final = re.compile(r"""("[^"\\]*")|/\*.*?\*/""", re.DOTALL)
_STRING: Final = re.compile(r'"[^"\\]*"')
STRING: Final = "string"
SET: Final = "$"
GROUP: Final = "@"
WIDTHS: Final = {Format.IP4: 32, Format.IP6: 128, Format.ETH: 48}

Literal = tuple[object, int | str]  # Format, STRING, SET or GROUP; value


class Text(NamedTuple):
    """A text taken apart: parts[i] stands before literal i.  A comment is a space."""

    parts: tuple[str, ...]
    literals: tuple[str, ...]
    values: tuple[Literal, ...]

    def text(self) -> str:
        """The text itself, but for comments."""
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
    if "/*" in text:  # flows that differ in the name of something in a comment are alike
        text = _COMMENT.sub(lambda found: found[1] or " ", text)
        if "/*" in _STRING.sub("", text):
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


TAKEN: Final[Any] = ffi.new("struct ovn_literals *")  # what take() found last
_SHAPE: Final[Any] = ffi.buffer(TAKEN.shape)
_LOW: Final[Any] = TAKEN.low
_HIGH: Final[Any] = TAKEN.high
_ASK: Final[int] = lib.OVN_LITERALS_ASK
_ONES: Final = 0xFFFFFFFFFFFFFFFF
_HALF: Final = 0xFFFFFFFF
_NAMES: Final = frozenset({lib.OVN_LIT_STRING, lib.OVN_LIT_SET, lib.OVN_LIT_GROUP})
_PRINTABLE: Final = bytes(range(ord(" "), 256))
_take_apart: Final[Any] = lib.ovn_take_apart
_unpack: Final[Any] = ffi.unpack


def take(text: str) -> object | None:
    """A shape: texts with one shape have the same parts and kinds.

    The literals are in TAKEN if the shape is bytes.  Other shapes are of texts that are
    too much for the C: very long ones, large numbers.
    """
    data = text.encode()
    length = _take_apart(data, len(data), TAKEN)
    if length >= 0:
        return _SHAPE[:length]  # type: ignore[no-any-return]
    return _shape_of_odd(text) if length == _ASK else None


class Kinds(NamedTuple):
    """The literals of a shape: how many, and which are names or of more than 64 bits.

    odd: the shape is not bytes, and so they are not in TAKEN.
    """

    number: int
    names: tuple[int, ...]
    wide: tuple[int, ...]
    odd: bool


def kinds(shape: object) -> Kinds:
    """What take() told of a text."""
    if not isinstance(shape, bytes):
        return Kinds(0, (), (), True)
    found = shape.translate(None, _PRINTABLE)
    names = tuple([n for n, kind in enumerate(found) if kind in _NAMES])
    wide = tuple([n for n, kind in enumerate(found) if kind == lib.OVN_LIT_IP6])
    return Kinds(len(found), names, wide, False)


def values(text: str, known: Kinds) -> list[int | str]:
    """The values that take_apart() finds in the text that take() was asked of last.

    known: kinds() of its shape.
    """
    if known.odd:
        return [value for _, value in whole(text).values]
    found: list[Any] = _unpack(_LOW, known.number)
    for n in known.names:
        where = found[n]
        found[n] = text[where >> 32 : where & _HALF]
    for n in known.wide:
        found[n] |= _HIGH[n] << 64
    return found


def name_at(text: str, literal: int) -> str:
    """A literal that is a name, as values() has it."""
    where: int = _LOW[literal]
    return text[where >> 32 : where & _HALF]


def put(literals: Sequence[int | str]) -> bool:
    """Puts these numbers in TAKEN, as if take() had found them; False: they do not fit."""
    if len(literals) > lib.OVN_MAX_LITERALS:
        return False
    for n, value in enumerate(literals):
        if isinstance(value, str):
            continue
        if value >> 128:
            return False
        _LOW[n], _HIGH[n] = value & _ONES, value >> 64
    return True


def shape_of(text: str) -> tuple[object, list[int | str]] | None:
    """take() and values()."""
    shape = take(text)
    return None if shape is None else (shape, values(text, kinds(shape)))


def _shape_of_odd(text: str) -> object | None:
    found = take_apart(text)
    if found is None:
        return None
    return found.parts, tuple([kind for kind, _ in found.values])


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
