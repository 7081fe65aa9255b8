# SPDX-License-Identifier: Apache-2.0
"""Address sets and port groups by number, and what is a member of them.

While flows are compiled SetBook gives numbers to the sets that they name; at the end
of a flush it tells which members changed.  A set whose members change costs just
those, whatever the number of flows that name it: no flow is compiled again unless
the set came, went, or got members that a look-up by prefix cannot find.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.difference import difference
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang.intervals import is_prefix
from ovn_bpf_controller.lang.normal import constant
from ovn_bpf_controller.lang.sets import named_members
from ovn_bpf_controller.model import SetMember
from ovn_bpf_controller.plaindata import NamedTuple, dataclass, field

_WORD: Final = 0xFFFFFFFF
_KINDS: Final = {
    16: lib.OVN_SET_L4,
    32: lib.OVN_SET_IP4,
    48: lib.OVN_SET_MAC,
    128: lib.OVN_SET_IP6,
}

_INTERNED: Final = 1 << 16  # tuples of numbers that members share

Member: TypeAlias = tuple[int, int, int]  # kind, plen, value as one number


class Name(NamedTuple):
    """A set or group by its use; width: of its values (_KINDS), or 0: logical ports."""

    name: str
    width: int


class Names(Protocol):
    """What compile.flow.Env knows of sets."""

    def address_set(self, name: str) -> Sequence[str] | None:
        """See compile.flow.Env.  A tuple has no member twice."""

    def port_group(self, dp: int, name: str) -> Sequence[str] | None:
        """See compile.flow.Env."""

    def port_key(self, dp: int, name: str) -> int | None:
        """See compile.flow.Env."""


@dataclass(slots=True)
class _List:
    """An address set's texts, or a group's ports on one datapath, as members."""

    number: int
    texts: dict[str, Member | None] = field(default_factory=dict)
    several: dict[Member, int] = field(default_factory=dict)  # said more than once: how often
    told: Sequence[str] = ()  # an address set's texts, as Names told them


def address(text: str, width: int) -> Member | None:
    """A set's member as a prefix of width bits; None if it is no constant.

    Raises UnsupportedError for what cannot be looked up as one.
    """
    found = constant(text)
    if found is None:
        return None
    value, mask, needs = found
    full = (1 << width) - 1
    mask = full if mask is None else mask & full
    plen = mask.bit_count()
    if needs > width or not is_prefix(mask, width):
        raise UnsupportedError(f"{text} among prefixes of {width} bits")
    return (_KINDS[width], plen, value & mask)


class SetBook:
    """See the module.  Lists are keyed by (name, width, datapath); sets have datapath 0."""

    def __init__(self, env: Names) -> None:
        self._env = env
        self._numbers: dict[Name, int] = {}
        self._names: dict[int, Name] = {}
        self._free: list[int] = []
        self._leaving: list[int] = []
        self._lists: dict[tuple[Name, int], _List] = {}
        self._uses: dict[Name, int] = {}  # lists of the name
        self._stale: dict[tuple[Name, int], None] = {}
        self._with_port: dict[str, set[tuple[Name, int]]] = {}
        self._members: dict[Member, tuple[int, ...]] = {}
        self._interned: dict[tuple[int, ...], tuple[int, ...]] = {}
        # As of the last changes(), for the members touched since.
        self._before: dict[Member, tuple[int, ...]] = {}

    # --- asked while flows are compiled -----------------------------------------

    def number(self, name: str, width: int, dp: int) -> int | None:
        """The set's number, new if need be; None if there is no such set to look up."""
        key = (Name(name, width), dp)
        known = self._lists.get(key)
        if known is None:
            known = _List(0)
            news = self._difference(key, known)
            if news is None:
                return None
            known.number = self._numbered(key[0])
            self._lists[key] = known
            self._uses[key[0]] = self._uses.get(key[0], 0) + 1
            self._change(key, known, *news)
        return known.number

    def name(self, number: int) -> Name | None:
        """Whose number it is; one just given up is known until settle()."""
        return self._names.get(number)

    # --- told what changed -------------------------------------------------------

    def address_set_changed(self, name: str) -> None:
        """Members, or the set itself."""
        for width in _KINDS:
            self._mark((Name(name, width), 0))

    def port_group_changed(self, name: str, dp: int | None) -> None:
        """Ports of a group, or the group itself; dp None: on any datapath."""
        wanted = Name(name, 0)
        for key in self._lists if dp is None else [(wanted, dp)]:
            if key[0] == wanted:
                self._mark(key)

    def port_changed(self, name: str, dp: int | None) -> None:
        """The key of a port, on one datapath or any."""
        for key in self._with_port.get(name, ()):
            if dp is None or key[1] == dp:
                self._stale[key] = None

    def follow(self) -> list[tuple[Name, int]]:
        """Takes over what changed; returns the sets that have no number any more."""
        lost = []
        for key in self._stale:
            known = self._lists.get(key)
            if known is None:
                continue
            news = self._difference(key, known)
            if news is None:
                self.drop(key)
                lost.append(key)
            else:
                self._change(key, known, *news)
        self._stale.clear()
        return lost

    def drop(self, key: tuple[Name, int]) -> None:
        """No flow names the set any more.  Unknown ones are ignored."""
        known = self._lists.pop(key, None)
        if known is None:
            return
        self._change(key, known, {}, list(known.texts))
        self._uses[key[0]] -= 1
        if not self._uses[key[0]]:
            del self._uses[key[0]]
            del self._numbers[key[0]]
            self._leaving.append(known.number)

    # --- what came of it -----------------------------------------------------------

    def members(self) -> Iterator[SetMember]:
        """Everything that is a member of anything."""
        for member, numbers in self._members.items():
            yield _row(member, numbers)

    def changes(self) -> tuple[list[SetMember], list[SetMember]]:
        """Members to remove and to add or replace since the last call."""
        removed, added = [], []
        for member, before in self._before.items():
            now = self._members.get(member, ())
            if now == before:
                continue
            if now:
                added.append(_row(member, now))
            else:
                removed.append(_row(member, before))
        self._before.clear()
        return removed, added

    def settle(self) -> None:
        """Frees the numbers that were given up before the last changes()."""
        for number in self._leaving:
            del self._names[number]
            heapq.heappush(self._free, number)
        self._leaving.clear()

    # --- books -----------------------------------------------------------------------

    def _mark(self, key: tuple[Name, int]) -> None:
        if key in self._lists:
            self._stale[key] = None

    def _numbered(self, name: Name) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = heapq.heappop(self._free) if self._free else len(self._names) + 1
            self._numbers[name] = number
            self._names[number] = name
        return number

    def _difference(
        self, key: tuple[Name, int], known: _List
    ) -> tuple[dict[str, Member | None], list[str]] | None:
        """What the set has and `known` has not, and the reverse; None: not one to look up."""
        (name, width), dp = key
        texts = known.texts
        if not width:
            ports = self._env.port_group(dp, name)
            if ports is None:
                return None
            now = {port: self._port(dp, port) for port in ports}
            old = [p for p, member in texts.items() if p not in now or now[p] != member]
            return {p: m for p, m in now.items() if p not in texts or texts[p] != m}, old
        found = named_members(name) or self._env.address_set(name)
        if found is None:
            return None
        if isinstance(found, tuple) and isinstance(known.told, tuple):
            gone, come = difference(known.told, found)
        else:
            gone = list(texts.keys() - set(found))
            come = [text for text in found if text not in texts]
        known.told = found
        try:
            return {text: address(text, width) for text in come}, gone
        except UnsupportedError:
            return None

    def _port(self, dp: int, port: str) -> Member | None:
        number = self._env.port_key(dp, port)
        return None if number is None else (lib.OVN_SET_PORT, 0, dp << 32 | number)

    def _change(
        self,
        key: tuple[Name, int],
        known: _List,
        new: dict[str, Member | None],
        old: Iterable[str],
    ) -> None:
        for text in old:
            self._leave(known, known.texts.pop(text))
            if not key[0].width:
                users = self._with_port[text]
                users.discard(key)
                if not users:
                    del self._with_port[text]
        for text, member in new.items():
            known.texts[text] = member
            self._enter(known, member)
            if not key[0].width:
                self._with_port.setdefault(text, set()).add(key)

    def _enter(self, known: _List, member: Member | None) -> None:
        if member is None:
            return
        numbers = self._members.get(member, ())
        if known.number in numbers:
            known.several[member] = known.several.get(member, 1) + 1
        else:
            self._put(member, tuple(sorted((*numbers, known.number))))

    def _leave(self, known: _List, member: Member | None) -> None:
        if member is None:
            return
        times = known.several.pop(member, 1)
        if times > 2:
            known.several[member] = times - 1
        elif times == 1:
            self._put(member, tuple(n for n in self._members[member] if n != known.number))

    def _put(self, member: Member, numbers: tuple[int, ...]) -> None:
        self._before.setdefault(member, self._members.get(member, ()))
        if len(self._interned) > _INTERNED:
            self._interned.clear()
        if numbers:
            self._members[member] = self._interned.setdefault(numbers, numbers)
        else:
            del self._members[member]


def _row(member: Member, numbers: tuple[int, ...]) -> SetMember:
    kind, plen, value = member
    if kind == lib.OVN_SET_IP6:
        words = (value >> 96, value >> 64 & _WORD, value >> 32 & _WORD, value & _WORD)
    elif kind == lib.OVN_SET_PORT:
        words = (value >> 32, value & _WORD, 0, 0)
    elif kind == lib.OVN_SET_L4:
        words = (value << 16, 0, 0, 0)
    elif kind == lib.OVN_SET_MAC:
        words = (value >> 16, value << 16 & _WORD, 0, 0)
    else:
        words = (value, 0, 0, 0)
    return SetMember(kind, plen, words, numbers)
