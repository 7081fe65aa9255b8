# SPDX-License-Identifier: Apache-2.0
"""Runs a job in a fresh guest and says what came of it.

A job is a directory with an executable `run`, which finds the work tree's package,
built, and its tests beside it, and may leave files in out/.  QEMU interprets (TCG):
a stock kernel does not boot under nested hardware virtualisation everywhere.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import image, kernels

ROOT = Path(__file__).resolve().parents[2]
# What a job finds in its directory besides its own files.
CARRIED = ("ovn_bpf_controller", "tests", "pyproject.toml")

CPUS = 2
MEMORY_MB = 2048
OUT_MB = 16

CMDLINE = (
    "console=ttyS0 panic=-1 mitigations=off nokaslr loglevel=4 quiet tsc=reliable no_timer_check"
)

_FAST = ("-accel", "tcg,thread=multi,tb-size=512", "-smp", str(CPUS))
_COUNTING = (
    *("-accel", "tcg,tb-size=512", "-smp", "1", "-icount", "shift=0,sleep=off", "-seed", "1"),
    *("-rtc", "base=2030-01-01T00:00:00,clock=vm"),
)

# A kernel that says one of these has found a fault, ours or its own.
COMPLAINT = re.compile(
    r"WARNING: |BUG: |Oops|kernel BUG|general protection|rcu: INFO|hung task|"
    r"refcount_t|UBSAN|KASAN|verifier bug|unregister_netdevice: waiting"
)


@dataclass(frozen=True)
class Outcome:
    """What a guest did.

    rc: exit status of `run`, or None when the guest ended without one.
    output: of `run`, both streams.  console: of the kernel.  out: files of out/
    by name.
    """

    rc: int | None
    output: str
    console: str
    out: dict[str, bytes]

    @property
    def complaints(self) -> list[str]:
        return [line for line in self.console.splitlines() if COMPLAINT.search(line)]

    def check(self) -> Outcome:
        """Returns itself; fails the test unless the job and the kernel are content."""
        told = f"{self.output}\n--- console ---\n{self.console[-4000:]}"
        assert self.rc == 0, f"the job ended with {self.rc}:\n{told}"
        assert not self.complaints, f"the kernel complained: {self.complaints}\n{told}"
        return self


def run(series: str, job: Path, timeout: float = 300, *, counting: bool = False) -> Outcome:
    """Boots the kernel of `series`, runs the job there, powers off.

    timeout: seconds of wall clock for all of it; the guest is killed then and
    the outcome has no rc.  counting: the guest has one CPU, whose clock is the number
    of its instructions, 1 ns each.
    """
    kernel = kernels.get(series)
    disk = image.get(kernels.get(s) for s in kernels.SERIES)
    with tempfile.TemporaryDirectory(prefix="ovn-bpf-vm-") as name:
        work = Path(name)
        _pack(job, work / "job.tar")
        with (work / "out.tar").open("wb") as out:
            out.truncate(OUT_MB << 20)
        _qemu(kernel, disk, work, timeout, _COUNTING if counting else _FAST)
        return _outcome(work)


def _pack(job: Path, target: Path) -> None:
    def built_or_written(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if "__pycache__" in info.name else info

    with tarfile.open(target, "w") as tar:
        tar.add(job, ".", filter=built_or_written)
        for path in CARRIED:
            tar.add(ROOT / path, path, filter=built_or_written)
    with target.open("ab") as tail:  # a disk is whole sectors, with room to spare
        tail.truncate((target.stat().st_size + (1 << 20)) & ~0xFFFFF)


def _drive(path: Path, more: str = "") -> list[str]:
    name = path.name.replace(".", "-")
    return [
        *("-drive", f"file={path},format=raw,if=none,id={name}{more}"),
        *("-device", f"virtio-blk-pci,drive={name}"),
    ]


def _qemu(
    kernel: kernels.Kernel, disk: Path, work: Path, timeout: float, cpu: tuple[str, ...]
) -> None:
    command = [
        *("qemu-system-x86_64", "-M", "q35,smm=off", "-cpu", "max"),
        *(*cpu, "-m", str(MEMORY_MB)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(kernel.image), "-initrd", str(kernel.initramfs), "-append", CMDLINE),
        *_drive(disk, ",snapshot=on"),
        *_drive(work / "job.tar", ",readonly=on"),
        *_drive(work / "out.tar"),
        *("-serial", f"file:{work / 'console'}", "-serial", f"file:{work / 'output'}"),
    ]
    with (work / "qemu").open("wb") as log:
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            log.write(f"\nthe guest was still running after {timeout} s\n".encode())


def _read(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""


def _outcome(work: Path) -> Outcome:
    output, rc = _read(work / "output"), None
    ended = re.search(r"\nVMRC=(\d+)\n\Z", output)
    if ended:
        output, rc = output[: ended.start()], int(ended.group(1))
    files = {}
    if ended:
        with tarfile.open(work / "out.tar") as tar:
            for info in tar:
                stream = tar.extractfile(info)
                if stream:
                    files[info.name.removeprefix("out/")] = stream.read()
    return Outcome(rc, output, _read(work / "console") + _read(work / "qemu"), files)
