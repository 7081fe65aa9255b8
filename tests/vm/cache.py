# SPDX-License-Identifier: Apache-2.0
"""Where kernels and root images are kept between runs.

They take minutes to make and do not depend on the work tree, so they live
outside it: $OVN_BPF_VM_CACHE, or ovn-bpf-vm in the user's cache directory.
Every entry is named by what it is made of, and is complete or absent.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT_DAYS = 14


def directory() -> Path:
    """The cache, made when missing."""
    named = os.environ.get("OVN_BPF_VM_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(named) if named else Path(home) / "ovn-bpf-vm"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def _locked() -> Iterator[Path]:
    root = directory()
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root


def digest(*parts: str) -> str:
    """Short name for something made of these."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def entry(name: str, make: Callable[[Path], None]) -> Path:
    """The cached directory `name`; make() fills a new one when it is absent.

    A second caller waits for the first; what make() leaves behind when it
    raises is removed, now or by the next caller.  What an entry has replaced goes
    once nobody has asked for it for KEPT_DAYS.
    """
    with _locked() as root:
        path, part = root / name, root / f"{name}.part"
        if path.is_dir():
            os.utime(path)
            return path
        if part.exists():
            shutil.rmtree(part)
        part.mkdir()
        try:
            make(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(path)
        os.utime(path)
        _forget(root, name.rpartition("-")[0])
        return path


def _forget(root: Path, family: str) -> None:
    for path in root.glob(f"{family}-*"):
        if time.time() - path.stat().st_mtime > KEPT_DAYS * 86400:
            shutil.rmtree(path)
