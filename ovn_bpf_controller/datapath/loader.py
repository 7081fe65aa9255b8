# SPDX-License-Identifier: Apache-2.0
"""The data plane in the kernel: loaded once, pinned, taken over by later agents.

Pins lie in <bpffs>/ovn-bpf/<layout>/<instance>/{maps,programs-<build>,links}.
Maps outlive the agent while their layout is the same; programs of another build
replace the old ones link by link, and packets never notice.  Another layout
gets maps of its own, and supersede() moves the links over once they are filled; the
tracker's, and what was learnt, go on if their headers are the same (inherit.py).  In
the same way an agent whose tables are full goes on to larger ones: grow().
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import inherit, libbpf, probe
from ovn_bpf_controller.datapath.maps import map_info, pinned
from ovn_bpf_controller.datapath.programs import CALLS, Programs, entries, open_pins, pin_all
from ovn_bpf_controller.datapath.trace import Tracer
from ovn_bpf_controller.digests import digest
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.process.crash import crash_point

OBJECT: Final = Path(__file__).resolve().parent.parent / "bpf" / "ovn.o"
TOP: Final = "ovn-bpf"

CONNECTIONS: Final = 1 << 18

# Elements of each map.  The largest network of tests.bench.scale, 150,000 flows of 1,000
# datapaths, uses 249,000 small rules, 303,000 instructions, 78,000 tuples, 13,000 ports:
# twice of that fits.
SIZES: Final[Mapping[str, int]] = {
    "ovn_masks": 1 << 13,
    "ovn_tuples": 1 << 18,
    "ovn_stages": 1 << 18,
    "ovn_idx_s": 1 << 19,
    "ovn_rules_s": 1 << 19,
    "ovn_idx_m": 1 << 16,
    "ovn_rules_m": 1 << 16,
    "ovn_idx_l": 1 << 14,
    "ovn_rules_l": 1 << 14,
    "ovn_insns": 3 << 18,
    "ovn_set_idx": 1 << 18,
    "ovn_sets": 1 << 18,
    "ovn_port_idx": 1 << 15,
    "ovn_ports": 1 << 15,
    "ovn_ifports": 1 << 12,
    "ovn_mc_idx": 1 << 14,
    "ovn_mcgroups": 1 << 14,
    "ovn_members": 1 << 18,
    "ovn_datapaths": 1 << 11,
    "ovn_chassis": 1 << 13,
    "ovn_peers": 1 << 13,
    "ovn_fdb": 1 << 16,
    "ovn_macs": 1 << 14,
    "ovn_mac_used": 1 << 16,
    "ovn_punt_rate": 1 << 12,
    "ovn_meters": 1 << 13,
    "ovn_meter_use": 1 << 13,
    "ovn_templates": 1 << 14,
    "ovn_names": 1 << 14,
    "ovn_learnt": 1 << 16,
    "ovn_drop_flows": 1 << 12,
    "ovn_flows": (1 << 18) // lib.OVN_FLOW_PAGE,  # 4 MB for each CPU
    "ovn_conns": CONNECTIONS,
    "ovn_ct_idx": 2 * CONNECTIONS,
    "ovn_ct_free": CONNECTIONS,
    "ovn_frags": 1 << 13,
}

# Maps that datapath.tables writes from the databases, and so can write anew.
TABLES: Final = frozenset(
    {
        *("ovn_ctl", "ovn_masks", "ovn_tuples", "ovn_stages", "ovn_insns", "ovn_datapaths"),
        *("ovn_idx_s", "ovn_idx_m", "ovn_idx_l", "ovn_rules_s", "ovn_rules_m", "ovn_rules_l"),
        *("ovn_port_idx", "ovn_ports", "ovn_ifports", "ovn_set_idx", "ovn_sets", "ovn_set_plens"),
        *("ovn_mc_idx", "ovn_mcgroups", "ovn_members", "ovn_chassis", "ovn_peers"),
    }
)
# How many times smaller they are until they are full: most chassis never need the memory,
# and the kernel clears it at each start.
_SHARE: Final = 8


def sizes(connections: int) -> dict[str, int]:
    """SIZES for this many tracked connections: 240 bytes of memory each, and about 200 for
    one that there is."""
    tracker = {
        "ovn_conns": connections,
        "ovn_ct_idx": 2 * connections,
        "ovn_ct_free": connections,
    }
    return {**SIZES, **tracker}


def pinned_connections(instance: str, bpffs: Path = probe.BPFFS) -> int:
    """How many connections the table that is pinned has room for; 0 if there is none."""
    newest = pinned_map(instance, "ovn_conns", bpffs)
    if newest is None:
        return 0
    fd = pinned(newest)
    try:
        return map_info(fd).max_entries
    finally:
        os.close(fd)


def pinned_map(instance: str, name: str, bpffs: Path = probe.BPFFS) -> Path | None:
    """Where a map is pinned; of several (an upgrade was not finished) the newest."""
    found = (bpffs / TOP).glob(f"*/{pin_name(instance)}/maps/{name}")
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def pin_name(instance: str) -> str:
    """`instance` as a name that bpffs takes: no dots, no slashes, no two alike."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", instance)[:64]
    if plain and plain == instance:
        return plain
    return f"{plain}-{digest(instance.encode(), 4).hex()}"


