# SPDX-License-Identifier: Apache-2.0
"""Upgrades under traffic, and agents that die in the middle of them: nothing is lost.

A Debian 12 host under systemd-nspawn; two guests ping each other every millisecond
and talk over a TCP connection that must neither break nor stall.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovn_bpf_controller.process.crash import POINTS, VARIABLE
from tests.packaging import container, guests, variants
from tests.packaging.container import Container

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

UNIT = "ovn-bpf-controller.service"
DROP_IN = f"/run/systemd/system/{UNIT}.d"
PINGS = 5000
Running = subprocess.Popen[str]
# A start of the same layout comes by these, one of another layout by the others.
SAME_LAYOUT = ("link-moved", "device-attached")

SERVER = """
import socket
listener = socket.create_server(("10.0.0.2", 7777))
while True:
    peer, _ = listener.accept()
    while data := peer.recv(4096):
        peer.sendall(data)
"""
CLIENT = """
import socket, sys, time
peer = socket.create_connection(("10.0.0.2", 7777), 5)
peer.settimeout(5)
print("up", flush=True)
rounds, worst, end = 0, 0.0, False
while not end:
    start = time.monotonic()
    peer.sendall(b"x" * 64)
    left = 64
    while left:
        got = len(peer.recv(left))
        assert got, "closed"
        left -= got
    worst = max(worst, time.monotonic() - start)
    rounds += 1
    time.sleep(0.002)
    import select
    end = bool(select.select([sys.stdin], [], [], 0)[0])
print(rounds, round(worst, 3), flush=True)
"""


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Built variants by name."""
    top = tmp_path_factory.mktemp("variants")
    found = {name: variants.copy(top / name) for name in ("base", "build", "layout")}
    variants.other_build(found["build"])
    variants.other_layout(found["layout"])
    return {name: variants.build(tree) for name, tree in found.items()}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, trees: dict[str, Path]) -> Iterator[Container]:
    """Two guests, and the package of this tree."""
    package = variants.package(variants.copy(tmp_path_factory.mktemp("package") / "tree"))
    with container.host(tmp_path_factory.mktemp("host")) as booted:
        shutil.copy(package, booted.tree / "root" / "agent.deb")
        for name, tree in trees.items():
            shutil.copytree(tree, booted.tree / "opt" / name)
        booted.run("apt-get", "install", "-y", "-qq", "/root/agent.deb")
        guests.configure(booted)
        for number in (1, 2):
            guests.plug(booted, number)
        guests.settle(booted)
        for name, text in (("server", SERVER), ("client", CLIENT)):
            (booted.tree / "root" / f"{name}.py").write_text(text)
        assert guests.pings(booted) == 0  # each knows the other's address
        with booted.spawn("ip", "netns", "exec", "vm2", "python3", "/root/server.py") as server:
            yield booted
            server.kill()


class Traffic:
    """What the guests do meanwhile."""

    def __init__(self, host: Container, ping: Running, client: Running) -> None:
        self._host, self._ping, self._client = host, ping, client
        assert client.stdout and client.stdout.readline() == "up\n"

    def end(self) -> None:
        """Nothing was lost, and the connection is the one that it was."""
        self._host.wait(lambda: self._sent() >= PINGS, f"{PINGS} pings", 120)
        self._host.run("sh", "-c", "kill -INT $(cat /run/ping.pid)")
        out, _ = self._ping.communicate(timeout=60)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
        assert found, out
        assert int(found[1]) >= PINGS
        assert found[1] == found[2]
        told, _ = self._client.communicate("end\n", timeout=60)
        rounds, worst = told.split()
        assert self._client.returncode == 0
        assert int(rounds) > 100
        assert float(worst) < 5.0

    def _sent(self) -> int:
        """Packets so far, as ping tells when it is asked."""
        assert self._ping.poll() is None
        self._host.run("sh", "-c", "kill -QUIT $(cat /run/ping.pid)")
        told = re.findall(r"(\d+)/\d+ packets", self._host.run("cat", "/run/ping.err"))
        return int(told[-1]) if told else 0


