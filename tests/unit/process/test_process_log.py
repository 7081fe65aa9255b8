# SPDX-License-Identifier: Apache-2.0
"""Log lines, files, levels and rate limits, next to the real ovn-controller's."""

from __future__ import annotations

import datetime
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ovn_bpf_controller.process.log_format import Record, compile_pattern
from tests.support.daemon import DEADLINE, Bed
from tests.support.ovsdb import wait_until

LINE = re.compile(
    r"(?P<when>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\|(?P<seq>\d{5})\|"
    r"(?P<module>[a-z_]+)(\([^)]*\))?\|(?P<level>EMER|ERR|WARN|INFO|DBG)\|(?P<message>.*)"
)
RECORD = Record("main", "INFO", 29, "hello\n\n", 1_700_000_000_123_456_789, 7)


def lines(path: Path) -> list[re.Match[str]]:
    matches = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert all(matches), path.read_text()
    return [match for match in matches if match]


def test_file_has_vlogs_lines_in_sequence_and_utc(bed: Bed) -> None:
    process = bed.up()
    bed.appctl("vlog/set", "file:dbg")
    bed.appctl("fake/bug")
    bed.appctl("exit")
    process.wait(DEADLINE)
    found = lines(bed.log)
    assert found[0]["message"] == f"opened log file {bed.log}"
    assert found[0]["module"] == "vlog"
    assert [int(match["seq"]) for match in found] == list(range(1, len(found) + 1))
    last = datetime.datetime.fromisoformat(found[-1]["when"])
    assert abs(datetime.datetime.now(datetime.UTC) - last) < datetime.timedelta(minutes=1)
    # python-ovs's own messages come the same way.
    assert {"vlog", "unixctl", "jsonrpc"} <= {match["module"] for match in found}


def test_first_lines_are_those_of_the_real_one(bed: Bed) -> None:
    bed.up()
    ours = lines(bed.log)[0]
    bed.appctl("exit")
    theirs_log = bed.dir / "real.log"
    command = ["ovn-controller", "-vconsole:off", f"--log-file={theirs_log}", "unix:/nonexistent"]
    real = subprocess.Popen(command, env=bed.env)
    wait_until(lambda: theirs_log.exists() and theirs_log.read_text(), "its log")
    real.terminate()
    real.wait(DEADLINE)
    theirs = lines(theirs_log)[0]
    for part in ("seq", "module", "level"):
        assert ours[part] == theirs[part]
    assert ours["message"] == theirs["message"].replace("real.log", bed.log.name)


def test_file_mode_is_that_of_the_c_daemons(bed: Bed) -> None:
    bed.up()
    assert bed.log.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("how", ["vlog/reopen", "SIGHUP"])
def test_renamed_file_is_reopened(bed: Bed, how: str) -> None:
    process = bed.up()
    old = bed.log.rename(bed.dir / "old.log")
    bed.appctl("vlog/set", "info")
    assert not bed.log.exists()
    if how == "SIGHUP":
        process.send_signal(1)
        wait_until(bed.log.exists, "the new file")
    else:
        assert bed.appctl(how).returncode == 0
    wait_until(lambda: bed.log.read_text(), "its first line")
    assert lines(old)[-1]["message"] == "closing log file"
    assert lines(bed.log)[0]["message"] == f"opened log file {bed.log}"
    # Reopening the same file again is no event.
    size = bed.log.stat().st_size
    assert bed.appctl("vlog/reopen").returncode == 0
    assert bed.log.stat().st_size == size


def test_detached_daemon_reopens_a_relative_file_in_its_place(bed: Bed) -> None:
    command = bed.fake("--detach", "--pidfile", "-vconsole:off", "--log-file=here.log")
    assert bed.run(*command).returncode == 0
    (bed.dir / "here.log").unlink()
    assert bed.appctl("vlog/reopen").returncode == 0
    assert lines(bed.dir / "here.log")


def test_closed_file_is_silent_until_reopened(bed: Bed) -> None:
    bed.up()
    assert bed.appctl("vlog/close").returncode == 0
    size = bed.log.stat().st_size
    bed.appctl("debug/pause")
    assert bed.log.stat().st_size == size
    bed.appctl("vlog/reopen")
    bed.appctl("debug/resume")
    assert lines(bed.log)[-1]["message"] == "User triggered execution resume."


def test_reopen_without_a_file_is_refused_as_by_ovn_controller(bed: Bed) -> None:
    bed.start("--pidfile", "-vconsole:off")
    wait_until(lambda: bed.appctl("version").returncode == 0, "the control socket")
    refused = bed.appctl("vlog/reopen")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[0] == "Logging to file not configured"


def test_vlog_set_and_list_work_per_module_and_destination(bed: Bed) -> None:
    bed.up()

    def levels(module: str) -> list[str]:
        for line in bed.appctl("vlog/list").stdout.splitlines():
            if line.split()[0] == module:
                return line.split()[1:4]
        raise AssertionError(module)

    assert levels("main") == ["OFF", "INFO", "INFO"]
    # Some of the specs that OVN's own tests use.
    for spec in ("file:dbg:pinctrl", "mac_cache:file:dbg", "vconn:dbg", "dbg:ct_zone"):
        assert bed.appctl("vlog/set", spec).returncode == 0
    assert levels("pinctrl") == ["OFF", "INFO", "DBG"]
    assert levels("vconn") == levels("ct_zone") == ["DBG", "DBG", "DBG"]
    assert levels("main") == ["OFF", "INFO", "INFO"]
    assert bed.appctl("vlog/set", "OFF").returncode == 0
    assert levels("main") == ["OFF", "OFF", "OFF"]
    assert bed.appctl("vlog/set").returncode == 0
    assert levels("main") == ["DBG", "DBG", "DBG"]


