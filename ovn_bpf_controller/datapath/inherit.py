# SPDX-License-Identifier: Apache-2.0
"""Connections outlive a change of layout: the tracker's maps pass to the next one.

loader.Plane asks when it makes maps.  Rules and ports are written anew from the
databases, but nobody could write connections anew.  A directory named by the hash of
conntrack.h beside the pins tells whether those of another layout can be used; both
layouts' programs share them until the new one's tables are complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import libbpf
from ovn_bpf_controller.datapath.maps import map_info

#: Maps whose elements conntrack.h lays out.
TRACKER: Final = (
    "ovn_conns",
    "ovn_ct_idx",
    "ovn_ct_free",
    "ovn_ct_zones",
    "ovn_ct_ctl",
    "ovn_ct_count",
    "ovn_ct_kill",
    "ovn_ct_timer",
)


def mark(directory: Path) -> None:
    """Says which layout of connections the maps pinned below `directory` have."""
    (directory / _marker()).mkdir(exist_ok=True)


def tracker(older: Iterable[Path], sizes: Mapping[str, int]) -> dict[str, int]:
    """The tracker's maps that one of these directories left, by name.

    None of them unless all can be used and have the size that is wanted; of several
    directories the newest counts.  The caller closes the file descriptors.
    """
    usable = [path for path in older if (path / _marker()).is_dir() and (path / "maps").is_dir()]
    usable.sort(key=lambda path: (path / "maps").stat().st_mtime_ns)
    for directory in reversed(usable):
        found = {
            name: libbpf.pinned(directory / "maps" / name)
            for name in TRACKER
            if (directory / "maps" / name).exists()
        }
        if len(found) == len(TRACKER) and all(
            map_info(fd).max_entries == sizes.get(name, map_info(fd).max_entries)
            for name, fd in found.items()
        ):
            return found
        for fd in found.values():
            os.close(fd)
    return {}


def _marker() -> str:
    layout = ffi.string(lib.ovn_ct_layout_hash)
    assert isinstance(layout, bytes)
    return f"ct-{layout.decode()}"
