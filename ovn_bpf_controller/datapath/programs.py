# SPDX-License-Identifier: Apache-2.0
"""The programs of one build over given maps, each verified when it is first needed.

loader.Plane has one.  What was loaded is pinned, so a later agent of the same build
finds it.  Entry programs end in ovn_run through map ovn_calls, which a build has for
itself, with its scratch memory: two builds may lay that out differently, and run beside
each other until the last link has moved.  The kernel empties ovn_calls when its last
pin goes.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import libbpf
from ovn_bpf_controller.datapath.libbpf import BpfObject
from ovn_bpf_controller.datapath.maps import check, pinned
from ovn_bpf_controller.digests import digest
from ovn_bpf_controller.errors import DataPlaneError

# Loaded when it is asked for, as it takes long; all others at once.
LATE: Final = frozenset({"ovn_serve"})
# Programs that others end in, by their place in CALLS (enum ovn_call).
CALLS: Final = "ovn_calls"
# Maps that a build has for itself.
OWN: Final = frozenset({CALLS, "ovn_scratch", "ovn_depth"})
_CALLED: Final[Mapping[str, int]] = {
    "ovn_run": lib.OVN_CALL_RUN,
    "ovn_serve": lib.OVN_CALL_SERVE,
}
_TRIES: Final = 10  # a signal during verification makes the kernel give up


class Programs(Mapping[str, int]):
    """File descriptors by name, open until close(); the keys are all the build has.

    Asking for one may load it: DataPlaneError if the kernel refuses, or the object
    file is not what it was at the start.  Any thread may ask.
    """

    def __init__(self, source: Path, directory: Path, maps: dict[str, int]) -> None:
        """maps: those to use, by name; load() adds what is missing."""
        self._source = source
        self._seen = _seen(source)
        self._build = _digest(source)
        self._maps = maps
        self.directory = directory / f"programs-{self._build}"
        self.pinned = self.directory.is_dir()
        self._fds = open_pins(self.directory)
        self._own = {name: self._fds.pop(name) for name in OWN & self._fds.keys()}
        self._names: tuple[str, ...] = ()
        self._loading = threading.Lock()

    def load(self, sizes: Mapping[str, int]) -> None:
        """Creates the maps that there are not yet, and loads what is needed at once.

        What is called is in its place afterwards, before anything can be attached.
        Raises DataPlaneError when the kernel refuses.
        """
        self._with_object(sizes, lambda name: name not in LATE)
        for name in _CALLED.keys() - LATE:
            self.make_callable(name)

    def make_callable(self, name: str) -> None:
        """Loads it, if it was not, and puts it where other programs find it."""
        key, value = ffi.new("uint32_t *", _CALLED[name]), ffi.new("uint32_t *", self[name])
        check(lib.ovn_map_update(self._own[CALLS], key, value), f"{name} cannot be called")

    def pin(self) -> None:
        """All that is loaded; later ones pin themselves."""
        pin_all({**self._fds, **self._own}, self.directory)
        self.pinned = True

    def close(self) -> None:
        """Closes the fds.  What is pinned goes on."""
        for fd in self.release():
            os.close(fd)

    def release(self) -> list[int]:
        """What close() would close, to be closed by the caller."""
        fds = [*self._fds.values(), *self._own.values()]
        self._fds, self._own = {}, {}
        return fds

    # --- Mapping ---------------------------------------------------------------

    def __getitem__(self, name: str) -> int:
        if name not in self._fds:
            if name not in self._known():
                raise KeyError(name)
            with self._loading:
                if name not in self._fds:  # another thread may have been first
                    self._load_late(name)
        return self._fds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def __contains__(self, name: object) -> bool:
        return name in self._known()

    # --- loading -----------------------------------------------------------------

    def _known(self) -> tuple[str, ...]:
        if not self._names:
            with BpfObject(self._source) as source:
                self._names = tuple(source.programs)
        return self._names

    def _load_late(self, name: str) -> None:
        if _seen(self._source) != self._seen and _digest(self._source) != self._build:
            raise DataPlaneError(f"{self._source} is another build: restart to run its {name}")
        self._with_object({}, lambda each: each == name)
        if self.pinned:
            libbpf.pin(self._fds[name], self.directory / name)

    def _with_object(self, sizes: Mapping[str, int], wanted: Callable[[str], bool]) -> None:
        for _ in range(_TRIES):
            with BpfObject(self._source) as source:
                self._names = tuple(source.programs)
                chosen = [name for name in self._names if wanted(name)]
                for name in self._names:
                    if name not in chosen:
                        source.leave_out(name)
                self._prepare(source, sizes)
                if not source.load():
                    continue
                for name in source.maps:
                    maps = self._home(name)
                    if name not in maps:
                        maps[name] = os.dup(source.map_fd(name))
                self._fds |= {name: os.dup(source.program_fd(name)) for name in chosen}
                return
        raise DataPlaneError(f"{self._source.name} was interrupted {_TRIES} times while loading")

    def _home(self, name: str) -> dict[str, int]:
        return self._own if name in OWN else self._maps

    def _prepare(self, source: BpfObject, sizes: Mapping[str, int]) -> None:
        for name in source.maps:
            maps = self._home(name)
            if name in maps:
                source.reuse(name, maps[name])
            elif name in sizes:
                source.set_max_entries(name, sizes[name])


def _seen(source: Path) -> tuple[int, int]:
    """What is another one whenever the file, or what is in it, is."""
    found = source.stat()
    return found.st_ino, found.st_ctime_ns


def _digest(source: Path) -> str:
    return digest(source.read_bytes(), 8).hex()


# --- pins ---------------------------------------------------------------------------


def entries(directory: Path) -> Iterator[Path]:
    """What is in a directory, sorted; nothing if there is none."""
    return iter(sorted(directory.iterdir()) if directory.is_dir() else [])


def open_pins(directory: Path) -> dict[str, int]:
    """File descriptors by the names of their pins."""
    return {path.name: pinned(path) for path in entries(directory)}


def pin_all(fds: Mapping[str, int], directory: Path) -> None:
    """All or nothing, also for an agent that is killed half-way."""
    part = directory.with_name(f"{directory.name}-part")
    for stale in (part, directory):
        if stale.is_dir():
            shutil.rmtree(stale)
    part.mkdir()
    for name, fd in fds.items():
        libbpf.pin(fd, part / name)
    part.rename(directory)
