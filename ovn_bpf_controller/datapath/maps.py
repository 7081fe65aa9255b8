# SPDX-License-Identifier: Apache-2.0
"""Maps by file descriptor: arrays mapped into memory, and indexes.

The tables use these two and nothing else of the kernel.  An array element is
written without a system call; hash entries go in batches (csrc/native/maps.c).
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.errors import DataPlaneError, MapFullError
from ovn_bpf_controller.plaindata import dataclass

_DUMP = 4096  # hash entries read by one system call
_FIRST = 1 << 16  # bytes that are mapped of an array that grows, at first


@dataclass(frozen=True, slots=True)
class MapInfo:
    """struct bpf_map_info, as far as it matters here; sizes in bytes."""

    name: str
    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


def pinned(path: Path) -> int:
    """A new fd of what is pinned at `path`, a map or not; the caller closes it.

    Raises DataPlaneError.
    """
    return check(lib.ovn_pinned(os.fsencode(path)), f"{path} cannot be opened")


def map_info(fd: int) -> MapInfo:
    """What the kernel says of the map behind `fd`.  Raises DataPlaneError."""
    info: Any = ffi.new("struct ovn_map_info *")
    check(lib.ovn_map_info(fd, info), "a file descriptor is no map")
    return MapInfo(
        name=_text(info.name),
        type=info.type,
        id=info.id,
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        flags=info.flags,
    )


def _text(name: Any) -> str:
    text = ffi.string(name)
    assert isinstance(text, bytes)  # char[], not wchar_t[]
    return text.decode()


def check(result: int, what: str) -> int:
    """`result` unless it is a negative errno value, then DataPlaneError(`what`)."""
    if result < 0:
        raise DataPlaneError(f"{what}: {os.strerror(-result)}")
    return result


class ArrayMap:
    """A BPF_F_MMAPABLE array.  Elements lie `stride` bytes apart.

    memory: the bytes; words: the same as 32-bit numbers, `pitch` to an element.  Only
    elements below `reached` may be touched there, all of them unless it grows.
    """

    def __init__(self, name: str, fd: int, *, grows: bool = False) -> None:
        """grows: mapped as far as reach() was asked for, since the kernel makes a
        process pay for every page of a map that it maps."""
        info = map_info(fd)
        self.name = name
        self.fd = fd
        self.size = info.value_size
        self.stride = (info.value_size + 7) & ~7
        self.pitch = self.stride // 4
        self.capacity = info.max_entries
        length = self.stride * self.capacity
        grows = grows and length > _FIRST
        self.reached = 0 if grows else self.capacity
        self._mapped = 0  # bytes, if it grows
        try:
            self.memory = _reserved(length) if grows else mmap.mmap(fd, length)
        except OSError as error:
            raise DataPlaneError(f"map {name} cannot be mapped: {error.strerror}") from error
        self.words = memoryview(self.memory).cast("I")
        self._base: Any = ffi.cast("uint32_t *", _address(self.memory))

    def reach(self, index: int) -> None:
        """Makes elements up to `index` accessible.  Raises DataPlaneError."""
        if index < self.reached or self.reached == self.capacity:
            return
        whole = -(-len(self.memory) // mmap.PAGESIZE) * mmap.PAGESIZE
        wanted = max((index + 1) * self.stride, 2 * self._mapped, _FIRST)
        end = min(-(-wanted // mmap.PAGESIZE) * mmap.PAGESIZE, whole)
        at, length = _address(self.memory) + self._mapped, end - self._mapped
        result = lib.ovn_memory_map(ffi.cast("void *", at), self.fd, self._mapped, length)
        check(result, f"map {self.name} cannot be mapped")
        self._mapped = end
        self.reached = min(end // self.stride, self.capacity)

    def get(self, index: int) -> bytes:
        """Element `index`."""
        if index >= self.reached:
            self.reach(index)
        at = index * self.stride
        return self.memory[at : at + self.size]

    def put(self, index: int, data: bytes, at: int = 0) -> None:
        """Writes `data` from byte `at` of element `index` on."""
        start = index * self.stride + at
        if start + len(data) > self.reached * self.stride:
            self.reach((start + len(data) - 1) // self.stride)
        self.memory[start : start + len(data)] = data

    def publish(self, index: int, word: int, value: int) -> None:
        """Stores a word of an element after every store before it."""
        if index >= self.reached:
            self.reach(index)
        lib.ovn_publish(self._base + index * self.pitch + word, value)

    def close(self) -> None:
        """Unmaps; the fd is the owner's."""
        self._base = None
        self.words.release()
        self.memory.close()


def _reserved(length: int) -> mmap.mmap:
    """Addresses for a map, none of which can be accessed yet."""
    memory = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    check(
        lib.ovn_memory_reserve(ffi.cast("void *", _address(memory)), length),
        "no addresses for a map",
    )
    return memory


def _address(memory: mmap.mmap) -> int:
    with ffi.from_buffer(memory, require_writable=True) as start:
        return int(ffi.cast("uintptr_t", start))


class HashMap:
    """A hash that leads to slots (struct ovn_ref), written in batches."""

    def __init__(self, name: str, fd: int) -> None:
        info = map_info(fd)
        self.name = name
        self.fd = fd
        self.key_size = info.key_size
        self.capacity = info.max_entries

    def update(self, entries: Mapping[bytes, int]) -> None:
        """Adds or overwrites entries.  Raises DataPlaneError: some may be written."""
        self.write(list(entries), list(entries.values()))

    def write(self, keys: Sequence[bytes], values: list[int]) -> None:
        """update() with keys and their values side by side."""
        joined, slots = b"".join(keys), ffi.new("uint32_t[]", values)
        self._check(lib.ovn_index_update(self.fd, joined, slots, self.key_size, len(values)))

    def delete(self, keys: Iterable[bytes]) -> None:
        """Removes entries; those that are not there are passed over."""
        joined = b"".join(keys)
        done = ffi.new("uint32_t *")
        count = len(joined) // self.key_size
        self._check(lib.ovn_hash_delete(self.fd, joined, self.key_size, count, done))

    def dump(self) -> dict[bytes, int]:
        """Every entry."""
        keys = ffi.new("char[]", _DUMP * self.key_size)
        values = ffi.new("struct ovn_ref[]", _DUMP)
        cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
        entries: dict[bytes, int] = {}
        while more[0]:
            count = self._check(lib.ovn_hash_dump(self.fd, cursor, keys, values, _DUMP, more))
            found = bytes(ffi.buffer(keys, count * self.key_size))
            size = self.key_size
            for i in range(count):
                entries[found[i * size : (i + 1) * size]] = values[i].slot
        return entries

    def _check(self, result: int) -> int:
        if result in (-errno.E2BIG, -errno.ENOSPC):
            raise MapFullError(f"map {self.name} is full ({self.capacity} entries)")
        return check(result, f"map {self.name} cannot be changed")


def grace_period() -> None:
    """Returns once no program runs that was running at the call: milliseconds.

    Raises DataPlaneError on a kernel that offers no way.
    """
    check(lib.ovn_grace_period(), "no way to wait for running programs")
