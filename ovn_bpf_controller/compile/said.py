# SPDX-License-Identifier: Apache-2.0
"""Templates of what verbs say to the slow path: put_dhcp_opts() of a thousand guests.

compile.punts makes JSON of a verb's arguments, and numbers of it that stand in the
OP_PUNT.  A literal is free if the JSON of another one is the same but for the number;
compile.action_plans then fills JSON and instructions in.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack_into
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.actions import Lowered
from ovn_bpf_controller.compile.insns import INSN_BYTES, Insn, decode, encode
from ovn_bpf_controller.compile.punts import number_of
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.plaindata import NamedTuple

#: Verbs whose options may have any value that has the form of theirs.
VERBS: Final = (nodes.PutDhcpOpts, nodes.PutDhcpv6Opts)

_ARGUMENT: Final[int] = ffi.offsetof("struct ovn_insn", "b")
_LIST: Final[int] = ffi.offsetof("struct ovn_insn", "c")


class Said(NamedTuple):
    """What one OP_PUNT, whose instruction begins at byte `at`, says.

    texts: the JSON around the values of `literals`.
    """

    at: int
    texts: tuple[str, ...]
    literals: tuple[int, ...]

    def fill(
        self, insns: bytes, literals: Sequence[int | str]
    ) -> tuple[bytes, tuple[tuple[int, str], ...]]:
        """The instructions with their numbers, which are 0 in `insns`, and the argument."""
        text = self.texts[0]
        for index, after in zip(self.literals, self.texts[1:], strict=True):
            text += f"{literals[index]}{after}"
        number = number_of(text)
        made = bytearray(insns)
        pack_into("=I", made, self.at + _ARGUMENT, number)
        pack_into("=I", made, self.at + _LIST, number_of(bytes(made)))
        return bytes(made), ((number, text),)


def said_at(base: Lowered, varied: Lowered, old: object, new: object) -> int | None:
    """Where in the JSON of `base` the value `old` is, if `new` there and the numbers of
    the JSON are all that is different in `varied`; None: not so, or in doubt."""
    if len(base.arguments) != 1 or len(varied.arguments) != 1 or base.unsupported:
        return None
    if _silent(base)[1] != _silent(varied)[1] or base.side or varied.side:
        return None
    text, wanted = base.arguments[0][1], varied.arguments[0][1]
    before, after = str(old), str(new)
    found = [
        at
        for at in range(len(text))
        if text.startswith(before, at) and text[:at] + after + text[at + len(before) :] == wanted
    ]
    return found[0] if len(found) == 1 else None


def template(base: Lowered, places: Sequence[tuple[int, int, object]]) -> tuple[Said, bytes] | None:
    """The template of what `base` says, and its instructions without the numbers.

    places: where in the JSON, which literal, its value.  None: in doubt.
    """
    text, texts, end = base.arguments[0][1], [], 0
    for at, _, value in sorted(places):
        if at < end:
            return None
        texts.append(text[end:at])
        end = at + len(str(value))
    where, insns = _silent(base)
    if len(where) != 1:
        return None
    literals = tuple(index for _, index, _ in sorted(places))
    return Said(where[0] * INSN_BYTES, (*texts, text[end:]), literals), insns


def _silent(lowered: Lowered) -> tuple[list[int], bytes]:
    """Which instructions are OP_PUNTs, and all without the numbers of what they say."""
    insns: list[Insn] = decode(lowered.insns)
    where = [n for n, insn in enumerate(insns) if insn.op == lib.OP_PUNT]
    for n in where:
        insns[n] = insns[n]._replace(b=0, c=0)
    return where, encode(insns)
