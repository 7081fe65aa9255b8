# SPDX-License-Identifier: Apache-2.0
"""Programs on devices: pinned tcx links, or filters of a clsact qdisc before 6.6.

set_wanted() says which devices run which program; reconcile() makes it so, and again
whenever a device was made anew under another ifindex or somebody took a qdisc away.
Both kinds go on when the agent dies.  The agent has it done by attacher.Attacher.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import libbpf, probe
from ovn_bpf_controller.datapath.loader import Plane, link_name, parse_link_name
from ovn_bpf_controller.datapath.maps import pinned
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.process.crash import crash_point

Attachment = tuple[int, str]  # (ifindex, name of the program)
_LOOKED_AT: Final = 64  # attachments that one look() asks the kernel about


class Hook(Protocol):
    """A way to run programs at a device's ingress."""

    def attach(self, items: Sequence[Attachment]) -> Iterator[tuple[Attachment, str]]:
        """Runs programs for what devices receive; each with why it cannot, or ""."""

    def detach(self, ifindex: int, program: str) -> None:
        """Ends that; no error if there is nothing to end, or no such device."""

    def attached(self) -> set[Attachment]:
        """What runs now, on devices that exist."""

    def lost(self, items: Sequence[Attachment]) -> list[Attachment]:
        """Those of `items`, attached before, that do not run now."""

    def take_over(self) -> None:
        """Lets what other builds and layouts attached run this plane's programs."""


class Tcx:
    """tcx links, pinned as <links>/<ifindex>-<program>."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def attach(self, items: Sequence[Attachment]) -> Iterator[tuple[Attachment, str]]:
        """See Hook.  A device that runs an older layout's program is left to
        Plane.supersede(): two programs on it would each want the packet."""
        older = self._plane.older()
        for item in items:
            if not _held(older, item[0]):
                yield item, self._attach(*item)

    def _attach(self, ifindex: int, program: str) -> str:
        try:
            link = lib.ovn_tcx_attach(self._plane.programs[program], ifindex, 0)
            if link < 0:
                return os.strerror(-link)
            try:
                libbpf.pin(link, self._path(ifindex, program))
            finally:
                os.close(link)
        except DataPlaneError as error:
            return str(error)
        return ""

    def detach(self, ifindex: int, program: str) -> None:
        """See Hook.  Without its pin alone the kernel would end a link some time later, and
        until then refuse the program to this device."""
        path = self._path(ifindex, program)
        if not path.exists():
            return
        link = pinned(path)
        try:
            libbpf.link_detach(link)
        finally:
            os.close(link)
        libbpf.unpin(path)

    def attached(self) -> set[Attachment]:
        """See Hook.  Pins of links whose device is gone are removed on the way."""
        found = set()
        for path in self._plane.links.iterdir():
            attachment = parse_link_name(path.name)
            if attachment[0] and _device_of(path) == attachment[0]:
                found.add(attachment)
            else:
                libbpf.unpin(path)
        return found

    def lost(self, items: Sequence[Attachment]) -> list[Attachment]:
        """See Hook.  Their pins go."""
        gone = []
        for item in items:
            path = self._path(*item)
            if not path.exists() or _device_of(path) != item[0]:
                libbpf.unpin(path)
                gone.append(item)
        return gone

    def take_over(self) -> None:
        """See Hook: Plane moves its links by itself."""

    def _path(self, ifindex: int, program: str) -> Path:
        return self._plane.links / link_name(ifindex, program)


def _held(older: list[Path], ifindex: int) -> bool:
    """Whether one of these directories has the device's link."""
    pins = (pin for old in older for pin in (old / "links").glob(f"{ifindex}-*"))
    return any(_device_of(pin) == ifindex for pin in pins)


def _device_of(path: Path) -> int:
    """ifindex of a pinned link, 0 when its device is gone."""
    fd = pinned(path)
    info: Any = ffi.new("struct ovn_link_info *")
    try:
        libbpf.check(lib.ovn_link_info(fd, info), f"{path} is no link")
    finally:
        os.close(fd)
    return int(info.ifindex)


class Attachments:
    """Which devices are to run which program, and do.

    running: what does, as far as is known.  failed: what the last reconcile() could not
    do, with why.
    """

    def __init__(self, plane: Plane, hook: Hook | None = None) -> None:
        self._hook = hook or best_hook(plane)
        self._plane = plane
        if not plane.older():  # otherwise the tables are empty yet
            self._take_over()
        self._wanted: frozenset[Attachment] = frozenset()
        self.running: set[Attachment] = set()
        self.failed: dict[Attachment, str] = {}
        self._known = False  # whether running is true but for what others did since
        self._unlooked: list[Attachment] = []

    def supersede(self) -> None:
        """Plane.supersede(), whichever way the older layout was attached."""
        if self._plane.older():
            self._take_over()
            self._plane.supersede()
            self._known = False

    def _take_over(self) -> None:
        self._hook.take_over()
        self._plane.forget_other_builds()

    def set_wanted(self, wanted: Iterable[Attachment]) -> None:
        """Says what is to run; reconcile() does it."""
        self._wanted = frozenset(wanted)

    def look(self) -> None:
        """Asks the kernel whether what ran still does: of so many devices at a time that
        a chassis with thousands can afford it every second."""
        if not self._known:
            self._read()
        if not self._unlooked:
            self._unlooked = sorted(self.running)
        self.running.difference_update(self._hook.lost(self._unlooked[:_LOOKED_AT]))
        del self._unlooked[:_LOOKED_AT]

    def _read(self) -> None:
        self.running = self._hook.attached()
        self._known, self._unlooked = True, []

    def reconcile(self, *, keep: bool = False) -> bool:
        """look(), and steps() to their end.  True if anything was attached or detached."""
        self.look()
        return any(list(self.steps(keep=keep)))

    def steps(self, *, keep: bool = False) -> Iterator[bool]:
        """Attaches what is missing and, unless `keep`, detaches what is not wanted.

        One by one: the caller may stop after any.  Yields whether that was done.
        """
        if not self._known:
            self._read()
        self.failed = {}
        for item, problem in self._hook.attach(sorted(self._wanted - self.running)):
            if problem:
                self.failed[item] = problem
                self._known = False  # what is left of an earlier one may be in the way
            else:
                self.running.add(item)
                crash_point("device-attached")
            yield not problem
        for item in sorted(set() if keep else self.running - self._wanted):
            self._hook.detach(*item)
            self.running.discard(item)
            yield True

    def attached(self) -> set[Attachment]:
        """What runs now, read anew."""
        self._read()
        return set(self.running)


def best_hook(plane: Plane) -> Hook:
    """tcx where the kernel has it, otherwise clsact."""
    if probe.has_tcx(next(iter(plane.programs.values()))):
        return Tcx(plane)
    from ovn_bpf_controller.datapath.clsact import Clsact  # pyroute2 takes long to import

    return Clsact(plane)
