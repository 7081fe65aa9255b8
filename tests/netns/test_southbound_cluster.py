# SPDX-License-Identifier: Apache-2.0
"""A clustered Southbound (RAFT, three servers) whose leader dies while ports are claimed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import netns, ping, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.underlay import Addresses
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS[:1]
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""
MEMBERS = (1, 2, 3)
NEW = 12  # ports, half of them on each chassis


class Cluster:
    """Three servers in the underlay's namespace, beginning with the sandbox's contents."""

    def __init__(self, bed: Sandbox, directory: Path) -> None:
        self.bed = bed
        self.directory = directory
        self.host = Addresses.server(bed.topology.underlay)
        self.pids: dict[int, int] = {}
        first = f"tcp:{self.host}:{self._raft(1)}"
        bed.stop_database("sb")
        old = bed.layout.root / "sb.db"
        netns.run(["ovsdb-tool", "create-cluster", str(self._file(1)), str(old), first])
        self.start(1)
        for number in MEMBERS[1:]:
            mine = f"tcp:{self.host}:{self._raft(number)}"
            netns.run(
                ["ovsdb-tool", "join-cluster", str(self._file(number)), "OVN_Southbound"]
                + [mine, first]
            )
            self.start(number)
        self.remote = ",".join(f"tcp:{self.host}:{16700 + number}" for number in MEMBERS)

    @staticmethod
    def _raft(number: int) -> int:
        return 16600 + number

    def _file(self, number: int) -> Path:
        return self.directory / f"s{number}.db"

    def start(self, number: int) -> None:
        control = self.directory / f"s{number}.ctl"
        self.pids[number] = self.bed.spawn(
            "ovsdb-server",
            *(str(self._file(number)), f"--remote=ptcp:{16700 + number}:{self.host}"),
            *(f"--remote=punix:{self.directory}/s{number}.sock", f"--unixctl={control}"),
            *(f"--log-file={self.directory}/s{number}.log", "-vconsole:off"),
        )
        process.wait_until(lambda: "cluster member" in self.status(number), 60, "membership")

    def status(self, number: int) -> str:
        """cluster/status, empty while the server does not answer."""
        command = ("ovs-appctl", "-T", "10", "-t", str(self.directory / f"s{number}.ctl"))
        try:
            return self.bed.run_in_underlay(*command, "cluster/status", "OVN_Southbound")
        except SandboxError:
            return ""

    def leader(self) -> int:
        """Waits for one."""
        found: list[int] = []

        def known() -> bool:
            found[:] = [n for n in self.pids if "Role: leader" in self.status(n)]
            return bool(found)

        process.wait_until(known, 60, "a leader")
        return found[0]

    def kill(self, number: int) -> None:
        process.stop(self.pids.pop(number), signal.SIGKILL)

    def stop(self) -> None:
        for pid in self.pids.values():
            process.stop(pid)

    def sbctl(self, *arguments: str) -> str:
        return self.bed.run_in_underlay(
            "ovn-sbctl", "--timeout=60", f"--db={self.remote}", *arguments
        ).strip()


@pytest.fixture
def cluster(bed: Sandbox, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(bed, tmp_path)
    bed.restart_northd(made.remote)
    for chassis in bed.chassis.values():
        remote = f'external_ids:ovn-remote="{made.remote}"'
        chassis.vsctl("set", "Open_vSwitch", ".", remote)
    yield made
    made.stop()


def test_a_leader_dies_while_ports_are_claimed(bed: Sandbox, cluster: Cluster) -> None:
    agents = bed.chassis.values()
    process.wait_until(
        lambda: {agent.appctl("connection-status") for agent in agents} == {"connected"},
        60,
        "connections to the cluster",
    )
    bed.nbctl("--timeout=60", "--wait=hv", "sync")
    names = [f"new{n}" for n in range(NEW)]
    for n, name in enumerate(names):
        bed.nbctl("lsp-add", "sw0", name, "--", "lsp-set-addresses", name,
                  f"0a:00:00:00:01:{n:02x} 10.0.0.{100 + n}")  # fmt: skip
    target = bed.ports["vm2"].ip4
    with ping.Stream(bed.ports["vm1"].netns, target, 0.001) as stream:
        for n, name in enumerate(names):
            bed.plug(name, ("hv1", "hv2")[n % 2], wait=False)
            if n == NEW // 2:
                cluster.kill(cluster.leader())
        cluster.leader()
        for name in names:
            cluster.sbctl("wait-until", "port_binding", name, "up=true")
        stream.wait_sent(500)
    assert stream.lost == 0
    bed.nbctl("--timeout=60", "--wait=hv", "sync")
    rows = cluster.sbctl("--bare", "--columns=logical_port,chassis", "find", "port_binding")
    assert all(rows.count(f"{name}\n") == 1 for name in names[2:])
    for n, name in enumerate(names):
        owner = cluster.sbctl("--bare", "--columns=chassis", "find", "port_binding",
                              f"logical_port={name}")  # fmt: skip
        wanted = cluster.sbctl("--bare", "--columns=_uuid", "find", "chassis",
                               f"name=hv{n % 2 + 1}")  # fmt: skip
        assert owner == wanted
    assert len(cluster.sbctl("--bare", "--columns=_uuid", "find", "chassis").split()) == 2
    process.wait_until(lambda: traffic.answers(bed, names[0], names[1]), 60, "a way between them")
