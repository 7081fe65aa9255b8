# SPDX-License-Identifier: Apache-2.0
"""A BPF object file through libbpf: open, size, reuse maps, load, and pins.

Typed and raising, over the generated bindings of _libbpf.py.  Used by the
loader and by tests; failures carry what libbpf or the verifier said.
"""

from __future__ import annotations

import ctypes
import errno
import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.errors import DataPlaneError, StartupError

try:
    from ovn_bpf_controller.datapath import _libbpf as api
except OSError as error:
    raise StartupError(f"libbpf cannot be loaded: {error}") from error

SCHED_CLS: Final = 3  # enum bpf_prog_type
BPF_LOOP: Final = 181  # enum bpf_func_id
_LOG_LINES: Final = 30  # of a verifier log, from its end
_LOG_BYTES: Final = 1 << 18

api.libbpf_set_print(int(ffi.cast("uintptr_t", lib.ovn_log_printer())))


def _said() -> str:
    """The end of what libbpf printed since the last call, indented."""
    room = ffi.new("char[]", _LOG_BYTES)
    size = lib.ovn_log_take(room, _LOG_BYTES)
    lines = bytes(ffi.buffer(room, size)).decode(errors="replace").splitlines()
    return "".join(f"\n  {line}" for line in lines[-_LOG_LINES:])


def check(result: int, what: str) -> int:
    """`result` unless negative; then DataPlaneError with libbpf's own words."""
    if result < 0:
        raise DataPlaneError(f"{what}: {os.strerror(-result)}{_said()}")
    return result


def pin(fd: int, path: Path) -> None:
    """Pins what is behind `fd` in a bpffs.  Raises DataPlaneError."""
    check(api.bpf_obj_pin(fd, os.fsencode(path)), f"{path} cannot be pinned")


def unpin(path: Path) -> None:
    """Takes a pin away; one that is gone is no error."""
    path.unlink(missing_ok=True)


def probe_helper(helper: int) -> int:
    """1 if the kernel gives tc programs this helper, 0 if not, or a negative errno."""
    result = api.libbpf_probe_bpf_helper(SCHED_CLS, helper, None)
    _said()
    return result


class BpfObject:
    """An object file.  Open until close(); then fds it gave are closed too."""

    def __init__(self, path: Path) -> None:
        """Raises DataPlaneError if the file is no BPF object."""
        self.path = path
        self._object = api.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            cause = os.strerror(ctypes.get_errno())
            raise DataPlaneError(f"{path} cannot be opened: {cause}{_said()}")
        self._maps = {_name(api.bpf_map__name, m): m for m in self._each_map()}
        self._programs = {_name(api.bpf_program__name, p): p for p in self._each_program()}

    def __enter__(self) -> BpfObject:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unloads what is neither pinned, attached nor held by another fd."""
        if self._object:
            api.bpf_object__close(self._object)
            self._object = api.bpf_object(None)

    def _each_map(self) -> Iterator[api.bpf_map]:
        item = api.bpf_object__next_map(self._object, api.bpf_map(None))
        while item:
            yield item
            item = api.bpf_object__next_map(self._object, item)

    def _each_program(self) -> Iterator[api.bpf_program]:
        item = api.bpf_object__next_program(self._object, api.bpf_program(None))
        while item:
            yield item
            item = api.bpf_object__next_program(self._object, item)

    @property
    def maps(self) -> list[str]:
        """Names of the maps that the source declares."""
        return [name for name in self._maps if "." not in name]

    @property
    def programs(self) -> list[str]:
        """Names of the entry programs."""
        return list(self._programs)

    def max_entries(self, name: str) -> int:
        """Size of a map, as set or as compiled."""
        return api.bpf_map__max_entries(self._map(name))

    def set_max_entries(self, name: str, count: int) -> None:
        """Sets a map's size, before load()."""
        result = api.bpf_map__set_max_entries(self._map(name), count)
        check(result, f"map {name} cannot have {count} entries")

    def reuse(self, name: str, fd: int) -> None:
        """Makes load() take an existing map; libbpf keeps a copy of the fd."""
        check(api.bpf_map__reuse_fd(self._map(name), fd), f"map {name} cannot be taken over")

    def leave_out(self, name: str) -> None:
        """Makes load() pass a program over."""
        result = api.bpf_program__set_autoload(self._programs[name], False)
        check(result, f"program {name} cannot be left out")

    def load(self) -> bool:
        """Creates the maps and has the kernel verify the programs; once an object.

        False if a signal came in between: another object of the file may do better.
        Raises DataPlaneError with the end of the verifier's log.
        """
        result = api.bpf_object__load(self._object)
        if result != -errno.EAGAIN:
            check(result, f"the kernel refuses {self.path.name}")
        _said()
        return result != -errno.EAGAIN

    def map_fd(self, name: str) -> int:
        """The loaded map's fd, closed by close()."""
        return check(api.bpf_map__fd(self._map(name)), f"map {name} is not loaded")

    def program_fd(self, name: str) -> int:
        """The loaded program's fd, closed by close()."""
        if name not in self._programs:
            raise DataPlaneError(f"{self.path.name} has no program {name}")
        return check(api.bpf_program__fd(self._programs[name]), f"program {name} is not loaded")

    def _map(self, name: str) -> api.bpf_map:
        if name not in self._maps:
            raise DataPlaneError(f"{self.path.name} has no map {name}")
        return self._maps[name]


def _name(call: Callable[[Any], bytes | None], item: Any) -> str:
    return (call(item) or b"").decode()


def link_update(link: int, program: int) -> None:
    """Lets a link run another program, without a gap.  Raises DataPlaneError."""
    check(api.bpf_link_update(link, program, None), "a link cannot be updated")


def link_detach(link: int) -> None:
    """A link's program runs no more when this returns.  Its device may have gone; raises
    DataPlaneError otherwise."""
    check(api.bpf_link_detach(link), "a link cannot be detached")
