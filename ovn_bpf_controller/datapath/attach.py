# SPDX-License-Identifier: Apache-2.0
"""Programs on devices: pinned tcx links, or filters of a clsact qdisc before 6.6.

The agent says with set_wanted() which devices run which program; reconcile()
makes it so, and again whenever a device was made anew under another ifindex or
somebody took a qdisc away.  Both kinds go on when the agent dies.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import libbpf, probe
from ovn_bpf_controller.datapath.loader import Plane, link_name, parse_link_name
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.process.crash import crash_point

Attachment = tuple[int, str]  # (ifindex, name of the program)
_BATCH: Final = 64  # devices at a time; each waits for a grace period


class Hook(Protocol):
    """A way to run programs at a device's ingress."""

    def attach(self, items: Sequence[Attachment]) -> Iterator[tuple[Attachment, str]]:
        """Runs programs for what devices receive; each with why it cannot, or ""."""

    def detach(self, ifindex: int, program: str) -> None:
        """Ends that; no error if there is nothing to end, or no such device."""

    def attached(self) -> set[Attachment]:
        """What runs now, on devices that exist."""

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
        wanted = [item for item in items if not _held(older, item[0])]
        for program in sorted({program for _, program in wanted}):
            devices = [ifindex for ifindex, its in wanted if its == program]
            for start in range(0, len(devices), _BATCH):
                yield from self._attach(program, devices[start : start + _BATCH])

    def _attach(self, program: str, devices: list[int]) -> Iterator[tuple[Attachment, str]]:
        try:
            fd = self._plane.programs[program]
        except DataPlaneError as error:
            yield from (((ifindex, program), str(error)) for ifindex in devices)
            return
        # Nothing else in between: the kernel sleeps in each, and what comes after a
        # sleep finds the processor's caches cold.
        links = [lib.ovn_tcx_attach(fd, ifindex, 0) for ifindex in devices]
        for ifindex, link in zip(devices, links, strict=True):
            item = (ifindex, program)
            yield item, self._keep(item, link)

    def _keep(self, item: Attachment, link: int) -> str:
        if link < 0:
            return os.strerror(-link)
        try:
            libbpf.pin(link, self._path(*item))
        except DataPlaneError as error:
            return str(error)
        finally:
            os.close(link)
        return ""

    def detach(self, ifindex: int, program: str) -> None:
        """See Hook."""
        libbpf.unpin(self._path(ifindex, program))

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
    fd = libbpf.pinned(path)
    info: Any = ffi.new("struct ovn_link_info *")
    try:
        libbpf.check(lib.ovn_link_info(fd, info), f"{path} is no link")
    finally:
        os.close(fd)
    return int(info.ifindex)


class Attachments:
    """Which devices are to run which program, and do.

    failed: what the last reconcile() could not do, with why.
    """

    def __init__(self, plane: Plane, hook: Hook | None = None) -> None:
        self._hook = hook or best_hook(plane)
        self._plane = plane
        if not plane.older():  # otherwise the tables are empty yet
            self._take_over()
        self._wanted: set[Attachment] = set()
        self.failed: dict[Attachment, str] = {}

    def supersede(self) -> None:
        """Plane.supersede(), whichever way the older layout was attached."""
        if self._plane.older():
            self._take_over()
            self._plane.supersede()

    def _take_over(self) -> None:
        self._hook.take_over()
        self._plane.forget_other_builds()

    def set_wanted(self, wanted: Iterable[Attachment]) -> None:
        """Says what is to run; reconcile() does it."""
        self._wanted = set(wanted)

    def reconcile(self, *, keep: bool = False) -> bool:
        """Attaches what is missing and, unless `keep`, detaches what is not wanted.

        Cheap enough to be called at every change of devices.  Returns True if
        something was attached or detached.
        """
        attached = self._hook.attached()
        self.failed = {}
        for item, problem in self._hook.attach(sorted(self._wanted - attached)):
            if problem:
                self.failed[item] = problem
            else:
                crash_point("device-attached")
        surplus = set() if keep else attached - self._wanted
        for item in sorted(surplus):
            self._hook.detach(*item)
        return bool(surplus or (self._wanted - attached) - self.failed.keys())

    def attached(self) -> set[Attachment]:
        """What runs now."""
        return self._hook.attached()


def best_hook(plane: Plane) -> Hook:
    """tcx where the kernel has it, otherwise clsact."""
    if probe.has_tcx(next(iter(plane.programs.values()))):
        return Tcx(plane)
    from ovn_bpf_controller.datapath.clsact import Clsact  # pyroute2 takes long to import

    return Clsact(plane)
