# SPDX-License-Identifier: Apache-2.0
"""The control socket, asked by the real ovn-appctl, by ovn-ctl's functions and by ovn-bpf-ctl."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import DEADLINE, FAKE, Bed
from tests.support.ovsdb import wait_until

OVN_LIB = "/usr/share/ovn/scripts/ovn-lib"
OVS_LIB = "/usr/share/openvswitch/scripts/ovs-lib"


def ctl(bed: Bed, *args: str) -> subprocess.CompletedProcess[str]:
    return bed.run(sys.executable, "-m", "ovn_bpf_controller.cli.ctl", *args)


def test_version_lets_ovn_lib_stop_us_gracefully(bed: Bed) -> None:
    # Detached, so that init reaps it: ovn-lib waits until the pid is gone.
    assert bed.run(*bed.fake("--detach", "--pidfile")).returncode == 0
    pid = bed.pid()
    first, second = bed.appctl("version").stdout.splitlines()
    assert first.split() == ["ovn-controller", "23.03.1"]
    assert second.startswith("Open vSwitch Library ")
    script = f". {OVS_LIB}; . {OVN_LIB}; stop_ovn_daemon ovn-controller"
    result = bed.run("sh", "-c", f"ovn_rundir={bed.dir}; {script}")
    # "Exiting" first: the version was read as one that knows `exit`.  On a busy
    # machine ovn-lib's two seconds may pass before we are gone, and it goes on.
    assert result.stdout.splitlines()[0] == f"Exiting ovn-controller ({pid})."
    assert result.returncode == 0
    assert (bed.dir / "stopped").read_text() == "restart=False"


def test_ovn_ctl_sees_the_daemon_running(bed: Bed) -> None:
    process = bed.up()
    status = bed.run("/usr/share/ovn/scripts/ovn-ctl", "status_controller")
    assert status.stdout == f"ovn-controller is running with pid {process.pid}\n"
    assert status.returncode == 0
    running = f"rundir={bed.dir}; . {OVS_LIB}; rundir={bed.dir}; daemon_is_running ovn-controller"
    assert bed.run("sh", "-c", running).returncode == 0


def test_unknown_and_misused_commands_are_answered_as_by_ovn_controller(bed: Bed) -> None:
    bed.up()
    ask = [
        ["nope"],
        ["exit", "a", "b"],
        ["vlog/set", "bogus"],
        ["vlog/disable-rate-limit", "bogus"],
    ]
    said = [bed.appctl(*command) for command in ask]
    assert {result.returncode for result in said} == {2}
    assert [result.stderr.splitlines()[0] for result in said] == [
        '"nope" is not a valid command (use "list-commands" to see a list of valid commands)',
        '"exit" command takes at most 1 arguments',
        'no destination, level, or module "bogus"',
        "unknown module",
    ]


def test_list_commands_has_every_command_of_this_release(bed: Bed) -> None:
    bed.up()
    lines = bed.appctl("list-commands").stdout.splitlines()
    assert lines[0] == "The available commands are:"
    assert lines[1:] == sorted(lines[1:])
    assert "  vlog/reopen             " in lines
    assert {line.split()[0] for line in lines[1:]} >= {
        *("exit", "version", "connection-status", "list-commands", "ct-zone-list"),
        *("debug/pause", "debug/resume", "debug/status"),
        *("vlog/set", "vlog/list", "vlog/list-pattern", "vlog/close", "vlog/reopen"),
        *("vlog/enable-rate-limit", "vlog/disable-rate-limit"),
    }


def test_pause_stops_the_agent_and_resume_lets_it_go_on(bed: Bed) -> None:
    def runs() -> int:
        return int(bed.appctl("fake/runs").stdout)

    bed.up()
    assert bed.appctl("debug/status").stdout == "running\n"
    assert bed.appctl("debug/pause").stdout == ""
    assert bed.appctl("debug/status").stdout == "paused\n"
    before = runs()
    # Each request turns the loop at least once.
    assert [runs() for _ in range(5)] == [before] * 5
    assert bed.appctl("debug/resume").returncode == 0
    wait_until(lambda: runs() > before, "the agent to run")


def test_exit_works_while_paused(bed: Bed) -> None:
    process = bed.up()
    assert bed.appctl("debug/pause").returncode == 0
    assert bed.appctl("exit", "--restart").returncode == 0
    assert process.wait(DEADLINE) == 0


def test_failing_command_costs_only_its_reply(bed: Bed) -> None:
    process = bed.up()
    refused = bed.appctl("fake/refuse", "not today")
    assert (refused.returncode, refused.stderr.splitlines()[0]) == (2, "not today")
    assert bed.appctl("fake/bug").returncode == 2
    assert "ZeroDivisionError" in bed.log.read_text()
    assert bed.appctl("version").returncode == 0
    assert process.poll() is None


@pytest.mark.parametrize(
    "garbage",
    [
        b"nonsense",
        b"[]",
        b'{"method":"version","params":[1],"id":0}',
        b'{"method":"version","params":7,"id":0}',
        b'{"method":["x"],"params":[],"id":0}',
        b'{"id":0,"result":"x","error":null}',
        b"\xff\xfe" * 100,
        b'{"a":' * 5000,
        b"",
    ],
)
def test_garbage_on_the_socket_costs_only_its_connection(bed: Bed, garbage: bytes) -> None:
    process = bed.up()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"{bed.dir}/ovn-controller.{process.pid}.ctl")
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(DEADLINE)
        try:
            while client.recv(4096):
                pass
        except ConnectionResetError:
            pass  # It was closed before all of the garbage was read.
    assert bed.appctl("version").returncode == 0


def test_socket_is_for_owner_and_group_as_ovn_controllers(bed: Bed) -> None:
    process = bed.up()
    mode = Path(bed.dir, f"ovn-controller.{process.pid}.ctl").stat().st_mode
    assert stat.S_IMODE(mode) == 0o750


def test_unixctl_option_moves_the_socket(bed: Bed) -> None:
    bed.start("--pidfile", "-vconsole:off", "-u", "elsewhere.ctl")
    wait_until((bed.dir / "elsewhere.ctl").exists, "the socket")
    asked = bed.run("ovn-appctl", "-t", str(bed.dir / "elsewhere.ctl"), "debug/status")
    assert asked.stdout == "running\n"


def test_idle_daemon_sleeps_while_a_client_of_exit_is_gone(bed: Bed) -> None:
    """A client that hung up must not make the loop spin until the clean-up ends."""
    process = bed.up()
    (bed.dir / "busy").touch()
    client = subprocess.Popen(["ovn-appctl", "-t", "ovn-controller", "exit"], env=bed.env)
    wait_until(lambda: (bed.dir / "stopping").exists(), "the clean-up to begin")
    client.kill()
    client.wait(DEADLINE)

    def ticks() -> int:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def switches() -> int:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    start, slept = ticks(), switches()
    # Fifty naps of 20 ms are a second; a spinning loop would have used all of it.
    wait_until(lambda: switches() >= slept + 50, "fifty naps")
    assert ticks() - start < 50
    (bed.dir / "busy").unlink()
    assert process.wait(DEADLINE) == 0


def test_more_than_1024_descriptors_are_no_trouble(bed: Bed) -> None:
    bed.env["FAKE_DESCRIPTORS"] = "1100"
    process = bed.up()
    assert len(list(Path(f"/proc/{process.pid}/fd").iterdir())) > 1100
    assert bed.appctl("debug/status").stdout == "running\n"


def test_ovn_bpf_ctl_asks_the_running_agent(bed: Bed) -> None:
    bed.up()
    assert ctl(bed, "flows").stdout == "[]\n"
    assert ctl(bed, "flows", "sw0").stdout == "['sw0']\n"
    assert ctl(bed, "flows", "--json", "sw0").stdout == "['--json', 'sw0']\n"
    assert ctl(bed, "flows", "--unsupported").stdout == "2 put_dhcp_opts\n"
    assert ctl(bed, "status").stdout == "runs: 1\n"
    assert json.loads(ctl(bed, "status", "--json").stdout) == {"runs": 1}
    assert ctl(bed, "version").stdout == bed.appctl("version").stdout
    assert json.loads(ctl(bed, "version", "--json").stdout)["ovn-controller"] == "23.03.1"


def test_ovn_bpf_ctl_takes_a_socket_path(bed: Bed) -> None:
    process = bed.up()
    path = f"{bed.dir}/ovn-controller.{process.pid}.ctl"
    bed.env["OVN_RUNDIR"] = "/nonexistent"
    assert ctl(bed, "-t", path, "status").stdout == "runs: 1\n"


def test_ovn_bpf_ctl_says_when_there_is_nobody_or_a_refusal(bed: Bed) -> None:
    nobody = ctl(bed, "status")
    assert nobody.returncode == 1
    assert "is ovn-bpf-controller running?" in nobody.stderr
    assert len(nobody.stderr.splitlines()) == 1
    bed.up()
    refused = ctl(bed, "drops")
    assert refused.returncode == 2
    assert refused.stderr.startswith('ovn-bpf-ctl: "ovn-bpf/drops" is not a valid command')


def test_ovn_bpf_ctl_gives_up_in_time(bed: Bed) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(bed.dir / "silent.ctl"))
        silent.listen()
        assert ctl(bed, "-T", "1", "-t", str(bed.dir / "silent.ctl"), "status").returncode == -14


def test_ovn_ctl_starts_restarts_and_stops_us_in_ovn_controllers_place(bed: Bed) -> None:
    """An executable of that name on the PATH is all that ovn-ctl asks for."""
    binary = bed.dir / "bin" / "ovn-controller"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {bed.python} {FAKE} "$@"\n')
    binary.chmod(0o755)
    bed.env["PATH"] = f"{binary.parent}:{bed.env['PATH']}"
    ovn_ctl = ["/usr/share/ovn/scripts/ovn-ctl", "--ovn-manage-ovsdb=no"]

    def seen(path: str) -> str:
        file = bed.dir / path
        return file.read_text() if file.exists() else ""

    started = bed.run(*ovn_ctl, "start_controller")
    assert started.returncode == 0, started
    first = bed.pid()
    assert f"ovs_remote='unix:{bed.dir}/db.sock'" in seen("options")
    again = bed.run(*ovn_ctl, "start_controller")
    assert f"already running as pid {first}, aborting" in again.stderr
    restarted = bed.run(*ovn_ctl, "restart_controller")
    assert restarted.returncode == 0, restarted
    assert bed.pid() != first
    assert seen("stopped") == "restart=True"
    stopped = bed.run(*ovn_ctl, "stop_controller")
    assert "Exiting ovn-controller" in stopped.stdout
    assert seen("stopped") == "restart=False"
    assert not bed.pidfile.exists()
    log = bed.log.read_text()
    # OVN's system tests fail on a daemon that warns; only the refused start may shout.
    assert log.count("|EMER|") == 1 and "|WARN|" not in log and "|ERR|" not in log


def test_run_directory_may_be_longer_than_a_socket_address(bed: Bed) -> None:
    deep = bed.dir / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    bed.env["OVN_RUNDIR"] = str(deep)
    process = bed.start("--pidfile", "-vconsole:off")
    wait_until(lambda: bed.appctl("version").returncode == 0, "the control socket")
    assert ctl(bed, "status").stdout == "runs: 1\n"
    assert bed.appctl("exit").returncode == 0
    assert process.wait(DEADLINE) == 0
    assert not list(deep.iterdir())
