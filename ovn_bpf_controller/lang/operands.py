# SPDX-License-Identifier: Apache-2.0
"""Fields and constants, the operands of matches and of actions.

`expr` and `actions` parse them from a Tokens cursor with the functions here
and share the checks of types and widths (OVN's lib/expr.c).
"""

from __future__ import annotations

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang import lexer
from ovn_bpf_controller.lang.lexer import Tokens
from ovn_bpf_controller.lang.nodes import Const, Field, Format
from ovn_bpf_controller.lang.symbols import Kind, Symbol
from ovn_bpf_controller.plaindata import dataclass, field

_FIXED_WIDTH = {Format.IP4: 32, Format.IP6: 128, Format.ETH: 48}


@dataclass(frozen=True, slots=True)
class Operand:
    """Bits offset..offset+width-1 of a symbol, and where its name stands."""

    symbol: Symbol
    offset: int
    width: int
    position: int

    @property
    def is_string(self) -> bool:
        """Whether it holds a logical port."""
        return self.symbol.kind is Kind.STRING

    def node(self) -> Field:
        """The same as a node; not for predicates."""
        s = self.symbol
        return Field(s.name, s.root, s.offset + self.offset, self.width, self.is_string)


@dataclass(slots=True)
class Constants:
    """The right-hand side of a comparison, or an option's value."""

    position: int
    curly: bool = False
    integers: list[Const] = field(default_factory=list)
    address_sets: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)
    port_groups: list[str] = field(default_factory=list)

    @property
    def is_string(self) -> bool:
        """Whether these are port names and port groups."""
        return bool(self.strings or self.port_groups)

    @property
    def is_integer(self) -> bool:
        """Whether these are numbers, addresses and address sets."""
        return bool(self.integers or self.address_sets)

    def alone(self) -> Const | None:
        """The integer, if there is just one, and no braces."""
        if self.curly or self.address_sets or len(self.integers) != 1:
            return None
        return self.integers[0]


def parse_operand(tokens: Tokens, symbols: dict[str, Symbol]) -> Operand:
    """A field name with an optional [i] or [i..j]."""
    position = tokens.position
    name = tokens.value if tokens.kind == lexer.ID else None
    symbol = symbols.get(name) if isinstance(name, str) else None
    if symbol is None:
        tokens.fail("expecting field name")
    tokens.advance()
    if tokens.kind != "[":
        return Operand(symbol, 0, symbol.width, position)
    low, high = _bits(tokens, symbol)
    return Operand(symbol, low, high - low + 1, position)


def _bits(tokens: Tokens, symbol: Symbol) -> tuple[int, int]:
    position = tokens.position
    if symbol.kind is Kind.STRING:
        raise LangError(f"cannot select subfield of string {symbol.name}", tokens.text, position)
    tokens.advance()
    low = tokens.force_int()
    high = tokens.force_int() if tokens.match("..") else low
    tokens.force("]")
    if low > high:
        message = f"invalid bit range {low} to {high}"
    elif high >= symbol.width:
        message = f"cannot select bits {low} to {high} of {symbol.width}-bit field {symbol.name}"
    elif symbol.nominal and (low, high) != (0, symbol.width - 1):
        message = f"cannot select subfield of nominal field {symbol.name}"
    else:
        return low, high
    raise LangError(message, tokens.text, position)


def parse_constants(tokens: Tokens) -> Constants:
    """One constant, or several in braces with or without commas."""
    constants = Constants(tokens.position)
    if not tokens.match("{"):
        _constant(tokens, constants)
        return constants
    constants.curly = True
    while True:
        _constant(tokens, constants)
        tokens.match(",")
        if tokens.match("}"):
            return constants


def _constant(tokens: Tokens, constants: Constants) -> None:
    """Add the current token, which must be of the kind of those before."""
    kind, value = tokens.kind, tokens.value
    if isinstance(value, Const):
        expected = "string"
        constants.integers.append(value)
    elif kind == lexer.ADDRESS_SET:
        expected = "string"
        constants.address_sets.append(value)
    elif kind == lexer.STRING:
        expected = "integer"
        constants.strings.append(value)
    elif kind == lexer.PORT_GROUP:
        expected = "integer"
        constants.port_groups.append(value)
    else:
        tokens.fail("expecting constant")
    if constants.is_integer and constants.is_string:
        tokens.fail(f"expecting {expected}, like the constants before")
    tokens.advance()


def constant_width(const: Const) -> int:
    """Bits that an integer constant needs at least."""
    if const.mask is not None:
        return const.mask.bit_length()
    assert isinstance(const.value, int)
    return _FIXED_WIDTH.get(const.format) or const.value.bit_length()


def check_types(tokens: Tokens, operand: Operand, constants: Constants) -> None:
    """Raise LangError unless the constants can be compared with the operand."""
    symbol = operand.symbol
    if operand.is_string != constants.is_string:
        kind, other = ("string", "integer") if operand.is_string else ("integer", "string")
        raise LangError(
            f"{kind} field {symbol.name} is not compatible with {other} constant",
            tokens.text,
            constants.position,
        )
    for const in constants.integers:
        width = constant_width(const)
        if width > symbol.width:
            raise LangError(
                f"{width}-bit constant is not compatible with "
                f"{symbol.width}-bit field {symbol.name}",
                tokens.text,
                constants.position,
            )
