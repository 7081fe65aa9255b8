# SPDX-License-Identifier: Apache-2.0
"""What all parsers of actions share: cursor, vocabulary, checks of operands.

`actions` makes one for each list and hands it to the functions of `verbs` and
`results`; blocks get a context of their own on the same cursor.
"""

from __future__ import annotations

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.expr import Vocabulary
from ovn_bpf_controller.lang.lexer import Tokens
from ovn_bpf_controller.lang.nodes import Field
from ovn_bpf_controller.lang.operands import Operand, parse_operand
from ovn_bpf_controller.lang.symbols import Kind
from ovn_bpf_controller.plaindata import dataclass, replace


@dataclass(frozen=True, slots=True)
class Context:
    """Where actions are being parsed.

    ct_commit: in the block of ct_commit, where ct_mark and ct_label may be
    assigned and nothing else.  depth: of blocks.
    """

    tokens: Tokens
    vocabulary: Vocabulary
    ct_commit: bool = False
    depth: int = 0

    def nested(self, *, ct_commit: bool) -> Context:
        """The context of a block that starts here."""
        return replace(self, ct_commit=ct_commit, depth=self.depth + 1)

    def error(self, message: str, position: int) -> LangError:
        """An error about what begins at position."""
        return LangError(message, self.tokens.text, position)

    def operand(self) -> Operand:
        """A field, of any kind but predicates."""
        operand = parse_operand(self.tokens, self.vocabulary.symbols)
        if operand.symbol.kind is Kind.PREDICATE:
            message = f"predicate {operand.symbol.name} used where lvalue required"
            raise self.error(message, operand.position)
        return operand

    def readable(self, operand: Operand) -> Operand:
        """Refuse the fields that can only be assigned constants."""
        if not operand.symbol.matchable:
            message = f"{operand.symbol.name} can only be assigned a constant"
            raise self.error(message, operand.position)
        return operand

    def writable(self, operand: Operand) -> Operand:
        """Refuse fields that may not be modified here."""
        symbol = operand.symbol
        allowed = symbol.ct_commit if self.ct_commit else symbol.writable
        # frag_mtu and its kin are no packet fields; OVN takes them anywhere.
        if not allowed and symbol.matchable:
            raise self.error(f"field {symbol.name} is not modifiable", operand.position)
        return operand

    def sized(self, operand: Operand, width: int) -> Operand:
        """Refuse string fields and widths other than that."""
        name = operand.symbol.name
        if operand.is_string:
            message = f"cannot use string field {name} where numeric field is required"
        elif operand.width != width:
            message = (
                f"cannot use {operand.width}-bit field {name} where {width}-bit field is required"
            )
        else:
            return operand
        raise self.error(message, operand.position)

    def number(self, width: int) -> Field:
        """An argument that is a field of that many bits."""
        return self.sized(self.readable(self.operand()), width).node()

    def port(self) -> Field:
        """An argument that is a field with a logical port."""
        operand = self.operand()
        if not operand.is_string:
            name = operand.symbol.name
            message = f"cannot use numeric field {name} where string field is required"
            raise self.error(message, operand.position)
        return operand.node()

    def result(self, operand: Operand, width: int = 1) -> Field:
        """The destination of `R = verb(…)`."""
        return self.writable(self.readable(self.sized(operand, width))).node()
