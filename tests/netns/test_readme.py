# SPDX-License-Identifier: Apache-2.0
"""Every command of the README's "Using it" does what it says, one after the other."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support.beds import OURS

KINDS = OURS[:1]
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""
REPO = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
EXPECTED = {
    "ovn-appctl -t ovn-controller connection-status": "connected\n",
    "ovn-bpf-ctl flows --unsupported": "",
    "ovn-bpf-ctl check": "0 differences\n",
    "ovn-bpf-ctl ports": "vm1",
    "ovn-bpf-ctl status": "generation:",
    "ovn-bpf-trace": 'output to "vm2"',
}


def commands() -> list[str]:
    text = (REPO / "README.md").read_text().split("## Using it\n")[1].split("\n##")[0]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    return [shlex.join(shlex.split(line, comments=True)) for line in lines]


def run(bed: Sandbox, command: str, directory: Path, sandbox: str) -> str:
    """Inside of hv1, but what makes another sandbox, which is to be below `sandbox`."""
    argv = shlex.split(command)
    if not command.startswith("ovn-bpf-sandbox"):
        argv = bed.chassis["hv1"].argv(*argv)
    env = {**os.environ, **bed.environment("hv1"), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    env["OVN_BPF_SANDBOX_DIR"] = sandbox
    done = subprocess.run(
        argv, env=env, cwd=directory, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_every_command_works(bed: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(REPO / "examples")
    bed.chassis["hv1"].stop_agent(signal.SIGTERM)  # the first command starts another
    todo = commands()
    assert len(todo) > 14
    with TemporaryDirectory(dir="/run") as short:
        each_of(bed, todo, tmp_path, f"{short}/s")
    assert (tmp_path / "vm1.pcapng").stat().st_size > 0


def each_of(bed: Sandbox, todo: list[str], directory: Path, sandbox: str) -> None:
    for command in todo:
        out = run(bed, command, directory, sandbox)
        if command.startswith("ovn-bpf-controller"):
            bed.sync()
        for begin, text in EXPECTED.items():
            if command.startswith(begin):
                assert text in out
                assert text or not out
