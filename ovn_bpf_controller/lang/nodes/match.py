# SPDX-License-Identifier: Apache-2.0
"""Trees of matches, and the fields and constants that actions name as well.

`expr` builds them; `normal`, `evaluate`, `references` and `compile` read them.
A match is in negation normal form: `!` is pushed into the leaves while it is parsed,
with prerequisites kept positive as in OVN's lib/expr.c, so there is no Not node.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from ovn_bpf_controller.plaindata import dataclass


class Relop(Enum):
    """Relational operators, spelt as in a match."""

    __hash__ = object.__hash__  # each is one object; Enum's own is many times slower

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="


class Format(Enum):
    """How a constant was written; it decides widths and option encodings."""

    __hash__ = object.__hash__  # each is one object; Enum's own is many times slower

    DECIMAL = "decimal"
    HEX = "hexadecimal"
    IP4 = "ipv4"
    IP6 = "ipv6"
    ETH = "ethernet"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Field:
    """A field or subfield as an operand.

    name: as written, without brackets.  root, offset, width: where it lies;
    width in bits, offset counted from the root's least significant bit.
    string: a logical port name (32-bit port key): inport, outport and
    remote_outport, whose root is reg1.
    """

    name: str
    root: str
    offset: int
    width: int
    string: bool = False


@dataclass(frozen=True, slots=True)
class Const:
    """A constant.  value is text for Format.STRING, otherwise an integer.

    mask: None when none was written; value has no bits outside it.
    """

    value: int | str
    format: Format
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Bool:
    """Constant truth."""

    value: bool


@dataclass(frozen=True, slots=True)
class Cmp:
    """(root >> offset) & mask, as width bits, against value.

    mask covers all of width unless one was written; relations other than ==
    and != always have a full mask.  value has no bits outside mask.
    """

    root: str
    offset: int
    width: int
    relop: Relop
    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class SetRef:
    """Field against the members of address set `name` (without the $).

    EQ: equal to any member.  NE: different from all members, and prereqs hold
    unless the set is empty: then the comparison is plainly true, as in OVN.
    """

    root: str
    offset: int
    width: int
    relop: Relop
    name: str
    prereqs: Expr = Bool(True)


@dataclass(frozen=True, slots=True)
class PortCmp:
    """root (inport, outport, or reg1 for remote_outport) against a port name.

    A name without a key never matches, neither == nor !=.
    """

    root: str
    relop: Relop
    port: str


@dataclass(frozen=True, slots=True)
class PortGroupRef:
    """root against the ports of port group `name` (without the @)."""

    root: str
    relop: Relop
    name: str


@dataclass(frozen=True, slots=True)
class Resident:
    """is_chassis_resident("lport"), or its negation."""

    lport: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of args; at least two, none of them an And."""

    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of args; at least two, none of them an Or."""

    args: tuple[Expr, ...]


Expr: TypeAlias = Bool | Cmp | SetRef | PortCmp | PortGroupRef | Resident | And | Or

TRUE = Bool(True)
FALSE = Bool(False)
