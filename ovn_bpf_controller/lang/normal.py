# SPDX-License-Identifier: Apache-2.0
"""Matches to disjunctions of masked equalities.

`disjuncts` is what the compiler makes keys from.  Positive comparisons stay
as they were written: a set that has a number is one entry (lang.sets says which
may be), another is one entry a member.  Ranges and exclusions on one field are
first combined as intervals, and cut into prefixes unless lang.remains makes a set of
them.  Conjunctions are formed by hash joins on the bits that both sides constrain, so
contradictions cost nothing, and stop as soon as they exceed the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from math import prod
from typing import Protocol

from ovn_bpf_controller.errors import LangError, UnsupportedError
from ovn_bpf_controller.lang import intervals
from ovn_bpf_controller.lang.conjuncts import Conjuncts, Subfield, differing, excluded, ordered
from ovn_bpf_controller.lang.intervals import Intervals, Prefix
from ovn_bpf_controller.lang.lexer import ConstantError, parse_constant
from ovn_bpf_controller.lang.named import check, settled
from ovn_bpf_controller.lang.nodes import (
    Bool,
    Cmp,
    Expr,
    Or,
    PortCmp,
    PortGroupRef,
    Relop,
    Resident,
    SetRef,
)
from ovn_bpf_controller.lang.operands import constant_width
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.remains import FULL, number_remains
from ovn_bpf_controller.lang.sets import (
    DIMENSIONS,
    MANY,
    MAX_PRODUCT,
    NOTHING,
    Barred,
    combinations,
    content,
    dimension,
    flat,
    listed,
    shares,
    ways_to_bar,
)
from ovn_bpf_controller.lang.symbols import ACL_CT_SYMBOLS
from ovn_bpf_controller.lang.terms import Conj, join, lift, masks, merge, minimal, narrow
from ovn_bpf_controller.lang.ways import ways, written_out

__all__ = ["Conj", "MatchEnv", "constant", "disjuncts", "set_members"]


class MatchEnv(Protocol):
    """What a match depends on besides the packet."""

    def address_set(self, name: str) -> Sequence[str] | None:
        """Members of an address set as text; None when there is none."""

    def port_group(self, name: str) -> Sequence[str] | None:
        """Ports of a port group by name; None when there is none.

        name: as in the match.  Where the Southbound prefixes it with the
        datapath's tunnel key ("3_pg"), that is the callee's affair.
        """

    def port_key(self, lport: str) -> int | None:
        """Tunnel key of a port or multicast group; None: matches nothing."""

    def is_resident(self, lport: str) -> bool:
        """Whether the port is bound to this chassis."""

    def set_number(self, name: str, width: int) -> int | None:
        """The number by which packets know an address set; None: expand it.

        name: see lang.sets.content() for sets without one.  width: of the
        values: 32 or 128, without a name also 16 or 48.  A set that disjuncts()
        would refuse has none.
        """

    def group_number(self, name: str) -> int | None:
        """The same of a port group."""


def disjuncts(expr: Expr, env: MatchEnv, limit: int) -> list[Conj]:
    """expr as an OR of conjunctions of masked equalities, sorted.

    A conjunction is ((root field, value, mask), …) sorted by field, masks
    never 0; () is always true, and no conjunction at all is never true.
    Fields are roots without overlap: registers as reg0..reg9.  A field named in
    lang.sets has the number of a set that another field's value is a member of.

    Raises LangError for a set or group that does not exist or does not fit
    the field, UnsupportedError when more than limit conjunctions result.
    """
    if isinstance(expr, Cmp) and expr.relop is Relop.EQ:
        return [lift(expr.root, expr.offset, expr.width, expr.value, expr.mask)]
    known = settled(expr, env)
    expr = written_out(known)
    best = _expanded(expr, env, limit, NOTHING)
    if best is None or masks(best) > MANY:
        each = ways(known)
        if each is not None:
            best = _better(best, _expanded(each, env, limit, NOTHING))
    if best is None or len(best) > MANY:
        # Two sets that exclude each other are many combinations only by number.
        for barred in ways_to_bar(expr):
            best = _better(best, _expanded(expr, env, limit, barred))
    if best is None:
        raise _too_many(limit)
    return best


def _better(one: list[Conj] | None, other: list[Conj] | None) -> list[Conj] | None:
    """Fewer masks, as far as there are hundreds, or else fewer conjunctions."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other, key=lambda terms: (max(masks(terms), MANY), len(terms)))


def _expanded(expr: Expr, env: MatchEnv, limit: int, barred: Barred) -> list[Conj] | None:
    """The conjunctions of expr, sorted; None if there are too many."""
    try:
        found = minimal(_Expansion(env, limit).expand(expr, (), barred))
    except UnsupportedError:
        return None
    return sorted(found) if len(found) <= limit else None


