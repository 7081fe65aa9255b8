# SPDX-License-Identifier: Apache-2.0
"""Kernel namespaces of a test's own: mounts with an empty bpffs, and a network.

The test's thread itself moves into them, so that maps, pins and devices are made
by ordinary calls; leaving them, or being killed, removes everything.  Used by
tests/bpf and by whoever needs devices without daemons.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from ovn_bpf_controller._native import ffi, lib

_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_LEAVE_SECONDS = 30.0

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *args: Any) -> None:
    if getattr(_libc, name)(*args) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


@dataclass(frozen=True)
class Kernel:
    """What a test has to itself."""

    bpffs: Path

    def veth(self, name: str, peer: str) -> tuple[int, int]:
        """Makes a veth pair that is up; returns the two ifindexes."""
        with IPRoute() as netlink:
            netlink.link("add", ifname=name, kind="veth", peer={"ifname": peer})
            ends = tuple(netlink.link_lookup(ifname=end)[0] for end in (name, peer))
            for end in ends:
                netlink.link("set", index=end, state="up")
        return ends[0], ends[1]

    def delete(self, name: str) -> None:
        """Deletes a device."""
        with IPRoute() as netlink:
            netlink.link("del", index=netlink.link_lookup(ifname=name)[0])


def _return_to(namespace: int) -> None:
    """setns(2), once threads that the test has joined are gone from the kernel too.

    Until then they share our file system context, and EINVAL is the answer.
    """
    deadline = time.monotonic() + _LEAVE_SECONDS
    while True:
        try:
            return _call("setns", namespace, 0)
        except OSError as error:
            if error.errno != errno.EINVAL or time.monotonic() > deadline:
                raise
        os.sched_yield()


@contextmanager
def private_kernel() -> Iterator[Kernel]:
    """Moves this thread into namespaces of its own, and back."""
    here = os.getcwd()
    saved = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")]
    _call("unshare", _CLONE_NEWNS | _CLONE_NEWNET)
    try:
        _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        _call("mount", b"bpf", b"/sys/fs/bpf", b"bpf", 0, None)
        yield Kernel(Path("/sys/fs/bpf"))
    finally:
        for fd in saved:
            _return_to(fd)
            os.close(fd)
        os.chdir(here)


@dataclass(frozen=True)
class Result:
    """Outcome of one PROG_TEST_RUN.  duration: ns per run."""

    verdict: int
    data: bytes
    duration: int


def test_run(program: int, data: bytes, *, ifindex: int = 0, repeat: int = 1) -> Result:
    """Runs a tc program on a frame as if received by `ifindex`.  Raises OSError."""
    out = ffi.new("char[]", 1 << 16)
    context = ffi.new("uint32_t[]", 48)  # struct __sk_buff; its 11th word is ifindex
    context[10] = ifindex
    source = ffi.from_buffer(data)
    run: Any = ffi.new("struct ovn_test_run *")
    run.prog_fd, run.repeat = program, repeat
    run.data_in, run.data_in_len = source, len(data)
    run.data_out, run.data_out_len = out, 1 << 16
    run.ctx, run.ctx_len = context, 4 * 48
    error = lib.ovn_test_run(run)
    if error < 0:
        raise OSError(-error, os.strerror(-error))
    return Result(run.retval, bytes(ffi.buffer(out, run.data_out_len)), run.duration)


test_run.__test__ = False  # type: ignore[attr-defined]
