# SPDX-License-Identifier: Apache-2.0
"""The Debian package on a Debian 12 host under systemd, beside OVN's own packages.

Two chassis: the container, whose agent systemd runs, and one in a network namespace.
Long: it builds the package, and a root with systemd the first time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import container, guests, second
from tests.packaging.container import Container

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

REPO = Path(__file__).parents[2]
UNIT = "ovn-controller.service"
DROP_IN = "/run/systemd/system/ovn-bpf-controller.service.d"
LOG = "/var/log/ovn/ovn-controller.log"
CTL = "/usr/share/ovn/scripts/ovn-ctl"
PINGS = 5000
MANUALS = ("controller", "ctl", "trace", "sandbox")
# What the guests, the bridge and the tests themselves put on the host.
THEIRS = re.compile(
    r"/root/|/var/lib/(libuuid|logrotate)/|/run/openvswitch/br-int\.|"
    r"(link|namespace) (tap|vm\d|br-int|ovs-)"
)


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


def told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_it_has_what_a_host_needs(package: Path) -> None:
    lines = told("dpkg-deb", "--contents", str(package)).splitlines()
    files = {line.split()[5].removeprefix(".") for line in lines}
    assert files >= {
        *("/usr/bin/ovn-controller", "/lib/systemd/system/ovn-controller.service"),
        *("/usr/bin/ovn-bpf-controller", "/lib/systemd/system/ovn-bpf-controller.service"),
        *("/usr/bin/ovn-bpf-ctl", "/usr/bin/ovn-bpf-trace", "/usr/bin/ovn-bpf-sandbox"),
        *(f"/usr/share/man/man8/ovn-bpf-{name}.8.gz" for name in MANUALS),
        "/usr/share/bash-completion/completions/ovn-bpf-ctl",
        "/usr/lib/python3/dist-packages/sos/report/plugins/ovn_bpf_controller.py",
    }
    assert sum(name.endswith("/ovn_bpf_controller/bpf/ovn.o") for name in files) == 1
    assert sum("/ovn_bpf_controller/_native." in name and ".so" in name for name in files) == 1
    assert not [name for name in files if "/tests/" in name or name.endswith((".bpf.c", ".h"))]
    conffiles = told("dpkg-deb", "--info", str(package), "conffiles").split()
    assert conffiles == ["/etc/default/ovn-bpf-controller"]


def test_its_commands_import_what_they_run(package: Path) -> None:
    """setuptools' scripts would read the metadata of what is installed at each start."""
    tar = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True
    ).stdout
    for name in ("controller", "ctl", "trace", "sandbox"):
        script = subprocess.run(
            ["tar", "-xO", f"./usr/bin/ovn-bpf-{name}"], input=tar, check=True, capture_output=True
        ).stdout.decode()
        first, *rest = script.splitlines()
        assert first == "#!/usr/bin/python3"
        assert [line.split()[0] for line in rest] == ["import", "from", "sys.exit(main())"]


def test_it_depends_on_what_it_imports(package: Path) -> None:
    wanted = told("dpkg-deb", "--field", str(package), "Depends")
    names = {item.split()[0] for item in wanted.split(",")}
    assert names >= {
        *("libbpf1", "ovn-common", "python3", "python3-cffi-backend", "python3-openvswitch"),
        *("python3-prometheus-client", "python3-pyroute2"),
    }
    assert not [name for name in names if "clang" in name or "gcc" in name or "orjson" in name]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A host of OVN's own packages, and the wire to a second."""
    with container.host(tmp_path_factory.mktemp("host")) as booted:
        second.underlay(booted)
        yield booted


@pytest.fixture(scope="module")
def before(bare: Container) -> set[str]:
    return contents(bare)


def contents(host: Container) -> set[str]:
    """Files, units, pins and links of the host, but for what apt and dpkg keep of their work."""
    ours = "/run/lock /run/ovn /run/openvswitch /sys/fs/bpf /var/log/ovn /var/lib/dpkg/info"
    left_out = "/proc /sys /run /tmp /var/cache /var/lib/apt /var/lib/dpkg /var/log"
    prune = " -o ".join(f"-path {name}" for name in left_out.split())
    found = host.run("find", "/", "-xdev", "(", *prune.split(), ")", "-prune", "-o", "-print")
    found += host.run("find", *ours.split())
    links = host.run("ip", "-o", "link").splitlines()
    spaces = host.run("ip", "netns").splitlines()
    units = host.run(*"systemctl list-units --all --plain --no-legend ov*".split()).splitlines()
    return {
        *found.splitlines(),
        *(f"link {line.split()[1]}" for line in links),
        *(f"namespace {line.split()[0]}" for line in spaces),
        *(f"unit {line.split()[0]}" for line in units),
    }


@pytest.fixture(scope="module")
def host(bare: Container, before: set[str], package: Path) -> Container:
    """The package is installed: two guests are here, and one on another chassis."""
    assert before
    shutil.copy(package, bare.tree / "root" / "agent.deb")
    bare.run("apt-get", "install", "-y", "-qq", "/root/agent.deb")
    guests.configure(bare, encap=second.FIRST)
    for number in (1, 2):
        guests.plug(bare, number)
    second.start(bare)
    guests.settle(bare)
    return bare


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
    for name in ("ovn-controller", "ovn-host", "ovn-bpf-controller"):
        host.run("systemctl", "is-enabled", name)
        host.run("systemctl", "enable", name)