def _too_many(limit: int) -> UnsupportedError:
    return UnsupportedError(f"match expands to more than {limit} combinations")


@lru_cache(maxsize=1 << 16)
def constant(text: str) -> tuple[int, int | None, int] | None:
    """(value, mask, bits it needs) of a set's member; None if it is no constant."""
    try:
        const = parse_constant(text.strip())
    except ConstantError:
        return None
    assert isinstance(const.value, int)
    return const.value, const.mask, constant_width(const)


def set_members(ref: SetRef, env: MatchEnv) -> list[Prefix]:
    """Members of an address set as (value, mask) of the field ref is about.

    Members that are no constants are left out, as OVN does.
    Raises LangError as disjuncts().
    """
    texts = check(ref, env.address_set(ref.name))
    limit = ACL_CT_SYMBOLS[ref.root].width
    full = (1 << ref.width) - 1
    found = []
    for text in texts:
        member = constant(text)
        if member is None:
            continue
        value, mask, width = member
        if width > limit:
            message = f"{text} of ${ref.name} does not fit {limit}-bit {ref.root}"
            raise LangError(message, f"${ref.name}", 0)
        mask = full if mask is None else mask & full
        found.append((value & mask, mask))
    return found


def _group_keys(ref: PortGroupRef, env: MatchEnv) -> list[int]:
    ports = check(ref, env.port_group(ref.name))
    keys = (env.port_key(port) for port in ports)
    return [key for key in keys if key is not None]


