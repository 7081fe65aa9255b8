# SPDX-License-Identifier: Apache-2.0
"""Answers that the program gives by itself: maps ovn_templates and ovn_names.

serving.Serving says what they are to hold.  What an earlier agent left is adopted, so a
restart writes only what is different.  An element is written whole, under a version that
the program compares before and after it has read it (csrc/bpf/serve.h).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.counters import Count, Counters
from ovn_bpf_controller.datapath.maps import check, map_info
from ovn_bpf_controller.datapath.records import record
from ovn_bpf_controller.plaindata import NamedTuple, dataclass

_BATCH: Final = 256

TemplateKey = tuple[int, int, int]
"""(verb, number of its argument, enum ovn_template_variant)"""
NameKey = tuple[int, bytes]
"""(datapath key, name in lower case as on the wire; empty: all of its names are here)"""

_TEMPLATE_KEY: Final = record("struct ovn_template_key")
_TEMPLATE: Final = record("struct ovn_template")
_NAME_KEY: Final = record("struct ovn_name_key")
_NAME: Final = record("struct ovn_name")


@dataclass(frozen=True, slots=True)
class Template:
    """struct ovn_template: at most OVN_TEMPLATE_BYTES of data.

    offer, next_server: of DHCP.  means: byte v, the variant that variant v is.
    """

    data: bytes
    offer: int = 0
    next_server: int = 0
    means: int = 0


@dataclass(frozen=True, slots=True)
class Name:
    """struct ovn_name: flags of enum ovn_name_flag, at most OVN_NAME_ADDRS addresses of
    each family, and OVN_NAME_BYTES of a PTR record's name."""

    flags: int = 0
    ip4: tuple[bytes, ...] = ()
    ip6: tuple[bytes, ...] = ()
    ptr: bytes = b""


class Served(NamedTuple):
    """What became of the packets of a verb: answered, or let go on as they were."""

    answered: Count
    passed: Count