class Plane:
    """Maps and programs, held open.

    maps, programs: fds by name, open until close(); a program is loaded when it is
    first asked for.  adopted: the maps were
    there before; read them with Tables.adopt().  links: where attach.py pins.
    may_grow: whether grow() would make the tables larger.
    """

    def __init__(
        self,
        instance: str,
        *,
        bpffs: Path = probe.BPFFS,
        sizes: Mapping[str, int] = SIZES,
        source: Path = OBJECT,
        grows: bool = False,
    ) -> None:
        """Adopts or loads.  instance: tells the agents on one bpffs apart.  grows: begins
        with a share of the sizes, unless all of them were needed before.

        Raises StartupError when the kernel or the file system lacks something,
        DataPlaneError when it refuses the object.
        """
        probe.require_bpffs(bpffs)
        probe.require_kernel()
        self._source = source
        self._sizes = self._most = sizes
        self._top = bpffs / TOP
        self._name = pin_name(instance)
        self.may_grow = grows and not (self._home(sizes) / "maps").is_dir()
        if self.may_grow:
            self._sizes = {n: size // _SHARE if n in TABLES else size for n, size in sizes.items()}
        self._outgrown: list[int] = []
        self.maps: dict[str, int] = {}
        self.programs: Programs
        self._enter()
        self.adopted = (self.directory / "maps").is_dir()
        self._open()

    def _home(self, sizes: Mapping[str, int]) -> Path:
        """Directory of the pins of maps of these sizes."""
        layout = ffi.string(lib.ovn_layout_hash)
        assert isinstance(layout, bytes)
        digested = digest(layout + repr(sorted(sizes.items())).encode(), 8)
        return self._top / digested.hex() / self._name

    def _enter(self) -> None:
        self.directory = self._home(self._sizes)
        self.links = self.directory / "links"
        self.links.mkdir(parents=True, exist_ok=True)

    def grow(self) -> None:
        """Makes the maps of the tables anew, as large as they get, and programs that use
        them; all others go on.  Nobody may use either meanwhile.

        The new tables are empty, and the links stay where they are until supersede().
        Raises DataPlaneError: then nothing has changed.
        """
        small, programs, before = self._sizes, self.programs, self.maps
        self._sizes = self._most
        self._enter()
        self.maps = {name: fd for name, fd in before.items() if name not in TABLES}
        try:
            self.programs = Programs(self._source, self.directory, self.maps)
            if self.programs.directory.name != programs.directory.name:
                raise DataPlaneError(f"{self._source} is another build: restart to run it")
            self._load()
        except BaseException:
            if self.programs is not programs:
                self.programs.close()
            for name in self.maps.keys() & TABLES:
                os.close(self.maps[name])
            discard(self.directory)
            self._sizes, self.programs, self.maps = small, programs, before
            self._enter()
            raise
        self.may_grow = False
        self._outgrown += [fd for name, fd in before.items() if name in TABLES]
        self._outgrown += programs.release()

    def tracer(self) -> Tracer:
        """Tries packets on these maps; the caller closes it."""
        return Tracer(self.maps, self.programs["ovn_trace"])

    def close(self) -> None:
        """Closes the fds.  What is pinned goes on."""
        for fd in self.maps.values():
            os.close(fd)
        self.maps = {}
        self.programs.close()
        self.forget_outgrown()

    def forget_outgrown(self) -> None:
        """The slow path runs our programs: nobody needs the ones before any more."""
        for fd in self._outgrown:
            os.close(fd)
        self._outgrown = []

    def _open(self) -> None:
        if self.adopted:
            self.maps = open_pins(self.directory / "maps")
        else:
            self.maps = inherit.inherited(self.older(), self._sizes)
        self.programs = Programs(self._source, self.directory, self.maps)
        if not (self.adopted and self.programs.pinned):
            self._load()
        if self._other_builds():  # also if an agent was killed just here
            for path in sorted(self.links.iterdir()):
                self._move_link(path, path)
                crash_point("link-moved")

    def _load(self) -> None:
        self.programs.load(self._sizes)
        crash_point("programs-loaded")
        if not (self.directory / "maps").is_dir():
            pin_all(self.maps, self.directory / "maps")
            crash_point("maps-pinned")
        inherit.mark(self.directory)
        self.programs.pin()
        crash_point("programs-pinned")

    def _other_builds(self) -> list[Path]:
        every = self.directory.glob("programs-*")
        return [path for path in every if path != self.programs.directory]

    def forget_other_builds(self) -> None:
        """Lets go of other builds' programs, which drop everything from here on: to be
        called when no device runs one any more."""
        for path in self._other_builds():
            shutil.rmtree(path)

    def _move_link(self, path: Path, to: Path) -> None:
        _, name = parse_link_name(path.name)
        if name not in self.programs:
            libbpf.unpin(path)
            return
        fd = pinned(path)
        try:
            libbpf.link_update(fd, self.programs[name])
        except DataPlaneError:
            libbpf.unpin(path)  # its device is gone
            return
        finally:
            os.close(fd)
        if to != path:
            path.rename(to)

    # --- other layouts --------------------------------------------------------

    def older(self) -> list[Path]:
        """Directories of this instance with another layout or other sizes."""
        # Asked before each attachment, and there is hardly ever another one.
        layout, instance = self.directory.parts[-2:]
        others = [name for name in os.listdir(self._top) if name != layout]
        found = [self._top / name / instance for name in others]
        return sorted(path for path in found if path.is_dir())

    def supersede(self) -> None:
        """Takes over the links of older layouts and removes what they leave.

        To be called when the tables are complete: from here on packets of
        those devices run through our maps.
        """
        for old in self.older():
            for path in entries(old / "links"):
                to = self.links / path.name
                if to.exists():
                    libbpf.unpin(path)
                else:
                    self._move_link(path, to)
                crash_point("link-inherited")
            # An earlier slow path runs these programs until another one has learnt.
            self._outgrown += [pinned(path) for path in old.glob(f"programs-*/{CALLS}")]
            discard(old)
            crash_point("superseded")

    def remove(self) -> None:
        """Takes every pin of this instance away: its devices carry nothing more."""
        self.close()
        for path in [*self.older(), self.directory]:
            if path.exists():
                discard(path)
        _remove_if_empty(self._top)


def link_name(ifindex: int, program: str) -> str:
    """Name of a link's pin."""
    return f"{ifindex}-{program}"


def parse_link_name(name: str) -> tuple[int, str]:
    """(ifindex, program) of link_name(); (0, "") for a name that is none."""
    ifindex, _, program = name.partition("-")
    return (int(ifindex), program) if ifindex.isdigit() else (0, "")


def discard(directory: Path) -> None:
    """Removes an instance's pins of one layout: first the links, so that no device runs
    programs whose maps have gone."""
    for part in (directory / "links", directory):
        if part.is_dir():
            shutil.rmtree(part)
    _remove_if_empty(directory.parent)


def _remove_if_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
