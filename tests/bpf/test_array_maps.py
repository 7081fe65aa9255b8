# SPDX-License-Identifier: Apache-2.0
"""Array maps that are mapped as far as they are used, beside the kernel's own view."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.maps import ArrayMap
from tests.support.kernel import private_kernel

NAME = "ovn_rules_s"
ROOM = 100_000


@pytest.fixture(scope="module")
def fd() -> Iterator[int]:
    """A large array map, whose elements do not divide a page."""
    with private_kernel():
        plane = Plane("arrays", sizes={NAME: ROOM})
        yield plane.maps[NAME]
        plane.remove()


def resident(array: ArrayMap) -> int:
    """Bytes of the array that count as ours (proc_pid_smaps(5))."""
    start = int(ffi.cast("uintptr_t", ffi.from_buffer(array.words)))
    end = start + len(array.memory)
    total = 0
    ours = False
    with open(f"/proc/{os.getpid()}/smaps") as smaps:
        for line in smaps:
            first, _, rest = line.partition(" ")
            if not first.endswith(":"):
                at = int(first.split("-")[0], 16)
                ours = start <= at < end
            elif ours and first == "Rss:":
                total += int(rest.split()[0]) * 1024
    return total


def in_kernel(fd: int, index: int, size: int) -> bytes:
    key: Any = ffi.new("uint32_t *", index)
    value = ffi.new("char[]", size)
    assert lib.ovn_map_lookup(fd, key, value) == 0
    return bytes(ffi.buffer(value))


def test_what_is_written_is_the_kernels_wherever_it_lies(fd: int) -> None:
    array = ArrayMap(NAME, fd, grows=True)
    try:
        for index in (1, 910, 911, 912, 50_000, 49_999, ROOM - 1):
            data = index.to_bytes(4, "little") * (array.size // 4)
            array.put(index, data)
            assert in_kernel(fd, index, array.size) == data == array.get(index)
        array.publish(60_000, 1, 7)
        assert array.words[60_000 * array.pitch + 1] == 7
        assert in_kernel(fd, 60_000, array.size)[4:8] == b"\7\0\0\0"
        assert array.reached == ROOM
        array.reach(2 * ROOM)  # of a slot that is none; who looks finds nothing
    finally:
        array.close()


def test_only_what_is_reached_counts_as_memory_of_ours(fd: int) -> None:
    whole = ArrayMap(NAME, fd)
    part = ArrayMap(NAME, fd, grows=True)
    try:
        assert resident(whole) >= len(whole.memory)
        assert part.reached == 0
        assert resident(part) == 0
        part.reach(1000)
        assert part.reached > 1000
        assert 1000 * part.stride < resident(part) <= 4000 * part.stride + mmap.PAGESIZE
        assert part.get(1) == whole.get(1)
    finally:
        part.close()
        whole.close()
