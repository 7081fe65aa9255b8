# SPDX-License-Identifier: Apache-2.0
"""The sandbox leaves nothing behind, however its maker ends.

Mostly with the real agent, whose start does not depend on what is under test elsewhere;
a bpffs is there all the same.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import bed, manifest, netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.cli import main
from ovn_bpf_controller.sandbox.layout import Layout, layout_of
from ovn_bpf_controller.sandbox.topology import parse

PROGRAM, NEITHER = "ovn-bpf-sandbox", "neither a plugged port nor a chassis"
TOOL = ("ovn-appctl", "-t", "ovn-controller")
TEXT = """
chassis: {hv1: {agent: ovn-controller}, hv2: {agent: ovn-controller}}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports: {vm1: {switch: sw0, chassis: hv1}, vm2: {switch: sw0, chassis: hv2}}
"""


@pytest.fixture
def layout() -> Iterator[Layout]:
    """A directory for one sandbox, which the test must leave as clean as it found it."""
    chosen = layout_of(f"/run/obs-test-{os.getpid():07}")  # none begins like another
    yield chosen
    try:
        assert leftovers(chosen) == []
    finally:
        if chosen.manifest.exists():
            manifest.cleanup(chosen)


def leftovers(layout: Layout) -> list[str]:
    """What there still is of a sandbox."""
    names = [name for name in os.listdir("/run/netns") if f"-{layout.tag}-" in name]
    found = [f"netns {name}" for name in names]
    found += [f"process {pid}" for pid in netns.pids(names)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if f" {layout.root}/" in line]
    found += [f"file {layout.root}"] if layout.root.exists() else []
    for directory in ("/run", "/run/lock", "/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
        named = (name for name in os.listdir(directory) if layout.root.name in name)
        found += [f"file {directory}/{name}" for name in named if name != layout.root.name]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(layout.root) in command and process.alive(int(entry.name)):
                found.append(f"process {command}")
    return found


def cli(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One run of ovn-bpf-sandbox."""
    return subprocess.run(
        command(layout, *arguments), capture_output=True, text=True, check=False, timeout=300
    )


def command(layout: Layout, *arguments: str) -> list[str]:
    module = "ovn_bpf_controller.sandbox.cli"
    return [sys.executable, "-m", module, "--dir", str(layout.root), *arguments]


@pytest.mark.parametrize("number", [None, signal.SIGKILL])
def test_agents_of_this_project_leave_nothing(
    layout: Layout, number: signal.Signals | None
) -> None:
    """Neither pins nor files, whether they end with the sandbox or before it."""
    with Sandbox(parse(TEXT.replace("agent: ovn-controller", "")), layout.root) as bed:
        assert bed.unanswered([("vm1", "vm2")], (4,)) == []
        for chassis in bed.chassis.values() if number else ():
            chassis.stop_agent(number or signal.SIGTERM)
    assert leftovers(layout) == []


def test_what_starts_while_it_is_taken_down_goes_too(layout: Layout) -> None:
    """As an agent may start its slow path between the look for processes and the kill."""
    many = 'while :; do sh -c "sleep 1000; :" $0 & done'
    with Sandbox(parse("chassis: {hv1: {agent: ovn-controller}}"), layout.root) as made:
        maker = subprocess.Popen(made.chassis["hv1"].argv("sh", "-c", many, str(layout.root)))
        process.wait_until(lambda: "sleep 1000" in str(leftovers(layout)), 60, "child")
    maker.wait(60)
    assert leftovers(layout) == []


def test_down_leaves_nothing(layout: Layout) -> None:
    with Sandbox(parse(TEXT), layout.root) as bed:
        assert bed.unanswered([("vm1", "vm2"), ("vm2", "vm1")], (4,)) == []
        assert leftovers(layout) != []
    assert leftovers(layout) == []


def test_up_returns_and_later_commands_find_it(layout: Layout, tmp_path: Path) -> None:
    file = tmp_path / "topology.yaml"
    file.write_text(TEXT)
    up = cli(layout, "up", str(file))
    assert (up.returncode, up.stderr) == (0, "")
    assert "Port_Binding vm2" in up.stdout
    assert cli(layout, "up", str(file)).returncode == 1
    assert cli(layout, "exec", "vm1", "ping", "-c1", "-w30", "10.0.0.3").returncode == 0
    assert cli(layout, "exec", "vm1", "sh", "-c", "exit 7").returncode == 7
    for place in ("hv1", "vm1"):  # tools talk to that chassis
        assert "vm1\n" in cli(layout, "exec", place, "ovs-vsctl", "list-ports", "br-int").stdout
        assert "connected" in cli(layout, "exec", place, *TOOL, "connection-status").stdout
    nowhere = cli(layout, "exec", "hv9", "true")
    assert (nowhere.returncode, nowhere.stderr) == (1, f"{PROGRAM}: hv9: {NEITHER}\n")
    assert cli(layout, "unplug", "vm2").returncode == 0
    assert cli(layout, "exec", "vm2", "true").returncode == 1
    assert cli(layout, "plug", "vm2", "--chassis", "hv1").returncode == 0
    assert cli(layout, "exec", "vm1", "ping", "-c1", "-w30", "10.0.0.3").returncode == 0
    status = cli(layout, "status").stdout
    assert "hv1" in status and "connected" in status
    assert [line.split()[1:3] for line in status.splitlines() if line.startswith("vm2")] == [
        ["hv1", "yes"]
    ]
    assert cli(layout, "down").returncode == 0
    assert leftovers(layout) == []
    assert cli(layout, "down").returncode == 0
    after = cli(layout, "status")
    assert (after.returncode, after.stderr.count("\n")) == (1, 1)


