# SPDX-License-Identifier: Apache-2.0
"""Start, detaching, second instances and ends of the daemon, as processes."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.daemon import DEADLINE, Bed
from tests.support.ovsdb import wait_until


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def lock_owner(path: Path) -> int:
    """The pid that F_GETLK reports for path, 0 for none."""
    with path.open("r+") as file:
        query = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("@hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, query))
    return 0 if kind == fcntl.F_UNLCK else pid


def test_detach_returns_only_when_the_agent_is_ready(bed: Bed) -> None:
    hold = bed.dir / "hold"
    hold.touch()
    parent = bed.start("--detach", "--pidfile", "-vconsole:off", "--log-file")
    wait_until(lambda: (bed.dir / "options").exists(), "the agent to be made")
    pid = bed.pid()
    # The control socket answers, and still the parent waits.
    assert bed.appctl("connection-status").stdout == "not connected\n"
    assert parent.poll() is None
    hold.unlink()
    assert parent.wait(DEADLINE) == 0
    assert pid != parent.pid and alive(pid)


def test_detached_daemon_leaves_session_terminal_and_directory(bed: Bed) -> None:
    assert bed.run(*bed.fake("--detach", "--pidfile")).returncode == 0
    pid = bed.pid()
    assert os.getsid(pid) != os.getsid(0)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}


def test_no_chdir_keeps_the_directory(bed: Bed) -> None:
    assert bed.run(*bed.fake("--detach", "--pidfile", "--no-chdir")).returncode == 0
    assert os.readlink(f"/proc/{bed.pid()}/cwd") == str(bed.dir)


def test_comm_is_that_of_ovn_controller(bed: Bed) -> None:
    process = bed.up()
    assert Path(f"/proc/{process.pid}/comm").read_text() == "ovn-controller\n"


def test_pidfile_is_locked_by_the_pid_in_it_and_removed_at_exit(bed: Bed) -> None:
    process = bed.up()
    assert bed.pidfile.read_text() == f"{process.pid}\n"
    assert lock_owner(bed.pidfile) == process.pid
    assert bed.appctl("exit").returncode == 0
    assert process.wait(DEADLINE) == 0
    assert not bed.pidfile.exists()
    assert not list(bed.dir.glob("*.ctl")) and not list(bed.dir.glob("*.tmp*"))


@pytest.mark.parametrize("extra", [[], ["--detach"], ["--monitor", "--detach"]])
def test_second_instance_is_refused_as_by_ovn_controller(bed: Bed, extra: list[str]) -> None:
    process = bed.up()
    ours = bed.run(*bed.fake("--pidfile", "-vconsole:off", "--log-file=second.log", *extra))
    real = bed.run("ovn-controller", "--pidfile", "-vconsole:off", *extra)
    text = f"{bed.pidfile}: already running as pid {process.pid}, aborting\n"
    assert (real.returncode, real.stderr) == (1, f"ovn-controller: {text}")
    assert (ours.returncode, ours.stderr) == (1, f"fake_daemon.py: {text}")
    assert f"|EMER|{text}" in (bed.dir / "second.log").read_text()
    assert lock_owner(bed.pidfile) == process.pid


def test_the_real_ovn_controller_and_ours_refuse_each_other(bed: Bed) -> None:
    remote = f"unix:{bed.dir}/none.sock"
    command = ["ovn-controller", "--pidfile", "-vconsole:off", remote]
    real = subprocess.Popen(command, env=bed.env, cwd=bed.dir)
    try:
        wait_until(bed.pidfile.exists, "the pidfile")
        ours = bed.run(*bed.fake("--pidfile", "-vconsole:off"))
        assert ours.returncode == 1
        assert f"already running as pid {real.pid}, aborting" in ours.stderr
    finally:
        real.terminate()
        real.wait(DEADLINE)


def test_overwrite_pidfile_starts_a_second_instance(bed: Bed) -> None:
    first = bed.up()
    second = bed.start("--pidfile", "--overwrite-pidfile", "-vconsole:off")
    wait_until(lambda: bed.pidfile.read_text() == f"{second.pid}\n", "the new pid")
    assert lock_owner(bed.pidfile) == second.pid
    first.terminate()
    first.wait(DEADLINE)
    bed.pidfile.write_text(f"{second.pid}\n")


def test_stale_pidfile_of_a_killed_instance_is_replaced(bed: Bed) -> None:
    first = bed.up()
    first.kill()
    first.wait(DEADLINE)
    assert bed.pidfile.read_text() == f"{first.pid}\n"
    second = bed.up()
    assert bed.pid() == second.pid


def test_unwritable_pidfile_is_one_line(bed: Bed) -> None:
    result = bed.run(*bed.fake("--pidfile=/nonexistent/x.pid", "-vconsole:off"))
    assert result.returncode == 1
    assert result.stderr == (
        "fake_daemon.py: /nonexistent/x.pid.tmp: create failed (No such file or directory)\n"
    )


@pytest.mark.parametrize("extra", [[], ["--detach"], ["--detach", "--monitor"]])
def test_refusal_of_the_agent_is_one_line_and_status_1(bed: Bed, extra: list[str]) -> None:
    (bed.dir / "refuse").write_text("the kernel refuses ovn.o\n  0: (85) call\n  bad call\n")
    result = bed.run(*bed.fake("--pidfile", "-vconsole:off", "--log-file", *extra))
    assert result.returncode == 1
    assert result.stderr == "fake_daemon.py: the kernel refuses ovn.o (the log has more)\n"
    log = bed.log.read_text()
    assert "|EMER|the kernel refuses ovn.o\n" in log and "|EMER|  bad call\n" in log
    assert "Traceback" not in log
    assert not bed.pidfile.exists() and not list(bed.dir.glob("*.ctl"))


def test_parent_fails_when_the_child_is_killed_before_it_is_ready(bed: Bed) -> None:
    (bed.dir / "hold").touch()
    parent = bed.start("--detach", "--pidfile", "-vconsole:off")
    wait_until(lambda: (bed.dir / "options").exists(), "the agent to be made")
    os.kill(bed.pid(), signal.SIGKILL)
    assert parent.wait(DEADLINE) == 1
    bed.pidfile.unlink()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_keeps_everything_and_shows_in_the_status(bed: Bed, number: int) -> None:
    process = bed.up()
    process.send_signal(number)
    # The real ovn-controller dies by the signal too (a shell shows 143).
    assert process.wait(DEADLINE) == -number
    assert (bed.dir / "stopped").read_text() == "restart=True"
    assert f"|fatal_signal|WARN|terminating with signal {number:d} (" in bed.log.read_text()
    assert not bed.pidfile.exists() and not list(bed.dir.glob("*.ctl"))


@pytest.mark.parametrize(("args", "restart"), [((), False), (("--restart",), True)])
def test_exit_replies_when_the_agent_is_done(bed: Bed, args: list[str], restart: bool) -> None:
    process = bed.up()
    busy = bed.dir / "busy"
    busy.touch()
    client = subprocess.Popen(["ovn-appctl", "-t", "ovn-controller", "exit", *args], env=bed.env)
    wait_until(lambda: (bed.dir / "stopping").exists(), "the clean-up to begin")
    assert client.poll() is None and process.poll() is None
    busy.unlink()
    assert client.wait(DEADLINE) == 0
    assert process.wait(DEADLINE) == 0
    assert (bed.dir / "stopped").read_text() == f"restart={restart}"


def test_signal_ends_a_clean_up_that_hangs(bed: Bed) -> None:
    process = bed.up()
    (bed.dir / "busy").touch()
    client = subprocess.Popen(["ovn-appctl", "-t", "ovn-controller", "exit"], env=bed.env)
    wait_until(lambda: (bed.dir / "stopping").exists(), "the clean-up to begin")
    process.terminate()
    assert process.wait(DEADLINE) == -signal.SIGTERM
    client.wait(DEADLINE)


def test_exception_goes_to_the_log_and_not_to_the_terminal(bed: Bed) -> None:
    process = bed.start("--pidfile", "-vconsole:emer", "--log-file")
    wait_until(bed.pidfile.exists, "the pidfile")
    wait_until(lambda: bed.appctl("fake/crash").returncode == 0, "the crash")
    _, stderr = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert len(stderr.splitlines()) == 1 and "was told to fail" in stderr
    log = bed.log.read_text()
    assert "|main|EMER|internal error: RuntimeError('the fake agent was told to fail')" in log
    assert "|main|EMER|Traceback (most recent call last):" in log
    assert not bed.pidfile.exists()


def test_monitor_restarts_after_a_crash_signal_and_ends_with_the_daemon(bed: Bed) -> None:
    assert bed.run(*bed.fake("--detach", "--monitor", "--pidfile", "--log-file")).returncode == 0
    first = bed.pid()
    monitor = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    assert Path(f"/proc/{monitor}/comm").read_text() == "monitor\n"
    os.kill(first, signal.SIGSEGV)
    wait_until(lambda: bed.pidfile.exists() and bed.pid() != first, "a new daemon")
    wait_until(lambda: bed.appctl("version").returncode == 0, "the new daemon to answer")
    assert alive(monitor)
    assert f"1 crashes: pid {first} died, killed (Segmentation fault" in bed.log.read_text()
    assert bed.appctl("exit").returncode == 0
    wait_until(lambda: not alive(monitor), "the monitor to end")


def test_user_keeps_only_what_a_data_path_needs() -> None:
    # Not under tmp_path, which only root may enter.
    with TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        bed = Bed(Path(name))
        assert bed.run(*bed.fake("--detach", "--pidfile", "--user=nobody")).returncode == 0
        lines = Path(f"/proc/{bed.pid()}/status").read_text().splitlines()
        bed.close()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4
    kept = {10, 11, 12, 13, 14, 38, 39}
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == sum(1 << n for n in kept)
    assert int(status["CapInh"], 16) == 0


def test_unknown_user_is_one_line(bed: Bed) -> None:
    result = bed.run(*bed.fake("--user=nosuchuser", "-vconsole:off"))
    assert result.returncode == 1
    assert result.stderr == "fake_daemon.py: user nosuchuser not found, aborting.\n"


def test_systemd_is_told_of_readiness_and_of_the_end(bed: Bed) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(bed.dir / "notify"))
        listener.settimeout(DEADLINE)
        bed.env["NOTIFY_SOCKET"] = str(bed.dir / "notify")
        (bed.dir / "loading").touch()
        bed.up()  # its control socket answers
        assert listener.recv(500).decode().splitlines() == ["STATUS=Loading"]
        (bed.dir / "loading").unlink()
        bed.appctl("version")  # it goes round again
        assert listener.recv(500).decode().splitlines() == ["READY=1", "STATUS=Running"]
        assert bed.appctl("exit").returncode == 0
        assert listener.recv(500) == b"STOPPING=1"


def test_life_with_debians_python_ovs(bed: Bed) -> None:
    """The packages will run on python3-openvswitch 3.1 of Debian 12, not on PyPI's."""
    bed.python = "/usr/bin/python3"
    command = bed.fake("--detach", "--monitor", "--pidfile", "-vconsole:off", "--log-file")
    assert bed.run(*command).returncode == 0
    assert "\nOpen vSwitch Library 3." in bed.appctl("version").stdout
    assert bed.appctl("vlog/set", "reconnect:dbg").returncode == 0
    assert bed.appctl("exit").returncode == 0
    assert (bed.dir / "stopped").read_text() == "restart=False"
    assert "Traceback" not in bed.log.read_text()


def test_agent_that_cannot_be_loaded_is_one_line(bed: Bed) -> None:
    code = (
        "import sys; sys.modules['ovn_bpf_controller.agent'] = None\n"
        "from ovn_bpf_controller.cli.controller import main; sys.exit(main(sys.argv[1:]))"
    )
    result = bed.run(bed.python, "-c", code, "-vconsole:off")
    assert result.returncode == 1
    assert result.stderr.startswith("ovn-bpf-controller: cannot load the agent: ")
    assert len(result.stderr.splitlines()) == 1
