# SPDX-License-Identifier: Apache-2.0
"""A guest with one network card on a tap: Debian's kernel and busybox, in QEMU.

It boots guest/network-init, which asks and pings by itself and tells the console what
came of it.  The tap is in the namespace that QEMU runs in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from ovn_bpf_controller.sandbox import netns

from . import kernels

SERIES = "6.1"
MODULES = ("virtio_pci", "virtio_net")
CMDLINE = "console=ttyS0 panic=-1 mitigations=off quiet loglevel=4 net.ifnames=0"
MEMORY_MB = 256


class NetworkGuest:
    """A running guest; the block's end kills it."""

    def __init__(self, namespace: str, tap: str, mac: str, conf: Mapping[str, str], work: Path):
        """conf: shell variables that guest/network-init reads.  work: for files."""
        kernel = kernels.get(SERIES)
        self._console = work / "console"
        initramfs = work / "initramfs"
        _pack(kernel, conf, work / "root", initramfs)
        card = f"virtio-net-pci,netdev=wire,mac={mac},romfile="
        command = [
            *("qemu-system-x86_64", "-M", "q35,smm=off", "-cpu", "max", "-accel", "tcg"),
            *("-m", str(MEMORY_MB), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-no-reboot", "-kernel", str(kernel.image), "-initrd", str(initramfs)),
            *("-append", CMDLINE, "-serial", f"file:{self._console}"),
            *("-netdev", f"tap,id=wire,ifname={tap},script=no,downscript=no"),
            *("-device", card),
        ]
        with (work / "qemu").open("wb") as log:
            self._process = subprocess.Popen(
                netns.argv(namespace, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def __enter__(self) -> NetworkGuest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def console(self) -> str:
        """What the guest has said so far."""
        if not self._console.exists():
            return ""
        return self._console.read_text(errors="replace").replace("\r", "")

    def told(self, seconds: float) -> dict[str, str]:
        """What it says of itself, once it has ended; fails with its console."""
        deadline = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        lines = [line[6:] for line in self.console.splitlines() if line.startswith("GUEST ")]
        told = dict(line.split("=", 1) for line in lines)
        assert told.get("done") == "1" and "failed" not in told, self.console[-4000:]
        return told


def make_tap(namespace: str, name: str, mtu: int) -> None:
    """A tap that QEMU can open, with the header by which guests leave work to it."""
    netns.run(["ip", "-n", namespace, "tuntap", "add", name, "mode", "tap", "vnet_hdr"])
    netns.ip(namespace, f"link set {name} mtu {mtu} up")


def _pack(kernel: kernels.Kernel, conf: Mapping[str, str], root: Path, target: Path) -> None:
    for name in ("bin", "mod"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for source, name in (("network-init", "init"), ("network-lease", "lease")):
        shutil.copy(kernels.GUEST / source, root / name)
        (root / name).chmod(0o755)
    (root / "guest.conf").write_text("".join(f"{name}={value}\n" for name, value in conf.items()))
    modules = kernels.modules(kernel, MODULES)
    for module in modules:
        shutil.copy(module, root / "mod" / module.name)
    (root / "mod/order").write_text("".join(f"{module.name}\n" for module in modules))
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    with target.open("wb") as out:
        subprocess.run(
            ["cpio", "--quiet", "-o", "-H", "newc"],
            cwd=root,
            input=names.encode(),
            stdout=out,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
