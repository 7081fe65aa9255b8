# SPDX-License-Identifier: Apache-2.0
"""What a template of actions becomes: instructions with holes, and what fills them.

compile.action_templates makes one Plan for each shape of list and combination of
literals that are not free, as compile.plans has it for matches, and fills it in for
every flow of the shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack
from typing import Any, Final

from ovn_bpf_controller.compile import filling, prereqs
from ovn_bpf_controller.compile.actions import Lowered
from ovn_bpf_controller.compile.filling import filled_bytes
from ovn_bpf_controller.compile.known import plain
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.compile.literals import TAKEN, Text
from ovn_bpf_controller.compile.prereqs import Prereqs
from ovn_bpf_controller.compile.said import Said, template
from ovn_bpf_controller.compile.telling import NOTHING
from ovn_bpf_controller.lang.normal import MatchEnv
from ovn_bpf_controller.plaindata import NamedTuple, replace

_WORD_BYTES: Final = 4
_LOW: Final[Any] = TAKEN.low


class Slot(NamedTuple):
    """The word at byte `at` gets value >> pos & ones, << shift."""

    at: int
    pos: int
    ones: int
    shift: int


class Hole(NamedTuple):
    """A free literal.  most: the largest that fits.  said: where it stands in the JSON of
    the verb's argument, if it does (compile.said)."""

    literal: int
    mask: int
    most: int
    slots: tuple[Slot, ...]
    said: int | None = None


class Plan(NamedTuple):
    """What a template becomes.

    base: with zeros in its holes.  code: for compile.filling.  names: literals that are
    ports' names, whose keys are to be put in.  said: by a verb for the slow path.
    """

    base: Lowered
    prereqs: Prereqs
    code: bytes
    names: tuple[int, ...]
    said: Said | None = None

    def fill(self, literals: Sequence[int | str], names: MatchEnv) -> Lowered | None:
        """An instance; None when a value does not fit.

        literals: as in literals.TAKEN, looked at for names only.
        """
        if self.names:
            for index in self.names:
                _LOW[index] = names.port_key(str(literals[index])) or 0
        base = self.base
        insns = filled_bytes(self.code, len(base.insns))
        if insns is None:
            return None
        arguments = base.arguments
        if self.said is not None:
            insns, arguments = self.said.fill(insns, literals)
        return Lowered(insns, base.unsupported, base.side, arguments, base.told)

    def plain(self) -> tuple[Any, ...]:
        """What of() takes, for marshal."""
        said = None if self.said is None else tuple(self.said)
        return plain_lowered(self.base), self.prereqs.name, self.code, self.names, said

    @classmethod
    def of(cls, base: Any, required: str, code: bytes, names: tuple[int, ...], said: Any) -> Plan:
        """The plan that was plain() once."""
        told = None if said is None else Said(*said)
        return cls(lowered_of(*base), prereqs.named(required), code, names, told)


def plan_for(base: Lowered, required: Prereqs, holes: Sequence[Hole], text: Text) -> Plan | None:
    """What fills the holes of a list that became `base` with anything in them."""
    said, insns = None, base.insns
    literals = [value for _, value in text.values]
    places = [(h.said, h.literal, literals[h.literal]) for h in holes if h.said is not None]
    if places:
        made = template(base, places)
        if made is None:
            return None
        said, insns = made
    words = list(unpack(f"={len(base.insns) // _WORD_BYTES}I", insns))
    slots = []
    for number, hole in enumerate(holes):
        for at, pos, ones, shift in hole.slots:
            words[at // _WORD_BYTES] &= ~(ones << shift)
            slots.append(filling.Slot(number, pos, ones, at // _WORD_BYTES, shift))
    code = filling.plan(words, [filling.Blank(*hole[:3]) for hole in holes], slots)
    if code is None:
        return None
    empty = replace(base, insns=pack(f"={len(words)}I", *words))
    named = tuple([hole.literal for hole in holes if isinstance(literals[hole.literal], str)])
    return Plan(empty, required, code, named, said)


def plain_lowered(lowered: Lowered) -> tuple[Any, ...]:
    """What lowered_of() takes, for marshal."""
    assert lowered.told is NOTHING  # such lists are of one flow (compile.flow)
    return lowered.insns, lowered.unsupported, plain(lowered.side), lowered.arguments


def lowered_of(insns: bytes, unsupported: Any, side: Any, arguments: Any) -> Lowered:
    """What plain_lowered() was asked of."""
    return Lowered(insns, unsupported, tuple(SideRule(*rule) for rule in side), arguments)
