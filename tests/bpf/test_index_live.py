# SPDX-License-Identifier: Apache-2.0
"""An index entry that is pointed to another slot is there at every moment.

The kernel's own update of a hash element is not atomic for readers whose bucket holds
another key too: so the map is small here, and keys share buckets.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import HashMap
from tests.support.dataplane import bed

ENTRIES = 64
ROUNDS = 4000
KEYS = [struct.pack("=II", 1, n) for n in range(1, ENTRIES)]


@pytest.fixture
def index() -> Iterator[HashMap]:
    with bed({"ovn_port_idx": ENTRIES}) as made:
        yield HashMap("ovn_port_idx", made.plane.maps["ovn_port_idx"])


@contextmanager
def reader(index: HashMap) -> Iterator[list[int]]:
    """Looks all keys up for as long as the block lasts; yields what was wrong."""
    stop = threading.Event()
    wrong: list[int] = []
    value: Any = ffi.new("struct ovn_ref *")

    def run() -> None:
        while not stop.is_set():
            for number, key in enumerate(KEYS, 1):
                error = lib.ovn_map_lookup(index.fd, key, value)
                if error or value.slot % ENTRIES != number:
                    wrong.append(error or value.slot)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


def slots(turn: int) -> list[int]:
    """Other ones each turn, by which the key can be told."""
    return [turn * ENTRIES + n for n in range(1, ENTRIES)]


def test_an_entry_that_changes_is_always_found(index: HashMap) -> None:
    index.write(KEYS, slots(0))
    with reader(index) as wrong:
        for turn in range(ROUNDS):
            index.write(KEYS, slots(turn))
    assert wrong == []
