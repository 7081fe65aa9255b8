# SPDX-License-Identifier: Apache-2.0
"""Text to tokens, for matches and actions alike.

`expr` and `actions` walk a Tokens cursor.  One compiled regular expression
does the splitting, because a large Southbound has 150,000 matches; constants
are memoised by their text.  Source of the token rules: OVN's lib/lex.c.
"""

from __future__ import annotations

import json
import re
import socket
from functools import lru_cache
from typing import NoReturn

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.nodes import Const, Format

# Kinds of token that are not punctuation; punctuation is its own kind.
ID = "identifier"
INTEGER = "constant"
STRING = "string"
ADDRESS_SET = "address set"
PORT_GROUP = "port group"
TEMPLATE = "template"
END = "end of input"

# An address may hold colons until its first dot: 1.2.3.4:80 is three tokens,
# ::ffff:1.2.3.4 is one, and 0..7 is three.
_NUMBER = r"[0-9A-Za-z:]*(?:\.(?!\.)[0-9A-Za-z]*)*"
_NAME = r"[A-Za-z_.][A-Za-z_.0-9]*"
_SCANNER = re.compile(
    rf"""[ \t\n\r\v\f]*(?:
      (?P<int>(?=[0-9]|::|[0-9a-fA-F]+:){_NUMBER}(?:/{_NUMBER})?)
    | (?P<id>[A-Za-z_][A-Za-z_.0-9]*)
    | (?P<punct>==|!=|<=|>=|<->|&&|\|\||\.\.|--|[()\[\]{{}}<>=!,;:-])
    | (?P<str>"(?:[^"\\]|\\.)*")
    | (?P<as>\${_NAME})
    | (?P<pg>@{_NAME})
    | (?P<tmpl>\^{_NAME})
    | (?P<comment>//[^\n]*|/\*(?:(?!\*/)[^\n])*\*/)
    | (?P<end>\Z)
    | (?P<bad>)
    )""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = {"as": ADDRESS_SET, "pg": PORT_GROUP, "tmpl": TEMPLATE}
_ETHERNET = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}")
_DECIMAL = re.compile(r"[0-9]+")
_MAX_WIDTH = 1024  # of a hexadecimal constant, as in OVN's union mf_subvalue


class ConstantError(ValueError):
    """A constant that is no constant; the lexer adds where it stands."""


def _number(text: str) -> Const:
    """One integer or address, without mask."""
    if len(text) == 17 and _ETHERNET.fullmatch(text):
        return Const(int(text.replace(":", ""), 16), Format.ETH)
    if _DECIMAL.fullmatch(text):
        if text[0] == "0" and len(text) > 1:
            raise ConstantError("decimal constants must not have leading zeros")
        # More than 20 digits cannot fit, and int() limits what it takes.
        value = int(text) if len(text) <= 20 else 1 << 64
        if value >= 1 << 64:
            raise ConstantError("decimal constants must be less than 2**64")
        return Const(value, Format.DECIMAL)
    if text[:2] in ("0x", "0X"):
        return Const(_hexadecimal(text[2:]), Format.HEX)
    try:
        if ":" in text:
            packed = socket.inet_pton(socket.AF_INET6, text)
            return Const(int.from_bytes(packed, "big"), Format.IP6)
        packed = socket.inet_pton(socket.AF_INET, text)
        return Const(int.from_bytes(packed, "big"), Format.IP4)
    except (OSError, ValueError):
        raise ConstantError("invalid numeric constant") from None


def _hexadecimal(digits: str) -> int:
    if not re.fullmatch(r"[0-9a-fA-F]+", digits):
        raise ConstantError("invalid syntax in hexadecimal constant")
    value = int(digits, 16)
    if value.bit_length() > _MAX_WIDTH:
        raise ConstantError(f"hexadecimal constant requires more than {_MAX_WIDTH} bits")
    return value


def _prefix(bits: int, width: int) -> int:
    return ((1 << bits) - 1) << (width - bits)


def _mask(const: Const, mask: Const) -> int:
    """The mask of `const/mask`; a decimal after an address is a prefix length."""
    assert isinstance(mask.value, int)
    if const.format is mask.format:
        return mask.value
    if mask.format is Format.DECIMAL:
        width = {Format.IP4: 32, Format.IP6: 128}.get(const.format)
        if width is not None and mask.value <= width:
            return _prefix(mask.value, width)
    if const.format is Format.DECIMAL and mask.format is Format.HEX and const.value == 0:
        return mask.value
    raise ConstantError("value and mask have incompatible formats")


@lru_cache(maxsize=1 << 14)
def parse_constant(text: str) -> Const:
    """An integer, address or MAC, with an optional mask or prefix length.

    Raises ConstantError (a ValueError) when it is none of them.
    """
    head, slash, tail = text.partition("/")
    const = _number(head)
    if not slash:
        return const
    mask = _mask(const, _number(tail))
    assert isinstance(const.value, int)
    hexadecimal = const.format is Format.DECIMAL and tail[:2] in ("0x", "0X")
    return Const(const.value & mask, Format.HEX if hexadecimal else const.format, mask)


def unescape(literal: str) -> str:
    """The text of a string literal with its quotes; JSON's escapes.

    Raises ConstantError for an escape that JSON does not know.
    """
    if "\\" not in literal:
        return literal[1:-1]
    try:
        value = json.loads(literal, strict=False)
    except json.JSONDecodeError:
        raise ConstantError("invalid escape in string") from None
    return str(value)


Token = tuple[str, "str | Const", int]


def tokenize(text: str) -> list[Token]:
    """All tokens of text as (kind, value, position), ended by one of kind END.

    Raises LangError for what is no token.
    """
    tokens: list[Token] = []
    scan = _SCANNER.match
    position = 0
    while True:
        found = scan(text, position)
        assert found is not None
        group = found.lastgroup or ""
        start, position = found.span(group)
        if group == "id":
            tokens.append((ID, text[start:position], start))
        elif group == "punct":
            lexeme = text[start:position]
            tokens.append((lexeme, lexeme, start))
        elif group == "end":
            tokens.append((END, "", start))
            return tokens
        elif group != "comment":
            tokens.append(_token(group, text[start:position], text, start))


def _token(group: str, lexeme: str, text: str, position: int) -> Token:
    """The less frequent kinds, and what is none of them."""
    if group == "bad":
        raise LangError(_complaint(text, position), text, position)
    try:
        if group == "int":
            return INTEGER, parse_constant(lexeme), position
        if group == "str":
            return STRING, unescape(lexeme), position
    except ConstantError as error:
        raise LangError(str(error), text, position) from None
    return _KINDS[group], lexeme[1:], position


def _complaint(text: str, position: int) -> str:
    char = text[position]
    if char == '"':
        return "input ends inside quoted string"
    if char == "/":
        return "/ is only valid as part of //, /*…*/ or a mask"
    if char in "$@^":
        return f"{char} must be followed by a valid identifier"
    if char in "&|":
        return f"{char} is only valid as part of {char}{char}"
    if char == ".":
        return ". is only valid as part of .. or a number"
    return f"invalid character {char!r}"


class Tokens:
    """A cursor over the tokens of one text.

    kind, value, position: of the current token.  All methods that demand
    something raise LangError at the current position.
    """

    __slots__ = ("_next", "_tokens", "kind", "position", "text", "value")

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokenize(text)
        self._next = 1
        self.kind, self.value, self.position = self._tokens[0]

    def advance(self) -> None:
        """Go on to the next token; stays at END."""
        if self._next < len(self._tokens):
            self.kind, self.value, self.position = self._tokens[self._next]
            self._next += 1

    def lookahead(self) -> str:
        """Kind of the token after the current one."""
        return self._tokens[min(self._next, len(self._tokens) - 1)][0]

    def match(self, kind: str) -> bool:
        """Skip the current token if it is of that kind."""
        if self.kind != kind:
            return False
        self.advance()
        return True

    def match_id(self, name: str) -> bool:
        """Skip the current token if it is that identifier."""
        if self.kind != ID or self.value != name:
            return False
        self.advance()
        return True

    def force(self, kind: str) -> None:
        """Skip a token of that kind, or fail."""
        if not self.match(kind):
            self.fail(f"expecting {kind}")

    def force_id(self, what: str) -> str:
        """Take an identifier."""
        value = self.value
        if self.kind != ID or not isinstance(value, str):
            self.fail(f"expecting {what}")
        self.advance()
        return value

    def force_string(self, what: str = "string") -> str:
        """Take a quoted string."""
        value = self.value
        if self.kind != STRING or not isinstance(value, str):
            self.fail(f"expecting {what}")
        self.advance()
        return value

    def force_constant(self, what: str, *formats: Format, masked: bool = False) -> int:
        """Take a number or address of one of the formats, as an integer."""
        value = self.value
        if (
            not isinstance(value, Const)
            or value.format not in formats
            or (value.mask is not None and not masked)
            or not isinstance(value.value, int)
        ):
            self.fail(f"expecting {what}")
        self.advance()
        return value.value

    def force_int(self, what: str = "small integer", maximum: int = 0x7FFFFFFF) -> int:
        """Take a decimal number in 0..maximum."""
        position = self.position
        value = self.force_constant(what, Format.DECIMAL)
        if value > maximum:
            raise LangError(f"expecting {what}, at most {maximum}", self.text, position)
        return value

    def is_int(self) -> bool:
        """Whether force_int() would succeed."""
        value = self.value
        return (
            isinstance(value, Const)
            and value.format is Format.DECIMAL
            and value.mask is None
            and isinstance(value.value, int)
            and value.value <= 0x7FFFFFFF
        )

    def fail(self, message: str) -> NoReturn:
        """Raise LangError at the current token."""
        if self.kind == TEMPLATE:
            message = "unexpanded template"
        raise LangError(f"syntax error: {message}", self.text, self.position)
