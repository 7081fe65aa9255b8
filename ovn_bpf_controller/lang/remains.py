# SPDX-License-Identifier: Apache-2.0
"""What exclusions and ranges leave of a field, as sets without a name.

`normal` asks here before it cuts what is left into prefixes: those of several fields
multiply, and each combination of their lengths would be a mask, a look-up for every
packet.  As members of a set they add: a packet tries each length once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from itertools import islice
from math import prod
from typing import Final, TypeAlias

from ovn_bpf_controller.lang.conjuncts import Subfield
from ovn_bpf_controller.lang.intervals import Intervals, Prefix, is_prefix, prefixes
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.sets import ADDRESSES, DIMENSIONS, Barred, whole_address
from ovn_bpf_controller.lang.terms import Conj, masks, merge, narrow

# Field of which something may be left -> its width and the field with a set's number.
FIELDS: Final = {
    **{root: (32 if root.startswith("ip4") else 128, DIMENSIONS[root]) for root in ADDRESSES},
    **{f"arp.{end}pa": (32, f"set.{name}") for end, name in (("s", "src"), ("t", "dst"))},
    **{
        f"{proto}.{end}": (16, f"set.tp_{end}")
        for proto in ("tcp", "udp", "sctp")
        for end in ("src", "dst")
    },
    **{f"eth.{end}": (48, f"set.eth_{end}") for end in ("src", "dst")},
}

# What is left of an address field becomes a set if otherwise there were more than so
# many combinations; a packet then tries each prefix length once, more of them in IPv6.
MAX_LEFT: Final = {32: 64, 128: 256}
# Of another field, if otherwise there were more than so many masks.
MAX_MASKS: Final = 128
# A set has no more prefixes than this, and a mask asks for no more sets.
MAX_PREFIXES: Final = 4096
MAX_SETS: Final = 4

FULL: Final = 0xFFFFFFFF  # mask of a number

Numbers: TypeAlias = Callable[[str, int], int | None]  # normal.MatchEnv.set_number


def prefix_set(members: Sequence[Prefix], width: int) -> tuple[str, int]:
    """The name of a set of these values and masks, as sets.content() has it."""
    if width in (32, 128):
        address = ipaddress.IPv4Address if width == 32 else ipaddress.IPv6Address
        texts = sorted(f"{address(value)}/{mask.bit_count()}" for value, mask in members)
    else:
        texts = sorted(f"{value:#x}/{mask:#x}" for value, mask in members)
    return "{" + ",".join(texts) + "}", width


def number_remains(
    terms: list[Conj], allowed: dict[Subfield, Intervals], barred: Barred, number_of: Numbers
) -> list[Conj]:
    """terms with the numbers of sets for what is left of fields, where that would multiply.

    allowed: what is left; those of which sets were made are taken out.  barred: fields
    of numbers not to be used.  Only for a conjunction that is no part of another: nobody
    else then asks for the number of a set of the same field.
    """
    if not allowed:
        return terms
    cuts = {
        subfield: list(islice(prefixes(values, subfield[2]), MAX_PREFIXES + 1))
        for subfield, values in allowed.items()
    }
    lengths = {subfield: len({mask for _, mask in left}) for subfield, left in cuts.items()}
    keys = len(terms) * prod(map(len, cuts.values()))
    looks = masks(terms) * prod(lengths.values())
    # Addresses first, then what makes the most masks.
    for subfield in sorted(cuts, key=lambda at: (not whole_address(at), -lengths[at], at)):
        left, width = cuts[subfield], subfield[2]
        whole, root = FIELDS.get(subfield[0], (0, ""))
        if whole != width or not _free(terms, subfield, root, barred):
            continue
        if len(left) > MAX_PREFIXES or len(left) == keys:
            continue
        few = keys <= MAX_LEFT[width] if whole_address(subfield) else looks <= MAX_MASKS
        number = None if few else number_of(*prefix_set(left, width))
        if number is not None:
            del allowed[subfield]
            keys //= len(left)
            looks //= lengths[subfield]
            merged = (merge(term, ((root, number, FULL),)) for term in terms)
            terms = [term for term in merged if term is not None]
    return terms


def _free(terms: Sequence[Conj], subfield: Subfield, root: str, barred: Barred) -> bool:
    """Whether a set of the subfield's values may be asked for, and could be of use."""
    asked = {name for term in terms for name, _, _ in term if name.startswith("set.")}
    if root in asked | barred or len(asked) >= MAX_SETS:
        return False
    known = (narrow(term, pieces(*subfield))[1] for term in terms)
    return not all(mask and is_prefix(mask, subfield[2]) for mask in known)
