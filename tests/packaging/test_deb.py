# SPDX-License-Identifier: Apache-2.0
"""The Debian package on a Debian 12 host under systemd, beside OVN's own packages.

Long: it builds the package, and a root with systemd the first time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import container, guests
from tests.packaging.container import Container

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

REPO = Path(__file__).parents[2]
UNIT = "ovn-controller.service"
CTL = "/usr/share/ovn/scripts/ovn-ctl"
PINGS = 5000


@pytest.fixture(scope="module")
def package() -> Path:
    subprocess.run(["make", "-s", "deb"], cwd=REPO, check=True)
    [found] = (REPO / "dist").glob("ovn-bpf-controller_*.deb")
    return found


def test_lintian_finds_no_error(package: Path) -> None:
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def host(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A host with a Southbound database, the package, and two guests on it."""
    with container.host(tmp_path_factory.mktemp("host")) as booted:
        shutil.copy(package, booted.tree / "root" / "agent.deb")
        booted.run("apt-get", "install", "-y", "-qq", "/root/agent.deb")
        guests.configure(booted)
        for number in (1, 2):
            guests.plug(booted, number)
        guests.settle(booted)
        yield booted


def state(host: Container) -> str:
    return host.call("systemctl", "is-active", UNIT).stdout.strip()


def test_the_package_takes_the_place_of_ovn_host(host: Container) -> None:
    host.wait(lambda: state(host) == "active", "the agent to be ready")
    assert "installed" not in host.run("dpkg-query", "-W", "-f=${db:Status-Status}", "ovn-host")
    comm = host.run("sh", "-c", "cat /proc/$(cat /run/ovn/ovn-controller.pid)/comm")
    assert comm == "ovn-controller\n"
    assert "ovn-controller" in host.run("ovn-bpf-ctl", "version")
    assert host.run("ovn-appctl", "-t", "ovn-controller", "connection-status") == "connected\n"
    assert "Chassis hv1" in host.run("ovn-sbctl", "show")
    assert guests.pings(host) == 0


def test_a_restart_loses_no_packet(host: Container) -> None:
    assert guests.pings(host) == 0
    before = host.run("cat", "/run/ovn/ovn-controller.pid")
    with host.spawn(
        *("ip", "netns", "exec", "vm1", "ping", "-q", "-n", "-W", "1", "-w", "60"),
        *("-c", str(PINGS), "-i", "0.001", "10.0.0.2"),
    ) as ping:
        host.run("systemctl", "restart", UNIT)
        out, _ = ping.communicate(timeout=120)
    assert host.run("cat", "/run/ovn/ovn-controller.pid") != before
    assert f"{PINGS} packets transmitted, {PINGS} received" in out


def test_a_stopped_or_killed_service_leaves_the_traffic(host: Container) -> None:
    host.run("systemctl", "stop", UNIT)
    assert guests.pings(host, 5) == 0
    assert "Chassis hv1" in host.run("ovn-sbctl", "show")
    host.run("systemctl", "start", UNIT)
    host.run("sh", "-c", "kill -9 $(cat /run/ovn/ovn-controller.pid)")
    assert guests.pings(host, 5) == 0
    host.wait(lambda: state(host) == "active", "systemd to start the agent again")


def test_ovn_ctl_reaches_the_agent(host: Container) -> None:
    host.run("systemctl", "stop", UNIT)
    host.run(CTL, "start_controller", "--ovn-manage-ovsdb=no")
    assert "ovn-controller is running with pid" in host.run(CTL, "status_controller")
    host.run(CTL, "restart_controller", "--ovn-manage-ovsdb=no")
    assert guests.pings(host) == 0
    host.run(CTL, "stop_controller")
    assert host.call(CTL, "status_controller").returncode != 0
    assert "Chassis hv1" not in host.run("ovn-sbctl", "show")
    host.run("systemctl", "start", UNIT)
    guests.settle(host)
    assert guests.pings(host) == 0


def test_the_unit_is_hardened(host: Container) -> None:
    out = host.run("systemd-analyze", "security", "--no-pager", "ovn-bpf-controller")
    found = re.search(r"Overall exposure level.*: ([\d.]+) (\w+)", out)
    assert found and float(found[1]) < 5.0, out[-200:]


def test_a_healthy_service_logs_no_warning(host: Container) -> None:
    log = host.run("cat", "/var/log/ovn/ovn-controller.log").splitlines()
    ours = next(i for i, line in enumerate(log) if "vlog|INFO|opened log file" in line and i)
    log = log[ours:]  # before it was ovn-host's
    loud = [line for line in log if re.search(r"\|(WARN|ERR|EMER)\|", line)]
    # What the tests above did to it: it was told to end, and says so as OVS does.
    assert [line for line in loud if "terminating with signal" not in line] == []


def test_systemctl_start_returns_when_packets_obey_the_databases(host: Container) -> None:
    host.run("systemctl", "stop", UNIT)
    acl = ("sw0", "to-lport", "1000", "icmp4")
    host.run("ovn-nbctl", "--wait=sb", "acl-add", *acl, "drop")
    assert guests.pings(host) == 0
    host.run("systemctl", "start", UNIT)
    assert guests.pings(host) == 1
    host.run("ovn-nbctl", "--wait=hv", "acl-del", "sw0")
    shown = host.run("systemctl", "show", "-p", "StatusText", UNIT)
    assert shown == "StatusText=Running\n"


def test_sos_collects_what_the_agent_says(host: Container) -> None:
    host.run("sos", "report", "--batch", "--tmp-dir", "/tmp", "-o", "ovn_bpf_controller",
             timeout=300)  # fmt: skip
    listed = host.run("sh", "-c", "tar -tf /tmp/sosreport-*.tar.?z")
    assert "ovn-bpf-ctl_--timeout_30_ports" in listed
    assert "var/log/ovn/ovn-controller.log" in listed


def test_a_purge_leaves_nothing(host: Container) -> None:
    host.run("apt-get", "purge", "-y", "-qq", "ovn-bpf-controller")
    assert guests.pings(host) == 1
    assert host.run("find", "/sys/fs/bpf", "-name", "ovn*") == ""
    assert host.run("find", "/usr/lib/python3", "-path", "*ovn_bpf*") == ""
    assert host.run("find", "/etc", "/lib/systemd", "-name", "*ovn-bpf*") == ""
    assert "ovn-controller" not in host.run("ps", "-e", "-o", "comm")
    assert "Chassis hv1" not in host.run("ovn-sbctl", "show")
