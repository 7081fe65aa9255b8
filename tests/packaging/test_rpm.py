# SPDX-License-Identifier: Apache-2.0
"""The RPM: built here, and what rpm itself says of files, dependencies and scripts.

No Fedora root can be had here, so it is installed with --nodeps into an empty one, and
its Python is run from there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package() -> Path:
    subprocess.run(["make", "-s", "rpm"], cwd=REPO, check=True)
    [found] = (REPO / "dist").glob("ovn-bpf-controller-*.rpm")
    return found


def ask(package: Path, *query: str) -> list[str]:
    done = subprocess.run(
        ["rpm", "-qp", *query, str(package)], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_it_has_what_a_host_needs(package: Path) -> None:
    files = set(ask(package, "--list"))
    assert files >= {
        *("/usr/bin/ovn-bpf-controller", "/usr/bin/ovn-bpf-ctl", "/usr/bin/ovn-bpf-trace"),
        *("/usr/bin/ovn-controller", "/usr/lib/systemd/system/ovn-bpf-controller.service"),
        "/usr/lib/systemd/system/ovn-controller.service",
        "/usr/share/bash-completion/completions/ovn-bpf-ctl",
    }
    assert sum(name.endswith("/ovn_bpf_controller/bpf/ovn.o") for name in files) == 1
    assert sum("_native.abi3.so" in name for name in files) == 1
    assert sum(name.endswith("/sos/report/plugins/ovn_bpf_controller.py") for name in files) == 1
    assert sum("/man8/ovn-bpf-" in name for name in files) == 4
    assert ask(package, "--configfiles") == ["/etc/sysconfig/ovn-bpf-controller"]
    assert not [name for name in files if "/tests/" in name or name.endswith((".bpf.c", ".h"))]


def test_it_depends_on_what_it_imports_and_takes_ovn_hosts_place(package: Path) -> None:
    needed = {line.split()[0] for line in ask(package, "--requires")}
    assert needed >= {
        *("libbpf", "openvswitch", "ovn", "python3-cffi", "python3-openvswitch"),
        *("python3-prometheus_client", "python3-pyroute2"),
    }
    assert not [name for name in needed if "clang" in name or name == "gcc"]
    assert ask(package, "--conflicts") == ["ovn-host"]
    assert "ovn-host" in ask(package, "--provides")


def test_removal_cleans_up_and_an_upgrade_does_not(package: Path) -> None:
    text = "\n".join(ask(package, "--scripts"))
    before, after = text.split("postuninstall scriptlet")
    before = before.split("preuninstall scriptlet")[1]
    assert "if [ $1 -eq 0 ]" in before
    assert "ovn-appctl --timeout=20 -t ovn-controller exit" in before
    assert "ovn-bpf-ctl cleanup" in before
    assert "try-restart ovn-bpf-controller.service" in after
    for script in (before, after):
        body = "\n".join(line for line in script.splitlines() if "scriptlet" not in line)
        body = body.removeprefix(" (using /bin/sh):")
        subprocess.run(["sh", "-n"], input=body, text=True, check=True)


def test_what_it_installs_runs(package: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    subprocess.run(
        ["rpm", "--root", str(root), "--nodeps", "--noscripts", "-i", str(package)], check=True
    )
    [place] = root.glob("usr/lib*/python3*/site-packages")
    for script in ("ovn-bpf-controller", "ovn-bpf-ctl", "ovn-bpf-trace"):
        done = subprocess.run(
            ["/usr/bin/python3", root / "usr/bin" / script, "--help"],
            env={"PYTHONPATH": str(place), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert script in done.stdout
    assert (root / "usr/bin/ovn-controller").readlink() == Path("ovn-bpf-controller")
