# SPDX-License-Identifier: Apache-2.0
"""Answers that the program gives by itself: maps ovn_templates and ovn_names.

serving.Serving says what they are to hold.  What an earlier agent left is adopted, so a
restart writes only what is different.  An element is written whole, under a version that
the program compares before and after it has read it (csrc/bpf/serve.h).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.counters import Count, Counters
from ovn_bpf_controller.datapath.maps import check, map_info
from ovn_bpf_controller.plaindata import dataclass

_BATCH: Final = 256

TemplateKey = tuple[int, int, int]
"""(verb, number of its argument, enum ovn_template_variant)"""
NameKey = tuple[int, bytes]
"""(datapath key, name in lower case as on the wire; empty: all of its names are here)"""


@dataclass(frozen=True, slots=True)
class Template:
    """struct ovn_template: at most OVN_TEMPLATE_BYTES of data.

    same: of the plain one, bit v: variant v is the same.  offer, next_server: of DHCP.
    """

    data: bytes
    offer: int = 0
    next_server: int = 0
    same: int = 1


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

    def set_templates(self, wanted: Mapping[TemplateKey, Template]) -> int:
        """Makes the map hold these; returns how many found no room."""
        packed = {_template_key(key): _template(key, each) for key, each in wanted.items()}
        fitting = dict(list(packed.items())[: self._templates.capacity])
        self._templates.set(fitting, last=lambda _key: False)
        return len(packed) - len(fitting)

    def set_names(self, wanted: Mapping[NameKey, Name]) -> int:
        """Makes the map hold these; returns how many found no room.

        Of a datapath it holds all names or none, so that what it does not hold is known
        not to be a name.
        """
        by_datapath: dict[int, dict[bytes, bytes]] = {}
        for key, name in wanted.items():
            by_datapath.setdefault(key[0], {})[_name_key(key)] = _name(key, name)
        fitting: dict[bytes, bytes] = {}
        for names in by_datapath.values():
            if len(fitting) + len(names) <= self._names.capacity:
                fitting |= names
        self._names.set(fitting, last=lambda key: not any(key[4:]))
        return len(wanted) - len(fitting)

    def counts(self) -> dict[int, Served]:
        """By verb, since the maps were made."""
        used = self._counters.used()
        none = Count(0, 0)
        verbs = sorted({index // 2 for index in used})
        return {v: Served(used.get(2 * v, none), used.get(2 * v + 1, none)) for v in verbs}


class _Elements:
    """A hash of versioned structs, and what it holds: key -> value without versions."""

    def __init__(self, name: str, fd: int, kind: str) -> None:
        info = map_info(fd)
        self._name, self._fd = name, fd
        self._key_size, self._size = info.key_size, info.value_size
        self._first = ffi.offsetof(f"struct {kind}", "first")
        self._last = ffi.offsetof(f"struct {kind}", "last")
        self._held: dict[bytes, bytes] = {}
        self.capacity = info.max_entries

    def adopt(self) -> None:
        """Reads the map."""
        self._held = {key: self._versioned(value, 0) for key, value in self._dump()}

    def set(self, wanted: Mapping[bytes, bytes], last: Any) -> None:
        """Writes what is different.  last(key): written after, deleted before others."""
        gone = sorted(self._held.keys() - wanted.keys(), key=last, reverse=True)
        for key in gone:
            done = ffi.new("uint32_t *")
            check(
                lib.ovn_hash_delete(self._fd, key, self._key_size, 1, done),
                f"map {self._name} cannot be changed",
            )
            del self._held[key]
        changed = [key for key, value in wanted.items() if self._held.get(key) != value]
        for key in sorted(changed, key=last):
            value = self._versioned(wanted[key], time.monotonic_ns())
            check(
                lib.ovn_map_update(self._fd, ffi.from_buffer(key), ffi.from_buffer(value)),
                f"map {self._name} cannot be changed",
            )
            self._held[key] = wanted[key]

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


def _template_key(key: TemplateKey) -> bytes:
    made: Any = ffi.new("struct ovn_template_key *", key)
    return bytes(ffi.buffer(made))


def _template(key: TemplateKey, template: Template) -> bytes:
    made: Any = ffi.new("struct ovn_template *")
    made.key = key
    made.same, made.offer = template.same, template.offer
    made.next_server, made.len = template.next_server, len(template.data)
    ffi.memmove(made.bytes, template.data, len(template.data))
    return bytes(ffi.buffer(made))


def _name_key(key: NameKey) -> bytes:
    made: Any = ffi.new("struct ovn_name_key *")
    made.dp = key[0]
    ffi.memmove(made.name, key[1], len(key[1]))
    return bytes(ffi.buffer(made))


def _name(key: NameKey, name: Name) -> bytes:
    made: Any = ffi.new("struct ovn_name *")
    ffi.memmove(ffi.addressof(made, "key"), _name_key(key), ffi.sizeof("struct ovn_name_key"))
    made.flags, made.n4, made.n6, made.ptr_len = (
        name.flags,
        len(name.ip4),
        len(name.ip6),
        len(name.ptr),
    )
    ffi.memmove(made.ip4, b"".join(name.ip4), 4 * len(name.ip4))
    ffi.memmove(made.ip6, b"".join(name.ip6), 16 * len(name.ip6))
    ffi.memmove(made.ptr, name.ptr, len(name.ptr))
    return bytes(ffi.buffer(made))
