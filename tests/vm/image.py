# SPDX-License-Identifier: Apache-2.0
"""The guest's root disk: Debian 12 with OVS, OVN, what we need to run and to test.

One ext4 image for all kernels, as their modules are kept apart by release.  The
agent's Python dependencies are Debian's, the oldest that we support.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from . import cache, kernels

SUITE = "bookworm"

PACKAGES = (
    *("openvswitch-switch", "ovn-central", "ovn-host"),
    *("python3", "python3-cffi-backend", "python3-openvswitch", "python3-pyroute2", "python3-yaml"),
    *("libbpf1", "bpftool", "kmod", "procps"),
    *("iproute2", "iputils-ping", "iperf3", "tcpdump", "ethtool", "netbase"),
)

# Of pyproject's extra `dev`: tests run in a guest as they do on the host, but what
# they test runs with Debian's libraries.
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis", "scapy")

SIZE = "2500M"

ROOT = Path(__file__).resolve().parents[2]

GUEST = Path(__file__).parent / "guest"


def get(kernels_: Iterable[kernels.Kernel]) -> Path:
    """The root disk with the modules of these kernels, made when missing."""
    wanted = sorted(kernels_, key=lambda k: k.release)
    root = cache.entry(f"root-{cache.digest(SUITE, *PACKAGES, *_test_tools())}", _make_root)
    init = GUEST / "vm-init"
    name = cache.digest(root.name, init.read_text(), *(k.tree.name + k.release for k in wanted))

    def make(part: Path) -> None:
        tree = part / "tree"
        subprocess.run(["cp", "-a", str(root / "tree"), str(tree)], check=True)
        for kernel in wanted:
            shutil.copytree(kernel.modules, tree / "lib/modules" / kernel.release, symlinks=True)
        shutil.copy(init, tree / "vm-init")
        (tree / "vm-init").chmod(0o755)
        subprocess.run(
            [
                *("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal"),
                *("-d", str(tree), str(part / "root.ext4"), SIZE),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(tree)

    return cache.entry(f"image-{name}", make) / "root.ext4"


def _test_tools() -> list[str]:
    """Requirements of TEST_TOOLS."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[<>=]", text)[0]: text for text in project["optional-dependencies"]["dev"]}
    return [named[tool] for tool in TEST_TOOLS]


def _make_root(part: Path) -> None:
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--mode=root"),
            '--aptopt=APT::Install-Recommends "false"',
            f"--include={','.join(PACKAGES)}",
            *(SUITE, str(part / "tree")),
        ],
        check=True,
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"),
            *("--root-user-action=ignore", "--python-version=3.11", "--only-binary=:all:"),
            f"--target={part / 'tree/usr/local/lib/python3.11/dist-packages'}",
            *_test_tools(),
        ],
        check=True,
    )
    shutil.rmtree(part / "tree/var/cache/apt", ignore_errors=True)
    shutil.rmtree(part / "tree/var/lib/apt/lists", ignore_errors=True)
