# SPDX-License-Identifier: Apache-2.0
"""A pidfile is believed while it is locked: numbers of the dead are given out again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox.process import read_pid

# Locks the file that it is named, writes a pid into it, says so and waits for its input's end.
HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.{call}(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("call", ["lockf", "flock"])
def test_a_locked_pidfile_is_believed_while_its_process_lives(tmp_path: Path, call: str) -> None:
    pidfile = tmp_path / "daemon.pid"
    command = ["python3", "-c", HOLDER.format(call=call), str(pidfile)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as daemon:
        assert daemon.stdout is not None and daemon.stdout.readline() == "held\n"
        assert read_pid(pidfile) == daemon.pid
    assert read_pid(pidfile) is None


def test_a_stale_pidfile_does_not_name_who_has_the_number_now(tmp_path: Path) -> None:
    pidfile = tmp_path / "daemon.pid"
    with subprocess.Popen(["sleep", "600"]) as stranger:
        pidfile.write_text(f"{stranger.pid}\n")
        assert read_pid(pidfile) is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "soon\n"])
def test_a_file_without_a_number_names_nobody(tmp_path: Path, text: str) -> None:
    pidfile = tmp_path / "daemon.pid"
    assert read_pid(pidfile) is None
    pidfile.write_text(text)
    assert read_pid(pidfile) is None