@contextmanager
def traffic(host: Container) -> Iterator[None]:
    """Pings and a connection for as long as the block lasts, and PINGS at least."""
    enter = ("ip", "netns", "exec", "vm1")
    ping = "ping -q -n -W 1 -i 0.001 -w 300 10.0.0.2"
    # Its standard error has the count so far, when it is asked by SIGQUIT.
    command = f"exec 2>/run/ping.err; echo $$ >/run/ping.pid; exec {ping}"
    with (
        host.spawn(*enter, "sh", "-c", command) as pinging,
        host.spawn(*enter, "python3", "/root/client.py") as client,
    ):
        try:
            running = Traffic(host, pinging, client)
            yield
            running.end()
        finally:
            for process in (pinging, client):
                process.kill()


def pins(host: Container) -> list[str]:
    """Directories of layouts, and of programs."""
    found = host.run("find", "/sys/fs/bpf/ovn-bpf", "-maxdepth", "1", "-mindepth", "1")
    return sorted(found.split())


def build_pins(host: Container) -> list[str]:
    return host.run("find", "/sys/fs/bpf/ovn-bpf", "-name", "programs-*").split()


def run_variant(host: Container, name: str, crash_at: str = "") -> None:
    """The unit runs another tree from its next start on; crash_at: it dies there, once."""
    lines = ["[Service]", f"Environment=PYTHONPATH=/opt/{name}"]
    if crash_at:
        lines += [f"Environment={VARIABLE}={crash_at}", "Restart=no"]
    host.run("mkdir", "-p", DROP_IN)
    host.run("sh", "-c", f"printf '%s\\n' {' '.join(map(repr, lines))} >{DROP_IN}/test.conf")
    host.run("systemctl", "daemon-reload")


def state(host: Container) -> str:
    return host.call("systemctl", "is-active", UNIT).stdout.strip()


def test_an_upgrade_to_another_layout_and_back_loses_nothing(
    host: Container, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = variants.copy(tmp_path_factory.mktemp("newer") / "tree")
    newer = variants.package(variants.newer_version(variants.other_layout(tree)))
    shutil.copy(newer, host.tree / "root" / "newer.deb")
    before = pins(host)
    with traffic(host):
        host.run("apt-get", "install", "-y", "-qq", "/root/newer.deb")
        guests.settle(host)
    assert "9.9.9" in host.run("ovn-bpf-controller", "--version")
    after = pins(host)
    assert len(after) == 1
    assert after != before
    with traffic(host):
        host.run("apt-get", "install", "-y", "-qq", "--allow-downgrades", "/root/agent.deb")
        guests.settle(host)
    assert "9.9.9" not in host.run("ovn-bpf-controller", "--version")
    assert pins(host) == before


@pytest.mark.parametrize("point", POINTS)
def test_an_agent_that_dies_there_leaves_the_traffic(host: Container, point: str) -> None:
    run_variant(host, "base")
    host.run("systemctl", "restart", UNIT)
    guests.settle(host)
    name = "build" if point in SAME_LAYOUT else "layout"
    with traffic(host):
        run_variant(host, name, crash_at=point)
        host.run("systemctl", "stop", UNIT)
        if point == "device-attached":
            guests.plug(host, 3)  # a device that no program runs on yet
        host.run("systemctl", "--no-block", "start", UNIT)
        host.wait(lambda: state(host) == "failed", f"the agent to die at {point}", 60)
        run_variant(host, name)
        host.run("systemctl", "restart", UNIT)
        guests.settle(host)
    assert len(pins(host)) == 1
    assert len(build_pins(host)) == 1
    assert "0 differences" in host.run("ovn-bpf-ctl", "check")
    if point == "device-attached":
        guests.unplug(host, 3)
