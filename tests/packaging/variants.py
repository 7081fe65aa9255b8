# SPDX-License-Identifier: Apache-2.0
"""Other builds of this tree: what an upgrade brings, made from the tracked files.

A change of the object alone is another build, a change of the maps' layout is one whose
maps cannot be shared.  Debian's Python builds them, as for the package.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

REPO: Final = Path(__file__).parents[2]
_PATH: Final = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def copy(to: Path) -> Path:
    """The tracked files of this tree, uncommitted changes included."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0")[:-1]:
        if (REPO / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, to / name)
    return to


def _replace(file: Path, pattern: str, by: str) -> None:
    text = file.read_text()
    changed = re.sub(pattern, by, text, count=1)
    assert changed != text, f"{file}: nothing like {pattern}"
    file.write_text(changed)


def other_build(tree: Path) -> Path:
    """Makes a copied tree's program another one, with the same maps."""
    _replace(tree / "csrc" / "ovn.bpf.c", r'"Dual BSD/GPL"', '"GPL v2"')
    return tree


def other_layout(tree: Path) -> Path:
    """Makes its maps other ones."""
    _replace(tree / "include/ovn_bpf/tables.h", r"(OVN_LAYOUT_VERSION) \d+", r"\1 1000")
    return tree


def newer_version(tree: Path) -> Path:
    """Makes its package a newer one."""
    _replace(tree / "ovn_bpf_controller/__init__.py", r'"\d+\.\d+\.\d+"', '"9.9.9"')
    _replace(tree / "packaging/deb/changelog", r"\(\d+\.\d+\.\d+\)", "(9.9.9)")
    return tree


def build(tree: Path) -> Path:
    """Builds in place; returns the tree, which can then be Python's path."""
    subprocess.run(
        ["/usr/bin/python3", "-W", "ignore", "setup.py", "-q", "build_ext", "--inplace"],
        cwd=tree,
        env=_PATH,
        check=True,
        capture_output=True,
    )
    return tree


def package(tree: Path) -> Path:
    """Builds the Debian package of a tree, which becomes a repository for that."""
    for command in (("git", "init", "-q"), ("git", "add", "-A"), ("make", "-s", "deb")):
        subprocess.run(command, cwd=tree, check=True, capture_output=True)
    [found] = (tree / "dist").glob("ovn-bpf-controller_*.deb")
    return found