def test_every_module_of_the_real_agents_log_is_known(bed: Bed) -> None:
    """As far as controller/ goes: an unknown name in -v would keep the agent from starting."""
    bed.up()
    known = {line.split()[0] for line in bed.appctl("vlog/list").stdout.splitlines()[2:]}
    controller = set(
        "acl_log binding chassis encaps extend_table features ha_chassis if_status inc_proc_eng "
        "lb ldata lflow lflow_cache lport mac_learn main memory ofctrl ovn_bfd ovn_util ovsport "
        "patch physical pinctrl port_mirror vif_plug jsonrpc reconnect ovsdb_idl poll_loop".split()
    )
    assert controller <= known


def test_patterns_can_be_set_and_listed(bed: Bed) -> None:
    bed.up()
    assert bed.appctl("vlog/set", "PATTERN:file:%P %p %m").returncode == 0
    bed.appctl("debug/pause")
    assert bed.log.read_text().splitlines()[-1] == (
        f"{bed.pid()} INFO User triggered execution pause."
    )
    listed = bed.appctl("vlog/list-pattern").stdout.splitlines()
    assert listed[2].split()[0] == "SYSLOG" and listed[2].endswith("ovs|%05N|%c%T|%p|%m")
    assert listed[4] == f"FILE     {'none':<32}  %P %p %m"


def test_noisy_call_sites_are_limited_and_accounted(bed: Bed) -> None:
    bed.up()

    def chatter() -> list[str]:
        return [m["message"] for m in lines(bed.log) if m["module"] == "binding"]

    bed.appctl("fake/chatter", "7")
    assert chatter() == ["chatter 0", "chatter 1"]

    def recovered() -> bool:
        bed.appctl("fake/chatter", "1")
        return len(chatter()) > 2

    wait_until(recovered, "a token", interval=0.2)
    assert re.fullmatch(
        r"Dropped \d+ log messages in last \d+ seconds \(most recently, \d+ seconds ago\) "
        r"due to excessive rate",
        chatter()[2],
    )
    assert bed.appctl("vlog/disable-rate-limit", "binding").returncode == 0
    assert "rate limiting disabled" in bed.appctl("vlog/list").stdout
    before = len(chatter())
    bed.appctl("fake/chatter", "20")
    assert len(chatter()) == before + 20


def test_waiting_for_a_database_is_no_warning(bed: Bed) -> None:
    bed.env["FAKE_REMOTE"] = f"unix:{bed.dir}/none.sock"
    bed.up()

    def attempts() -> list[str]:
        return [m["level"] for m in lines(bed.log) if "connection attempt failed" in m["message"]]

    wait_until(attempts, "an attempt")
    assert set(attempts()) == {"INFO"}


def test_syslog_gets_datagrams_with_priority(bed: Bed) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(bed.dir / "syslog"))
        daemon.settimeout(DEADLINE)
        bed.up(f"--syslog-method=unix:{bed.dir}/syslog", "-vsyslog:warn")
        bed.appctl("fake/chatter", "1")
        text = daemon.recv(4096).decode()
    host = re.escape(socket.gethostname())
    assert re.fullmatch(
        rf"<28> \w+ +\d+ [\d:]{{8}} {host} ovn-controller: ovs\|\d{{5}}\|binding\|WARN\|chatter 0",
        text,
    )


def test_syslog_target_gets_rfc_5424_over_udp(bed: Bed) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(DEADLINE)
        port = daemon.getsockname()[1]
        process = bed.up(f"--syslog-target=127.0.0.1:{port}", "-vsyslog:warn")
        bed.appctl("fake/chatter", "1")
        text = daemon.recv(4096).decode()
    assert re.fullmatch(
        rf"<28>1 [\dT:.-]+Z \S+ ovn-controller {process.pid} binding - \ufeffchatter 0", text
    )


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%05N|%c%T|%p|%m", "00007|main|INFO|hello"),
        ("%-6p|%6p|%-3N|", "INFO  |  INFO|7  |"),
        ("%D{%H:%M:%S.###}", "22:13:20.123"),
        ("%D{%S.######Z}", "20.123456Z"),
        ("%D", "2023-11-14 22:13:20.123"),
        ("%A %t%n", "ovn-controller main\n"),
        ("%B", "29"),
        ("%%q%q 100%", "%qq 100"),
        ("%m{x}", "hello{x}"),
    ],
)
def test_pattern_renders_as_ovs_appctl_documents(pattern: str, text: str) -> None:
    assert compile_pattern(pattern)(RECORD) == text


def test_formatting_is_cheap() -> None:
    """A burst of log lines must not hold the main loop up: 10,000 within a second."""
    render = compile_pattern("%D{%Y-%m-%dT%H:%M:%S.###Z}|%05N|%c%T|%p|%m")
    start = time.process_time()
    for _ in range(10_000):
        render(RECORD)
    assert time.process_time() - start < 1
