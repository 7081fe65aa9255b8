# SPDX-License-Identifier: Apache-2.0
"""Connections outlive a change of layout: their maps pass to the next one.

loader.Plane asks when it makes maps.  Rules and ports are written anew from the
databases, but nobody could write connections anew, nor what action lists learnt.  A
directory named by the hash of a group's header beside the pins tells whether the maps
of another layout can be used; both layouts' programs share them until the new one's
tables are complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import map_info, pinned

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
#: The one of learnt.h: affinity, hairpins, next hops.
LEARNT: Final = ("ovn_learnt",)


def _marker(prefix: str, layout: object) -> str:
    assert isinstance(layout, bytes)
    return f"{prefix}-{layout.decode()}"


# Marker of a layout -> the maps that have it.
_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    _marker("ct", ffi.string(lib.ovn_ct_layout_hash)): TRACKER,
    _marker("learnt", ffi.string(lib.ovn_learnt_layout_hash)): LEARNT,
}


def mark(directory: Path) -> None:
    """Says which layouts of inherited maps those pinned below `directory` have."""
    for marker in _GROUPS:
        (directory / marker).mkdir(exist_ok=True)


def inherited(older: Iterable[Path], sizes: Mapping[str, int]) -> dict[str, int]:
    """Maps that one of these directories left, by name.

    None of a group unless all of it can be used and have the size that is wanted; of
    several directories the newest counts.  The caller closes the file descriptors.
    """
    found: dict[str, int] = {}
    candidates = list(older)
    for marker, names in _GROUPS.items():
        found |= _group(marker, names, candidates, sizes)
    return found


def _group(
    marker: str, names: Sequence[str], older: Iterable[Path], sizes: Mapping[str, int]
) -> dict[str, int]:
    usable = [path for path in older if (path / marker).is_dir() and (path / "maps").is_dir()]
    usable.sort(key=lambda path: (path / "maps").stat().st_mtime_ns)
    for directory in reversed(usable):
        found = {
            name: pinned(directory / "maps" / name)
            for name in names
            if (directory / "maps" / name).exists()
        }
        if len(found) == len(names) and all(
            map_info(fd).max_entries == sizes.get(name, map_info(fd).max_entries)
            for name, fd in found.items()
        ):
            return found
        for fd in found.values():
            os.close(fd)
    return {}