class _Expansion:
    """One call of disjuncts()."""

    def __init__(self, env: MatchEnv, limit: int) -> None:
        self.env = env
        self.limit = limit
        self.inner = 0  # of how many conjunctions what is expanded is a part

    def check(self, found: list[Conj]) -> list[Conj]:
        """Refuse what is too long even without redundant entries.

        Up to twice the limit is let through, so that the clean-up pays.
        """
        if len(found) > 2 * self.limit:
            found = minimal(found)
            if len(found) > self.limit:
                raise _too_many(self.limit)
        return found

    def expand(self, expr: Expr, known: Conj, barred: Barred) -> list[Conj]:
        """Alternatives of expr that do not contradict known.

        barred: fields whose sets must be expanded here.
        """
        if isinstance(expr, Or):
            found: dict[Conj, None] = {}
            for arg in expr.args:
                found.update(dict.fromkeys(self.expand(arg, known, barred)))
                if len(found) > 2 * self.limit:
                    found = dict.fromkeys(self.check(list(found)))
            return list(found)
        return self.conjoin(flat(expr), known, barred)

    def conjoin(self, args: Sequence[Expr], known: Conj, barred: Barred) -> list[Conj]:
        parts = Conjuncts()
        for arg, bars in shares(args, barred):
            if not self.sort_in(arg, parts, bars):
                return []
        self.number_lists(parts)
        fixed = tuple(sorted((root, *bits) for root, bits in parts.fixed.items()))
        context = merge(known, fixed)
        if context is None or not all(parts.allowed.values()):
            return []
        if not (parts.lists or parts.later or parts.allowed):
            return [fixed]
        lists = [[t for t in terms if merge(context, t) is not None] for terms in parts.lists]
        self.inner += 1
        for alternative, bars in parts.later:
            lists.append(self.expand(alternative, context, bars))
        self.inner -= 1
        lists.sort(key=len)
        result = [fixed]
        for terms in lists:
            result = self.check(join(result, terms, self.limit))
        if not self.inner:
            result = number_remains(result, parts.allowed, barred, self.env.set_number)
        return self.restrict(result, parts.allowed, known)

    def number_lists(self, parts: Conjuncts) -> None:
        """Make sets of long lists of addresses that would multiply with others."""
        if len(parts.later) + len(parts.lists) < 2 or not any(listed(o) for o, _ in parts.later):
            return
        sizes = [combinations(each) for each, _ in parts.later] + list(map(len, parts.lists))
        if prod(sizes) <= MAX_PRODUCT:
            return
        rest = []
        for each, barred in parts.later:
            root = listed(each)
            numbered = False
            if root and DIMENSIONS[root] not in barred:
                number = self.env.set_number(*content(each))
                numbered = number is not None and parts.fix(((DIMENSIONS[root], number, FULL),))
            if not numbered:
                rest.append((each, barred))
        parts.later = rest

    def sort_in(self, expr: Expr, parts: Conjuncts, barred: Barred) -> bool:
        """Put one part of an AND where it belongs; False: it cannot hold."""
        if isinstance(expr, Cmp):
            return self.sort_cmp(expr, parts)
        if isinstance(expr, Or):
            parts.later.append((expr, barred))
            return True
        if isinstance(expr, PortCmp):
            return self.sort_port(expr, parts)
        if isinstance(expr, SetRef):
            return self.sort_set(expr, parts, barred)
        if isinstance(expr, PortGroupRef):
            if self.by_number(expr, parts, barred):
                return True
            keys = [(key, 0xFFFFFFFF) for key in _group_keys(expr, self.env)]
            return self.choose(expr.relop, (expr.root, 0, 32), keys, parts)
        if isinstance(expr, Resident):
            return self.env.is_resident(expr.lport) != expr.negated
        if isinstance(expr, Bool):
            return expr.value
        return all(self.sort_in(arg, parts, barred) for arg in expr.args)

    def sort_cmp(self, cmp: Cmp, parts: Conjuncts) -> bool:
        subfield = (cmp.root, cmp.offset, cmp.width)
        if cmp.relop is Relop.EQ:
            return parts.fix(lift(*subfield, cmp.value, cmp.mask))
        if cmp.relop is not Relop.NE:
            parts.allow(subfield, ordered(cmp))
        else:
            return self.choose(Relop.NE, subfield, [(cmp.value, cmp.mask)], parts)
        return True

    def sort_port(self, cmp: PortCmp, parts: Conjuncts) -> bool:
        key = self.env.port_key(cmp.port)
        if key is None:
            return False
        if cmp.relop is Relop.NE:
            return self.choose(Relop.NE, (cmp.root, 0, 32), [(key, 0xFFFFFFFF)], parts)
        return parts.fix(lift(cmp.root, 0, 32, key, 0xFFFFFFFF))

    def by_number(self, ref: SetRef | PortGroupRef, parts: Conjuncts, barred: Barred) -> bool:
        """Let the packet's memberships decide; False: ref must be expanded."""
        root = dimension(ref)
        if not root or root in barred:
            return False
        if isinstance(ref, SetRef):
            number = self.env.set_number(ref.name, ref.width)
        else:
            number = self.env.group_number(ref.name)
        return number is not None and parts.fix(((root, number, FULL),))

    def sort_set(self, ref: SetRef, parts: Conjuncts, barred: Barred) -> bool:
        if self.by_number(ref, parts, barred):
            return True
        members = set_members(ref, self.env)
        if ref.relop is Relop.NE and members and not self.sort_in(ref.prereqs, parts, barred):
            return False
        return self.choose(ref.relop, (ref.root, ref.offset, ref.width), members, parts)

    def choose(
        self, relop: Relop, subfield: Subfield, values: Sequence[Prefix], parts: Conjuncts
    ) -> bool:
        """Equal to one of the values, or to none of them."""
        if relop is Relop.EQ:
            if not values:
                return False
            parts.lists.append(list(dict.fromkeys(lift(*subfield, v, m) for v, m in values)))
            return True
        width = subfield[2]
        simple = [(v, m) for v, m in values if intervals.is_prefix(m, width)]
        if simple:
            parts.allow(subfield, excluded(simple, width))
        for value, mask in values:
            if not intervals.is_prefix(mask, width):
                alternatives = differing(value, mask)
                parts.lists.append([lift(*subfield, v, m) for v, m in alternatives])
        return True

    def restrict(
        self, terms: list[Conj], allowed: dict[Subfield, Intervals], known: Conj
    ) -> list[Conj]:
        """Apply ranges and exclusions to finished conjunctions."""
        for subfield, values in allowed.items():
            found: list[Conj] = []
            for term in terms:
                found.extend(self.within(term, subfield, values, known))
                if len(found) > 2 * self.limit:
                    found = self.check(found)
            terms = found
        return terms

    def within(
        self, term: Conj, subfield: Subfield, values: Intervals, known: Conj
    ) -> Sequence[Conj]:
        """term with one subfield confined to values.

        Values that what is known rules out need no alternatives, but the
        alternatives must not rely on it: they stand for themselves.
        """
        width = subfield[2]
        full = (1 << width) - 1
        value, mask = narrow(term, pieces(*subfield))
        if intervals.is_prefix(mask, width):
            high = value | (full & ~mask)
            values = intervals.clip(values, value, high)
            if values == ((value, high),):
                return (term,)
        cuts = list(islice(intervals.prefixes(values, width), self.limit + 1))
        if len(cuts) > self.limit:
            raise _too_many(self.limit)
        merged = (merge(term, lift(*subfield, v, m)) for v, m in cuts)
        return [t for t in merged if t is not None and merge(known, t) is not None]