class Answers:
    """Both maps.  maps: fds by name; they stay the caller's.  Raises DataPlaneError."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        self._templates = _Elements("ovn_templates", maps["ovn_templates"], "ovn_template")
        self._names = _Elements("ovn_names", maps["ovn_names"], "ovn_name")
        self._counters = Counters("ovn_served", maps["ovn_served"])

    def adopt(self) -> None:
        """Reads what the maps hold."""
        self._templates.adopt()
        self._names.adopt()

    def templates(self) -> set[TemplateKey]:
        """Those that there are."""
        return {_template_key(key) for key in self._templates.held()}

    def names(self) -> int:
        """How many there are."""
        return len(list(self._names.held()))

    def change_templates(
        self, gone: Iterable[TemplateKey], put: Mapping[TemplateKey, Template]
    ) -> int:
        """Takes some away and adds or overwrites others; returns how many found no room."""
        self._templates.delete([_TEMPLATE_KEY.pack(*key) for key in gone])
        packed = {_TEMPLATE_KEY.pack(*key): _template(key, each) for key, each in put.items()}
        room = self._templates.room(packed)
        self._templates.put(dict(itertools.islice(packed.items(), room)))
        return len(packed) - room

    def set_names(self, wanted: Mapping[NameKey, Name]) -> int:
        """Makes the map hold these; returns how many found no room.

        Of a datapath it holds all names or none, so that what it does not hold is known
        not to be a name.
        """
        by_datapath: dict[int, dict[bytes, bytes]] = {}
        for key, name in wanted.items():
            by_datapath.setdefault(key[0], {})[_NAME_KEY.pack(*key)] = _name(key, name)
        fitting: dict[bytes, bytes] = {}
        for names in by_datapath.values():
            if len(fitting) + len(names) <= self._names.capacity:
                fitting |= names
        # That all names are here is said last, and taken back first.
        gone = [key for key in self._names.held() if key not in fitting]
        self._names.delete(sorted(gone, key=_is_name))
        self._names.put({key: fitting[key] for key in sorted(fitting, key=_is_name, reverse=True)})
        return len(wanted) - len(fitting)

    def counts(self) -> dict[int, Served]:
        """By verb, since the maps were made."""
        used = self._counters.used()
        none = Count(0, 0)
        verbs = sorted({index // 2 for index in used})
        return {v: Served(used.get(2 * v, none), used.get(2 * v + 1, none)) for v in verbs}


class _Elements:
    """A hash of versioned structs, and what it holds: key -> hash of the value."""

    def __init__(self, name: str, fd: int, kind: str) -> None:
        info = map_info(fd)
        self._name, self._fd = name, fd
        self._key_size, self._size = info.key_size, info.value_size
        self._first = ffi.offsetof(f"struct {kind}", "first")
        self._last = ffi.offsetof(f"struct {kind}", "last")
        self._held: dict[bytes, int] = {}
        self.capacity = info.max_entries

    def held(self) -> Iterable[bytes]:
        """The keys."""
        return self._held.keys()

    def room(self, wanted: Mapping[bytes, bytes]) -> int:
        """How many of these, from the first on, there is room for."""
        free = self.capacity - len(self._held)
        new = itertools.accumulate(key not in self._held for key in wanted)
        return sum(count <= free for count in new)

    def adopt(self) -> None:
        """Reads the map."""
        self._held = {key: hash(self._versioned(value, 0)) for key, value in self._dump()}

    def delete(self, keys: Iterable[bytes]) -> None:
        """In this order; those that are not there are passed over."""
        gone = [key for key in keys if key in self._held]
        done = ffi.new("uint32_t *")
        result = lib.ovn_hash_delete(self._fd, b"".join(gone), self._key_size, len(gone), done)
        for key in gone[: done[0]]:
            del self._held[key]
        check(result, f"map {self._name} cannot be changed")

    def put(self, wanted: Mapping[bytes, bytes]) -> None:
        """Writes what is different, in this order."""
        changed = {k: h for k, v in wanted.items() if self._held.get(k) != (h := hash(v))}
        version = time.monotonic_ns()
        values = b"".join(self._versioned(wanted[key], version) for key in changed)
        done = ffi.new("uint32_t *")
        result = lib.ovn_hash_update(
            self._fd, b"".join(changed), values, self._key_size, self._size, len(changed), done
        )
        self._held.update(itertools.islice(changed.items(), done[0]))
        check(result, f"map {self._name} cannot be changed")

    def _versioned(self, value: bytes, version: int) -> bytes:
        stamp, first, last = version.to_bytes(8, "little"), self._first, self._last
        return value[:first] + stamp + value[first + 8 : last] + stamp + value[last + 8 :]

    def _dump(self) -> Iterator[tuple[bytes, bytes]]:
        keys = ffi.new("char[]", _BATCH * self._key_size)
        values = ffi.new("char[]", _BATCH * self._size)
        cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
        while more[0]:
            result = lib.ovn_hash_dump(self._fd, cursor, keys, values, _BATCH, more)
            count = check(result, f"map {self._name} cannot be read")
            names, read = bytes(ffi.buffer(keys)), bytes(ffi.buffer(values))
            for n in range(count):
                key = names[n * self._key_size : (n + 1) * self._key_size]
                yield key, read[n * self._size : (n + 1) * self._size]


def _template_key(key: bytes) -> TemplateKey:
    verb, number, variant = _TEMPLATE_KEY.unpack(key)
    return verb, number, variant


def _template(key: TemplateKey, each: Template) -> bytes:
    head = (*key, each.means, 0, each.offer, each.next_server, len(each.data), 0)
    return _TEMPLATE.pack(*head, each.data, 0)


def _is_name(key: bytes) -> bool:
    return any(key[4:])


def _name(key: NameKey, name: Name) -> bytes:
    counts = (len(name.ip4), len(name.ip6), len(name.ptr), 0)
    none = b""
    ip4 = (*name.ip4, *(none,) * (lib.OVN_NAME_ADDRS - len(name.ip4)))
    ip6 = (*name.ip6, *(none,) * (lib.OVN_NAME_ADDRS - len(name.ip6)))
    return _NAME.pack(*key, name.flags, 0, *counts, *ip4, *ip6, name.ptr, 0)