def test_env_makes_the_tools_talk_to_it(layout: Layout) -> None:
    with Sandbox(parse(TEXT), layout.root):
        script = (
            'eval "$(%s)"; ovn-nbctl ls-list; ovn-sbctl show; ovn-appctl -t hv2 connection-status;'
            "ovn-appctl -t ovn-northd status;"
            "ovn-trace sw0 'inport == \"vm1\" && eth.src == 0a:00:00:00:00:01'"
        )
        done = subprocess.run(
            ["sh", "-ec", script % " ".join(command(layout, "env"))],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        for expected in ("(sw0)", "Port_Binding vm1", "connected", "Status: active", "ingress(dp"):
            assert expected in done.stdout
        local = 'eval "$(%s)"; ovs-vsctl list-ports br-int; ovn-appctl -t ovn-controller version'
        done = subprocess.run(
            ["sh", "-ec", local % " ".join(command(layout, "env", "hv1"))],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "vm1" in done.stdout and "ovn-controller 2" in done.stdout


# It waits in a tool, which is to go with it: ovs-vsctl would go on waiting for the switch.
MAKER = """
import sys
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
with Sandbox(parse(sys.stdin.read()), sys.argv[1]) as bed:
    print("up", flush=True)
    sys.stdin.close()
    bed.chassis["hv1"].freeze_vswitchd()
    bed.chassis["hv1"].vsctl("--timeout=1000", "add-port", "br-int", "never")
"""


@pytest.fixture
def maker(layout: Layout) -> Iterator[subprocess.Popen[str]]:
    """A process that has made a sandbox and sits in its `with` block."""
    child = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(layout.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(TEXT)
    child.stdin.close()
    assert child.stdout.readline() == "up\n"
    child.stdout.close()
    yield child
    child.kill()
    child.wait()


def await_tool(layout: Layout) -> None:
    """Return once the maker waits for ovs-vsctl."""

    def waits() -> bool:
        return any("\0never\0" in line for line in leftovers(layout))

    process.wait_until(waits, 60, "ovs-vsctl")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_death_of_its_maker_takes_it_down(
    layout: Layout, maker: subprocess.Popen[str], number: signal.Signals
) -> None:
    await_tool(layout)
    maker.send_signal(number)
    maker.wait(60)
    process.wait_until(lambda: leftovers(layout) == [], 60, "clean machine")


def test_down_after_maker_and_janitor_were_killed_together(
    layout: Layout, maker: subprocess.Popen[str]
) -> None:
    janitors = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and is_janitor(entry, layout)
    ]
    assert len(janitors) == 1
    await_tool(layout)
    for pid in (janitors[0], maker.pid):
        os.kill(pid, signal.SIGKILL)
    maker.wait(60)
    assert leftovers(layout) != []
    assert cli(layout, "down").returncode == 0
    assert leftovers(layout) == []


def is_janitor(entry: Path, layout: Layout) -> bool:
    try:
        return (entry / "cmdline").read_bytes().endswith(f"janitor\0{layout.root}\0".encode())
    except OSError:
        return False


def test_a_failing_up_leaves_nothing(layout: Layout) -> None:
    broken = TEXT + "nbctl: ['no-such-command']\n"
    with pytest.raises(SandboxError, match="no-such-command"):
        Sandbox(parse(broken), layout.root).up()
    assert leftovers(layout) == []


def test_a_chassis_that_does_not_register_is_named_and_its_log_shown(
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bed, "REGISTER_SECONDS", 3)
    file = tmp_path / "topology.yaml"
    file.write_text("chassis: {hv1: {external_ids: {ovn-encap-type: ''}}}")
    assert main(["--dir", str(layout.root), "up", str(file)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{PROGRAM}: hv1 is not in Southbound after 3 s\n")
    assert "Need to specify an encap type and ip" in told


def test_a_directory_with_something_else_in_it_is_left_alone() -> None:
    with tempfile.TemporaryDirectory(prefix="obs-", dir="/run") as directory:
        precious = Path(directory) / "precious"
        precious.touch()
        with pytest.raises(SandboxError, match="not empty and not a sandbox"):
            Sandbox(parse(TEXT), directory).up()
        with pytest.raises(SandboxError, match="not a sandbox, leaving it alone"):
            manifest.cleanup(layout_of(directory))
        assert precious.exists()


def test_two_sandboxes_at_once_do_not_meet(layout: Layout) -> None:
    with Sandbox(parse(TEXT), layout.root) as one, Sandbox(parse(TEXT)) as other:
        pairs = [("vm1", "vm2"), ("vm2", "vm1")]
        assert one.unanswered(pairs, (4,)) == other.unanswered(pairs, (4,)) == []
        one.unplug("vm2")
        assert other.unanswered(pairs, (4,)) == []
