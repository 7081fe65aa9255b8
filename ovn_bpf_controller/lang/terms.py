# SPDX-License-Identifier: Apache-2.0
"""Conjunctions of masked equalities, and lists of them.

The arithmetic below `normal`: a Conj is ((root, value, mask), …) sorted by
root, without overlap between roots and with masks that are never 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from ovn_bpf_controller.lang.registers import Piece, pieces

Conj: TypeAlias = tuple[tuple[str, int, int], ...]
_Signature: TypeAlias = tuple[tuple[str, int], ...]

# Beyond this many combinations of masks the search for entries that others
# cover costs more than it can save; exact duplicates always go.
_MAX_SIGNATURES = 256


def lift(root: str, offset: int, width: int, value: int, mask: int) -> Conj:
    """value/mask of a subfield as a conjunction over root fields."""
    if not mask:
        return ()
    parts = pieces(root, offset, width)
    if len(parts) == 1:
        name, low, _, _ = parts[0]
        return ((name, value << low, mask << low),)
    found = []
    for name, low, size, shift in parts:
        ones = (1 << size) - 1
        bits = mask >> shift & ones
        if bits:
            found.append((name, (value >> shift & ones) << low, bits << low))
    return tuple(sorted(found))


def narrow(term: Conj, parts: tuple[Piece, ...]) -> tuple[int, int]:
    """What a conjunction says about a subfield, as (value, mask)."""
    value = mask = 0
    for name, known, bits in term:
        for root, low, size, shift in parts:
            if root == name:
                ones = (1 << size) - 1
                value |= (known >> low & ones) << shift
                mask |= (bits >> low & ones) << shift
    return value, mask


def merge(a: Conj, b: Conj) -> Conj | None:
    """Both at once; None when they contradict each other."""
    if not a:
        return b
    if not b:
        return a
    found = {root: (value, mask) for root, value, mask in a}
    for root, value, mask in b:
        known = found.get(root)
        if known is not None:
            if (known[0] ^ value) & known[1] & mask:
                return None
            value, mask = known[0] | value, known[1] | mask
        found[root] = (value, mask)
    return tuple(sorted((root, value, mask) for root, (value, mask) in found.items()))


def _signature(term: Conj) -> _Signature:
    return tuple((root, mask) for root, _, mask in term)


def masks(terms: Iterable[Conj]) -> int:
    """How many combinations of fields and bits are looked at."""
    return len({_signature(term) for term in terms})


def _by_signature(terms: Iterable[Conj]) -> dict[_Signature, list[Conj]]:
    groups: dict[_Signature, list[Conj]] = {}
    for term in terms:
        groups.setdefault(_signature(term), []).append(term)
    return groups


def _project(term: Conj, bits: dict[str, int]) -> tuple[int, ...]:
    """Values of the given bits; term constrains all their roots."""
    return tuple(value & bits[root] for root, value, _ in term if root in bits)


def join(left: list[Conj], right: list[Conj], limit: int) -> list[Conj]:
    """All consistent pairs, without duplicates.

    Gives up with more than `limit` entries, not all pairs, when there are more
    even without redundant ones.
    """
    if left == [()]:
        return right
    found: dict[Conj, None] = {}
    right_groups = _by_signature(right)
    for left_signature, left_terms in _by_signature(left).items():
        left_masks = dict(left_signature)
        for right_signature, right_terms in right_groups.items():
            common = {
                root: mask & left_masks[root]
                for root, mask in right_signature
                if mask & left_masks.get(root, 0)
            }
            index: dict[tuple[int, ...], list[Conj]] = {}
            for term in right_terms:
                index.setdefault(_project(term, common), []).append(term)
            for term in left_terms:
                for other in index.get(_project(term, common), ()):
                    both = merge(term, other)
                    if both is not None:
                        found[both] = None
                if len(found) > 2 * limit:  # twice, so that the clean-up pays
                    found = dict.fromkeys(minimal(list(found)))
                    if len(found) > limit:
                        return list(found)
    return list(found)


@lru_cache(maxsize=1 << 14)
def _covers(general: _Signature, special: _Signature) -> bool:
    """Whether every bit of general is constrained by special too."""
    if len(general) > len(special):
        return False
    masks = dict(special)
    return all(mask & masks.get(root, 0) == mask for root, mask in general)


def minimal(terms: list[Conj]) -> list[Conj]:
    """The same truth without entries that a more general one covers."""
    terms = list(dict.fromkeys(terms))
    if len(terms) < 2:
        return terms
    groups = _by_signature(terms)
    if len(groups) < 2 or len(groups) > _MAX_SIGNATURES:
        return terms
    kept: list[Conj] = []
    for signature, members in groups.items():
        covering = [
            (dict(general), {_project(t, dict(general)) for t in groups[general]})
            for general in groups
            if general != signature and _covers(general, signature)
        ]
        kept += [
            term
            for term in members
            if not any(_project(term, bits) in known for bits, known in covering)
        ]
    return kept
