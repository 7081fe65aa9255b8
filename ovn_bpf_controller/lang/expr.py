# SPDX-License-Identifier: Apache-2.0
"""Matches: text to typed trees.

`parse_match` is for the compiler; `Vocabulary` gives `actions` the same view
of prerequisites.  As in OVN's lib/expr.c, `!` is carried into the leaves
while they are parsed and prerequisites are added after that, so they stay
positive; a predicate is expanded, prerequisites and all, and then negated as
a whole when it is tested negatively.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang import lexer
from ovn_bpf_controller.lang.lexer import Tokens
from ovn_bpf_controller.lang.logic import INVERSE, conjunction, disjunction, negate
from ovn_bpf_controller.lang.nodes import (
    TRUE,
    And,
    Bool,
    Cmp,
    Const,
    Expr,
    Format,
    Or,
    PortCmp,
    PortGroupRef,
    Relop,
    Resident,
    SetRef,
)
from ovn_bpf_controller.lang.operands import (
    Constants,
    Operand,
    check_types,
    parse_constants,
    parse_operand,
)
from ovn_bpf_controller.lang.symbols import ACL_CT_SYMBOLS, SYMBOLS, Kind, Symbol

MAX_PAREN_DEPTH = 100  # OVN's; anything deeper is refused

_RELOPS = {r.value: r for r in Relop}
_TURNED = {
    Relop.EQ: Relop.EQ,
    Relop.NE: Relop.NE,
    Relop.LT: Relop.GT,
    Relop.GT: Relop.LT,
    Relop.LE: Relop.GE,
    Relop.GE: Relop.LE,
}
_UP = frozenset({Relop.LT, Relop.LE})
_DOWN = frozenset({Relop.GT, Relop.GE})
_EQUALITY = frozenset({Relop.EQ, Relop.NE})
_ZERO = Const(0, Format.HEX)


class Vocabulary:
    """A symbol table with its prerequisites and predicates, parsed once."""

    def __init__(self, symbols: dict[str, Symbol]) -> None:
        self.symbols = symbols
        self._texts: dict[str, Expr] = {}
        self._negated: dict[str, Expr] = {}

    def parse(self, text: str) -> Expr:
        """A prerequisite or expansion of the table, or one of an action."""
        if text not in self._texts:
            self._texts[text] = _Parser(Tokens(text), self).match() if text else TRUE
        return self._texts[text]

    def prerequisites(self, symbol: Symbol) -> Expr:
        """What every use of the symbol implies."""
        return self.parse(symbol.prereqs)

    def predicate(self, symbol: Symbol, positive: bool) -> Expr:
        """What a test of the predicate means."""
        expansion = symbol.expansion or ""
        expr = self.parse(expansion)
        if positive:
            return expr
        if expansion not in self._negated:
            self._negated[expansion] = negate(expr)
        return self._negated[expansion]


class _Parser:
    """Recursive descent over one match."""

    def __init__(self, tokens: Tokens, vocabulary: Vocabulary) -> None:
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.depth = 0
        self.negative = False  # inside an odd number of `!`

    def match(self) -> Expr:
        """The whole text."""
        expr = self.expression()
        if self.tokens.kind != lexer.END:
            self.tokens.fail("expecting end of input")
        return expr

    def error(self, message: str, position: int) -> LangError:
        return LangError(message, self.tokens.text, position)

    def expression(self) -> Expr:
        """A term, or terms joined by && or by ||, never by both."""
        terms = [self.unary()]
        operator = self.tokens.kind
        if operator not in ("&&", "||"):
            return terms[0]
        while self.tokens.match(operator):
            terms.append(self.unary())
        if self.tokens.kind in ("&&", "||"):
            message = "&& and || must be parenthesized when used together"
            raise self.error(message, self.tokens.position)
        return self.all_of(terms) if operator == "&&" else self.any_of(terms)

    def all_of(self, terms: Sequence[Expr]) -> Expr:
        """AND as written; the terms hold the enclosing `!` already."""
        return _either(terms) if self.negative else conjunction(terms)

    def any_of(self, terms: Sequence[Expr]) -> Expr:
        """OR as written."""
        return conjunction(terms) if self.negative else _either(terms)

    def unary(self) -> Expr:
        if not self.tokens.match("!"):
            return self.primary()[0]
        position = self.tokens.position
        self.negative = not self.negative
        expr, atomic = self.primary()
        self.negative = not self.negative
        if not atomic:
            raise self.error("missing parentheses around operand of !", position)
        return expr

    def primary(self) -> tuple[Expr, bool]:
        """(expression, whether a `!` may stand right before it)."""
        if self.tokens.kind == "(":
            return self.parenthesized(), True
        if self.tokens.kind != lexer.ID:
            return self.constant_first()
        if self.tokens.lookahead() == "(":
            return self.function(), True
        return self.field_first()

    def parenthesized(self) -> Expr:
        if self.depth >= MAX_PAREN_DEPTH:
            raise self.error("parentheses nested too deeply", self.tokens.position)
        self.tokens.advance()
        self.depth += 1
        expr = self.expression()
        self.depth -= 1
        self.tokens.force(")")
        return expr

    def function(self) -> Expr:
        if not self.tokens.match_id("is_chassis_resident"):
            self.tokens.fail("expecting function name")
        self.tokens.advance()
        lport = self.tokens.force_string()
        self.tokens.force(")")
        return Resident(lport, self.negative)

    def field_first(self) -> tuple[Expr, bool]:
        """`field`, `field relop constants`."""
        operand = parse_operand(self.tokens, self.vocabulary.symbols)
        if self.tokens.kind in _RELOPS:
            relop = self.relop()
            return self.compare(operand, relop, parse_constants(self.tokens)), False
        if operand.is_string or self.tokens.kind == "=":
            self.tokens.fail("expecting relational operator")
        if operand.width > 1 and not self.negative:
            message = "explicit != 0 is required for inequality test of multibit field against 0"
            raise self.error(message, operand.position)
        zero = Constants(operand.position, integers=[_ZERO])
        return self.compare(operand, Relop.NE, zero), True

    def constant_first(self) -> tuple[Expr, bool]:
        """`0`, `1`, `constants relop field`, `constant < field < constant`."""
        left = parse_constants(self.tokens)
        truth = left.alone()
        if (
            self.tokens.kind not in _RELOPS
            and truth is not None
            and truth.format is Format.DECIMAL
            and truth.mask is None
            and truth.value in (0, 1)
        ):
            return Bool((truth.value == 1) != self.negative), True
        first = self.relop()
        operand = parse_operand(self.tokens, self.vocabulary.symbols)
        lower = self.compare(operand, _TURNED[first], left)
        if self.tokens.kind not in _RELOPS:
            return lower, False
        position = self.tokens.position
        second = self.relop()
        right = parse_constants(self.tokens)
        if not any(first in way and second in way for way in (_UP, _DOWN)):
            message = "range expressions must have the form x < field < y or x > field > y"
            raise self.error(message, position)
        return self.all_of([lower, self.compare(operand, second, right)]), False

    def relop(self) -> Relop:
        relop = _RELOPS.get(self.tokens.kind)
        if relop is None:
            self.tokens.fail("expecting relational operator")
        self.tokens.advance()
        return relop

    # --- comparisons --------------------------------------------------

    def compare(self, operand: Operand, relop: Relop, constants: Constants) -> Expr:
        """One comparison with its prerequisites, `!` taken into account."""
        symbol = operand.symbol
        if not symbol.matchable:
            raise self.error(f"{symbol.name} can only be assigned", operand.position)
        check_types(self.tokens, operand, constants)
        if relop not in _EQUALITY:
            self.check_order(operand, constants)
        effective = INVERSE[relop] if self.negative else relop
        if symbol.kind is Kind.PREDICATE:
            return self.predicate(operand, effective, constants)
        if symbol.nominal and effective is not Relop.EQ:
            message = (
                f"nominal field {symbol.name} may only be tested for equality "
                "(taking enclosing ! operators into account)"
            )
            raise self.error(message, operand.position)
        if operand.is_string:
            return self.ports(operand, effective, constants)
        return self.numbers(operand, effective, constants)

    def check_order(self, operand: Operand, constants: Constants) -> None:
        """Refuse <, <=, > and >= where they make no sense."""
        symbol = operand.symbol
        const = constants.alone()
        if const is None:
            message = "only == and != may be used with value sets"
        elif symbol.nominal or symbol.kind is Kind.PREDICATE:
            message = f"only == and != may be used with {symbol.name}"
        elif const.mask is not None:
            message = "only == and != may be used with masked constants; consider a subfield"
        else:
            return
        raise self.error(message, constants.position)

    def predicate(self, operand: Operand, relop: Relop, constants: Constants) -> Expr:
        symbol = operand.symbol
        if constants.address_sets:
            message = f"{symbol.name} cannot be compared with an address set"
            raise self.error(message, constants.position)
        tests = []
        for const in constants.integers:
            assert isinstance(const.value, int)
            positive = bool(const.value & 1) == (relop is Relop.EQ)
            if symbol.nominal and not positive:
                message = f"nominal predicate {symbol.name} may only be tested positively"
                raise self.error(message, operand.position)
            tests.append(self.vocabulary.predicate(symbol, positive))
        return disjunction(tests) if relop is Relop.EQ else conjunction(tests)

    def ports(self, operand: Operand, relop: Relop, constants: Constants) -> Expr:
        root = operand.symbol.root
        tests: list[Expr] = [PortCmp(root, relop, name) for name in constants.strings]
        tests += [PortGroupRef(root, relop, name) for name in constants.port_groups]
        prereqs = self.vocabulary.prerequisites(operand.symbol)
        either = disjunction(tests) if relop is Relop.EQ else conjunction(tests)
        return conjunction((either, prereqs))

    def numbers(self, operand: Operand, relop: Relop, constants: Constants) -> Expr:
        field = operand.node()
        prereqs = self.vocabulary.prerequisites(operand.symbol)
        # A comparison != with nothing but empty sets is true without more.
        inner = prereqs if relop is Relop.NE else TRUE
        tests: list[Expr] = [
            SetRef(field.root, field.offset, field.width, relop, name, inner)
            for name in constants.address_sets
        ]
        for const in constants.integers:
            tests.append(_comparison(field.root, field.offset, field.width, relop, const))
        if relop is Relop.NE and constants.integers:
            tests.append(prereqs)
        if relop is Relop.NE:
            return conjunction(tests)
        either = _either(tests) if relop is Relop.EQ else conjunction(tests)
        return conjunction((either, prereqs))


def _either(terms: Sequence[Expr]) -> Expr:
    """OR, which keeps what names sets and groups even where a constant decides.

    For OVN leaves a flow out that names one which does not exist.
    """
    either = disjunction(terms)
    if either != TRUE:
        return either
    named = [ref for ref in _leaves(terms) if isinstance(ref, SetRef | PortGroupRef)]
    return Or((TRUE, *dict.fromkeys(named))) if named else TRUE


def _leaves(terms: Iterable[Expr]) -> Iterator[Expr]:
    for term in terms:
        if isinstance(term, And | Or):
            yield from _leaves(term.args)
        else:
            yield term


def _comparison(root: str, offset: int, width: int, relop: Relop, const: Const) -> Expr:
    """One Cmp; a mask without ones leaves a constant (0/0 equals everything)."""
    full = (1 << width) - 1
    mask = full if const.mask is None else const.mask & full
    assert isinstance(const.value, int)
    if not mask:
        return Bool(relop is Relop.EQ)
    return Cmp(root, offset, width, relop, const.value & mask, mask)


_STANDARD = Vocabulary(SYMBOLS)
_ACL_CT = Vocabulary(ACL_CT_SYMBOLS)


def vocabulary(ct_translation: bool = False) -> Vocabulary:
    """The shared vocabulary; see parse_match() for ct_translation."""
    return _ACL_CT if ct_translation else _STANDARD


@lru_cache(maxsize=1 << 12)
def parse_match(text: str, ct_translation: bool = False) -> Expr:
    """The tree of a match, with prerequisites, predicates expanded.

    ct_translation: the flow has the tag acl_ct_translation (26.03), so tcp,
    udp and sctp ports mean those of the connection's original direction.
    Raises LangError with the position of what is wrong.  Template variables
    must have been substituted before.
    """
    return _Parser(Tokens(text), vocabulary(ct_translation)).match()
