# SPDX-License-Identifier: Apache-2.0
"""Locks on a data plane exclude each other by purpose, and go with who holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ovn_bpf_controller.datapath import locks
from tests.support.dataplane import bed


def test_one_at_a_time_holds_each(tmp_path: Path) -> None:
    with bed() as made:
        plane = made.plane.directory
        before = sorted(plane.iterdir())
        held = [locks.taken(plane, purpose) for purpose in (locks.WATCH, locks.SAMPLES)]
        assert None not in held
        assert locks.taken(plane, locks.WATCH) is None
        assert locks.taken(plane, locks.SAMPLES) is None
        for lock in held:
            assert lock is not None
            os.close(lock)
        again = locks.taken(plane, locks.WATCH)
        assert again is not None
        os.close(again)
        assert sorted(plane.iterdir()) == before
    with pytest.raises(FileNotFoundError):
        locks.taken(tmp_path / "none", locks.WATCH)
