# SPDX-License-Identifier: Apache-2.0
"""The daemon with the real agent: its start without what it needs, and its ends.

Each run has a network and mount namespace of its own, with a private bpffs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Bed
from tests.support.ovsdb import SB_SCHEMA, LocalServer, OvsdbServer, wait_until

CONTROLLER = [sys.executable, "-m", "ovn_bpf_controller"]
BPFFS = "mount -t bpf bpf /sys/fs/bpf && ip link set lo up"


class RealBed(Bed):
    """A Bed whose daemon is the real one, in namespaces of its own."""

    before = BPFFS

    def fake(self, *args: str) -> list[str]:
        script = f'{self.before}; exec "$@"'
        return ["unshare", "-n", "-m", "sh", "-c", script, "sh", *CONTROLLER, *args]

    def detach(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run(*self.fake("--detach", "--pidfile", "-vconsole:off", "--log-file", *args))

    def warnings(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line for line in lines if line.split("|")[3] in ("WARN", "ERR", "EMER")]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[RealBed]:
    bed = RealBed(tmp_path)
    yield bed
    bed.close()


def test_without_bpffs_it_says_so_in_one_line(bed: RealBed) -> None:
    bed.before = "umount /sys/fs/bpf 2>/dev/null"
    result = bed.detach()
    assert result.returncode == 1
    assert result.stderr == (
        "ovn-bpf-controller: /sys/fs/bpf is no bpf file system (mount -t bpf bpf /sys/fs/bpf)\n"
    )
    assert not bed.pidfile.exists()


def test_without_privileges_it_says_so_in_one_line(bed: RealBed) -> None:
    bed.before = f'{BPFFS}; set -- setpriv --bounding-set=-all --inh-caps=-all "$@"'
    result = bed.detach()
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "Operation not permitted" in result.stderr


def test_without_a_database_it_starts_answers_and_ends(bed: RealBed) -> None:
    assert bed.detach().returncode == 0
    assert bed.appctl("connection-status").stdout == "not connected\n"
    assert bed.appctl("ct-zone-list").stdout == ""
    # With no Southbound ever there is nothing to clean up, and nothing to wait for.
    assert bed.appctl("exit").returncode == 0
    wait_until(lambda: not bed.pidfile.exists(), "the end")
    assert not bed.warnings()


def test_database_that_comes_later_is_used(bed: RealBed) -> None:
    assert bed.detach().returncode == 0
    with LocalServer(bed.dir, name="db") as server:
        assert server.remote == f"unix:{bed.dir}/db.sock"
        wait_until(lambda: "br-int" in bed.run("ovs-vsctl", "list-br").stdout, "br-int")
        assert bed.appctl("exit", "--restart").returncode == 0
    assert not bed.warnings()


def test_server_of_another_database_costs_no_traceback(bed: RealBed) -> None:
    with OvsdbServer(bed.dir, SB_SCHEMA, name="db") as server:
        assert bed.detach(server.remote).returncode == 0
        wait_until(lambda: "|WARN|" in bed.log.read_text(), "a word about it")
        assert bed.appctl("connection-status").stdout == "not connected\n"
        assert bed.appctl("exit").returncode == 0
    wait_until(lambda: not bed.pidfile.exists(), "the end")
    assert "Traceback" not in bed.log.read_text()


def test_idle_agent_takes_no_cpu(bed: RealBed) -> None:
    with LocalServer(bed.dir, name="db"):
        assert bed.detach().returncode == 0
        wait_until(lambda: "br-int" in bed.run("ovs-vsctl", "list-br").stdout, "br-int")
        stat = Path(f"/proc/{bed.pid()}/stat")

        def ticks() -> int:
            fields = stat.read_text().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        start = ticks()
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(["tail", f"--pid={bed.pid()}", "-f", "/dev/null"], timeout=3)
        # Clock ticks of 10 ms: under a twentieth of a core.
        assert ticks() - start < 15
        assert bed.appctl("exit").returncode == 0
