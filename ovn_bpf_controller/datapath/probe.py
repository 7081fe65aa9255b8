# SPDX-License-Identifier: Apache-2.0
"""What the kernel must have, asked before anything is loaded.

Called once by the loader.  Each answer that ends the process is a StartupError
that names the missing thing, since the verifier's own words would not.
"""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath import libbpf
from ovn_bpf_controller.errors import StartupError

BPFFS: Final = Path("/sys/fs/bpf")
_BPFFS_MAGIC: Final = 0xCAFE4A11
_NO_DEVICE: Final = 0x7FFFFFFF
_DECAP_FLAGS_SINCE: Final = (6, 3)  # BPF_F_ADJ_ROOM_DECAP_L3_*


class _Statfs(ctypes.Structure):
    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 512))


def is_bpffs(path: Path) -> bool:
    """True if `path` lies in a mounted bpf file system."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = _Statfs()
    if libc.statfs(os.fsencode(path), ctypes.byref(found)) != 0:
        return False
    return int(found.f_type) & 0xFFFFFFFF == _BPFFS_MAGIC


def require_bpffs(path: Path) -> None:
    """Raises StartupError unless maps can be pinned under `path`."""
    if not is_bpffs(path):
        raise StartupError(f"{path} is no bpf file system (mount -t bpf bpf {path})")
    if not os.access(path, os.W_OK):
        raise StartupError(f"{path} cannot be written: run as root")


def require_kernel() -> None:
    """Raises StartupError unless the kernel can run the program at all."""
    found = libbpf.probe_helper(libbpf.BPF_LOOP)
    if found in (-errno.EPERM, -errno.EACCES):
        raise StartupError("not allowed to load BPF programs: CAP_BPF and CAP_NET_ADMIN needed")
    if found <= 0:
        raise StartupError(
            f"kernel {os.uname().release} lacks the BPF helper bpf_loop (5.17): 6.1 or later needed"
        )


def has_tcx(program: int) -> bool:
    """True if programs attach by tcx links (6.6): asked with a device that is none."""
    result: int = lib.ovn_tcx_attach(program, _NO_DEVICE, 0)
    return result == -errno.ENODEV


def has_decap_flags() -> bool:
    """True if bpf_skb_adjust_room knows BPF_F_ADJ_ROOM_DECAP_L3_* (6.3)."""
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return tuple(int("".join(filter(str.isdigit, n)) or 0) for n in numbers) >= _DECAP_FLAGS_SINCE
