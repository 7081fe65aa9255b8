# SPDX-License-Identifier: Apache-2.0
"""Debian's cloud kernels, as packaged: downloaded, unpacked, never installed.

Debian 12 offers two long-term series, 6.1 and 6.12.  The cache keeps the first
release of a series that it saw, so that runs on one machine agree; removing the
cache gets the newest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import cache

# Series -> Debian's package that depends on the newest kernel of it.
SERIES = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}

# What the initramfs loads to reach the root file system; the rest is there.
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")

GUEST = Path(__file__).parent / "guest"


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel.  series: a key of SERIES; release: what uname -r says."""

    series: str
    tree: Path

    @property
    def release(self) -> str:
        return next((self.tree / "lib/modules").iterdir()).name

    @property
    def image(self) -> Path:
        return self.tree / "boot" / f"vmlinuz-{self.release}"

    @property
    def initramfs(self) -> Path:
        return self.tree / "initramfs"

    @property
    def modules(self) -> Path:
        return self.tree / "lib/modules" / self.release


def get(series: str) -> Kernel:
    """The kernel of a series, downloaded when the cache has none."""
    recipe = "".join(p.read_text() for p in (Path(__file__), GUEST / "initramfs"))

    def make(tree: Path) -> None:
        # An old list names releases that the archive no longer has.
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        _download(_newest(SERIES[series]), tree)
        kernel = Kernel(series, tree)
        subprocess.run(["depmod", "-b", str(tree), kernel.release], check=True)
        _make_initramfs(kernel)

    return Kernel(series, cache.entry(f"kernel-{series}-{cache.digest(recipe)}", make))


def _newest(package: str) -> str:
    said = subprocess.run(
        ["apt-cache", "depends", package], check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    for line in said.splitlines():
        if "Depends: linux-image-" in line:
            return line.split()[-1]
    raise LookupError(f"{package} is not among apt's packages")


def _download(package: str, tree: Path) -> None:
    # As root apt drops privileges when it can write, and warns when not.
    subprocess.run(
        ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package],
        cwd=tree,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    deb = next(tree.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tree)], check=True)
    deb.unlink()


def modules(kernel: Kernel, names: Iterable[str]) -> list[Path]:
    """The files of kernel modules and of what they depend on, in the order to load them."""
    found: dict[Path, None] = {}
    for module in names:
        said = subprocess.run(
            ["modprobe", "-d", str(kernel.tree), "-S", kernel.release, "--show-depends", module],
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        ).stdout
        for line in said.splitlines():
            word = line.split()
            if word[0] == "insmod":
                found[Path(word[1])] = None
    return list(found)


def _make_initramfs(kernel: Kernel) -> None:
    root = kernel.tree / "initramfs.d"
    for name in ("bin", "dev", "proc", "sys", "newroot", "mod"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    shutil.copy(GUEST / "initramfs", root / "init")
    (root / "init").chmod(0o755)
    order = []
    for module in modules(kernel, BOOT_MODULES):
        target = root / "mod" / module.name.removesuffix(".xz")
        with target.open("wb") as out:
            tool = ["xz", "-dc"] if module.suffix == ".xz" else ["cat"]
            subprocess.run([*tool, str(module)], check=True, stdout=out)
        order.append(target.name)
    (root / "mod/order").write_text("\n".join(order) + "\n")
    names = "\n".join(sorted(str(p.relative_to(root)) for p in root.rglob("*")))
    with kernel.initramfs.open("wb") as out:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc"],
            cwd=root,
            input=names.encode(),
            stdout=out,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    shutil.rmtree(root)