def test_two_chassis_talk(host: Container) -> None:
    assert "Chassis hv2" in host.run("ovn-sbctl", "show")
    assert guests.pings(host, 5, to=second.ADDRESS) == 0


def agent(host: Container) -> str:
    """Its pid; "" while there is none."""
    return host.call("cat", "/run/ovn/ovn-controller.pid").stdout.strip()


def flood(host: Container, address: str, interval: float = 0.001) -> subprocess.Popen[str]:
    """A guest that pings every `interval` seconds, PINGS times."""
    return host.spawn(
        *("ip", "netns", "exec", "vm1", "ping", "-q", "-n", "-W", "1", "-w", "300"),
        *("-c", str(PINGS), "-i", str(interval), address),
    )


def test_a_restart_loses_no_packet(host: Container) -> None:
    old = agent(host)
    with flood(host, "10.0.0.2") as near, flood(host, second.ADDRESS) as far:
        host.run("systemctl", "restart", UNIT)
        told = [ping.communicate(timeout=400)[0] for ping in (near, far)]
    assert agent(host) != old
    for out in told:
        assert f"{PINGS} packets transmitted, {PINGS} received" in out


def test_a_stopped_or_killed_service_leaves_the_traffic(host: Container) -> None:
    host.run("systemctl", "stop", UNIT)
    assert guests.pings(host, 5) == 0
    assert "Chassis hv1" in host.run("ovn-sbctl", "show")
    host.run("systemctl", "start", UNIT)
    host.run("sh", "-c", "kill -9 $(cat /run/ovn/ovn-controller.pid)")
    assert guests.pings(host, 5) == 0
    host.wait(lambda: state(host) == "active", "systemd to start the agent again")


def test_a_hung_agent_is_started_anew_and_the_traffic_goes_on(host: Container) -> None:
    # The unit's own two minutes are too long to wait for.
    text = "[Service]\nWatchdogSec=8\nTimeoutAbortSec=1\n"
    host.run("mkdir", "-p", DROP_IN)
    (host.tree / "root" / "watchdog.conf").write_text(text)
    host.run("cp", "/root/watchdog.conf", DROP_IN)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", UNIT)
    hung = agent(host)
    with flood(host, second.ADDRESS, 0.004) as ping:
        host.run("kill", "-STOP", hung)
        host.wait(lambda: agent(host) not in ("", hung), "another agent", 200)
        host.wait(lambda: state(host) == "active", "it to be ready", 200)
        out, _ = ping.communicate(timeout=400)
    assert f"{PINGS} packets transmitted, {PINGS} received" in out
    assert "Failed with result 'watchdog'" in host.run(
        "journalctl", "--no-pager", "-u", "ovn-bpf-*"
    )
    host.run("rm", "-r", DROP_IN)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", UNIT)


def test_exit_takes_the_chassis_away_and_ends_the_unit(host: Container) -> None:
    host.run("ovn-appctl", "-t", "ovn-controller", "exit")
    host.wait(lambda: state(host) == "inactive", "the unit to end")
    assert "Chassis hv1" not in host.run("ovn-sbctl", "show")
    assert host.run("find", "/sys/fs/bpf", "-name", "ovn*") == ""
    assert guests.pings(host) == 1
    host.run("systemctl", "start", UNIT)
    guests.settle(host)
    assert guests.pings(host) == 0


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


def test_reload_and_logrotate_open_the_log_anew(host: Container) -> None:
    kept = agent(host)
    for command in (
        ("sh", "-c", f"mv {LOG} {LOG}.old && systemctl reload {UNIT}"),
        ("logrotate", "-f", "/etc/logrotate.d/ovn-common"),
    ):
        host.run(*command)
        host.wait(lambda: "opened log file" in host.run("cat", LOG), "a new log")
    assert agent(host) == kept


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


def test_a_purge_leaves_nothing(host: Container, before: set[str]) -> None:
    second.stop(host)
    assert "Chassis hv2" not in host.run("ovn-sbctl", "show")
    host.run("apt-get", "purge", "-y", "-qq", "ovn-bpf-controller")
    assert guests.pings(host) == 1
    assert host.run("find", "/usr/lib/python3", "-path", "*ovn_bpf*") == ""
    assert "ovn-controller" not in host.run("ps", "-e", "-o", "comm")
    assert "Chassis hv1" not in host.run("ovn-sbctl", "show")
    assert [name for name in contents(host) - before if not THEIRS.match(name)] == []
    for name in (LOG, "/run/ovn/ovn-controller.pid"):  # ovn-host's, and then ours
        assert host.call("test", "-e", name).returncode == 1, name


def test_ovn_host_takes_its_place_again(host: Container) -> None:
    host.run("sh", "-c", "apt-get install -y -qq /root/ovn-host_*.deb")
    host.wait(lambda: state(host) == "active", "the other agent")
    guests.settle(host)
    host.wait(lambda: guests.pings(host) == 0, "Open vSwitch to forward", 60)
    assert host.run("readlink", f"/proc/{agent(host)}/exe").strip() == "/usr/bin/ovn-controller"
