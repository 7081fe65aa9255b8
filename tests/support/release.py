# SPDX-License-Identifier: Apache-2.0
"""Which release of OVN's central programs a test runs: the host's, or a newer one.

A newer one is in a root of its own, as the host's Python, kernel and switch stay what
they are: a suite of Debian, by mmdebstrap, kept in the cache of tests.vm.  Its
programs run with its own loader and libraries, without a chroot.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.vm import cache

NEWER = "sid"
PACKAGES = ("ovn-central",)


@dataclass(frozen=True)
class Release:
    """root: of another system; None: the host."""

    root: Path | None = None

    def command(self, name: str) -> list[str]:
        """How to run a program."""
        if self.root is None:
            return [name]
        loader, libraries = self.root / "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"
        program = self.root / "usr/bin" / name
        return [str(loader), "--library-path", str(self.root / libraries), str(program)]

    def schema(self, name: str) -> Path:
        """ovn-nb or ovn-sb: its schema."""
        return (self.root or Path("/")) / f"usr/share/ovn/{name}.ovsschema"

    def version(self) -> str:
        """As ovn-northd says it: "26.03.1"."""
        argv = [*self.command("ovn-northd"), "--version"]
        first = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split("\n")
        return first[0].split()[-1]


HOST = Release()


def newer(suite: str = NEWER) -> Release:
    """The release that a suite of Debian has, the newest one by default; fetched when the
    cache has none."""

    def make(part: Path) -> None:
        _make(part, suite)

    return Release(cache.entry(f"central-{cache.digest(suite, *PACKAGES)}", make) / "tree")


def _make(part: Path, suite: str) -> None:
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"),
            '--aptopt=APT::Install-Recommends "false"',
            # A mirror may be older than unstable's lists are good for.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            f"--include={','.join(PACKAGES)}",
            *(suite, str(part / "tree")),
        ],
        check=True,
    )
