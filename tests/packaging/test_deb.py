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

from tests.packaging import container
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
        booted.run(
            *("ovs-vsctl", "set", "open", ".", "external-ids:system-id=hv1"),
            "external-ids:ovn-remote=unix:/var/run/ovn/ovnsb_db.sock",
            *("external-ids:ovn-encap-type=geneve", "external-ids:ovn-encap-ip=127.0.0.1"),
            # This machine's kernel has no module for vswitchd's other kind.
            "external-ids:ovn-bridge-datapath-type=netdev",
        )
        booted.run("ovn-nbctl", "ls-add", "sw0")
        for number in (1, 2):
            plug(booted, number)
        settle(booted)
        yield booted


def settle(host: Container) -> None:
    """Until both ports are bound and the data plane has what Northbound says."""
    for name in ("vm1", "vm2"):
        host.run("ovn-nbctl", "--timeout=60", "wait-until", "logical_switch_port", name, "up=true")
    host.run("ovn-nbctl", "--timeout=60", "--wait=hv", "sync")


def plug(host: Container, number: int) -> None:
    """A guest in a network namespace, as a hypervisor would plug it."""
    name, mac, address = f"vm{number}", f"0a:00:00:00:00:0{number}", f"10.0.0.{number}"
    host.run("ovn-nbctl", "lsp-add", "sw0", name)
    host.run("ovn-nbctl", "lsp-set-addresses", name, f"{mac} {address}")
    host.run("ip", "netns", "add", name)
    host.run(*f"ip link add tap{number} type veth peer name eth0 netns {name}".split())
    host.run(*f"ip link set tap{number} up".split())
    host.run(*f"ip -n {name} link set eth0 address {mac} up".split())
    host.run(*f"ip -n {name} addr add {address}/24 dev eth0".split())
    host.run("ovs-vsctl", "--timeout=30", "add-port", "br-int", f"tap{number}", *("--", "set"),
             "interface", f"tap{number}", f"external-ids:iface-id={name}")  # fmt: skip


def pings(host: Container, count: int = 1, interval: float = 0.2) -> int:
    """How many of `count` echo requests from one guest to the other are lost."""
    out = host.call(
        *("ip", "netns", "exec", "vm1", "ping", "-q", "-n", "-W", "1"),
        *("-c", str(count), "-i", str(interval), "10.0.0.2"),
    ).stdout
    found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
    assert found, out
    return int(found[1]) - int(found[2])


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
    assert pings(host) == 0


def test_a_restart_loses_no_packet(host: Container) -> None:
    assert pings(host) == 0
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
    assert pings(host, 5) == 0
    assert "Chassis hv1" in host.run("ovn-sbctl", "show")
    host.run("systemctl", "start", UNIT)
    host.run("sh", "-c", "kill -9 $(cat /run/ovn/ovn-controller.pid)")
    assert pings(host, 5) == 0
    host.wait(lambda: state(host) == "active", "systemd to start the agent again")


def test_ovn_ctl_reaches_the_agent(host: Container) -> None:
    host.run("systemctl", "stop", UNIT)
    host.run(CTL, "start_controller", "--ovn-manage-ovsdb=no")
    assert "ovn-controller is running with pid" in host.run(CTL, "status_controller")
    host.run(CTL, "restart_controller", "--ovn-manage-ovsdb=no")
    assert pings(host) == 0
    host.run(CTL, "stop_controller")
    assert host.call(CTL, "status_controller").returncode != 0
    assert "Chassis hv1" not in host.run("ovn-sbctl", "show")
    host.run("systemctl", "start", UNIT)
    settle(host)
    assert pings(host) == 0


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


def test_a_purge_leaves_nothing(host: Container) -> None:
    host.run("apt-get", "purge", "-y", "-qq", "ovn-bpf-controller")
    assert pings(host) == 1
    assert host.run("find", "/sys/fs/bpf", "-name", "ovn*") == ""
    assert host.run("find", "/usr/lib/python3", "-path", "*ovn_bpf*") == ""
    assert host.run("find", "/etc", "/lib/systemd", "-name", "*ovn-bpf*") == ""
    assert "ovn-controller" not in host.run("ps", "-e", "-o", "comm")
    assert "Chassis hv1" not in host.run("ovn-sbctl", "show")
