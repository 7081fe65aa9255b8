# SPDX-License-Identifier: Apache-2.0
"""The tests' own servers: nothing of them outlives a test that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.ovsdb import OvnCentral, wait_until


def exists(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_servers_die_with_the_killed_test(tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from tests.support.ovsdb import OvnCentral
with OvnCentral(Path(sys.argv[1])) as central:
    print(central.nb.pid, central.sb.pid, central.northd.pid, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3 and all(map(exists, pids))
        parent.kill()
        parent.wait(20)
        wait_until(lambda: not any(map(exists, pids)), "the servers to die")


def test_servers_end_with_their_context(tmp_path: Path) -> None:
    with OvnCentral(tmp_path) as central:
        daemons = [central.nb, central.sb, central.northd]
        pids = [daemon.pid for daemon in daemons]
        central.nb.pause()
    assert not any(exists(pid) for pid in pids)
    assert not [daemon for daemon in daemons if daemon.alive()]
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".ctl")]
