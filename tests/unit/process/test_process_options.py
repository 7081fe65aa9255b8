# SPDX-License-Identifier: Apache-2.0
"""The command line: what ovn-controller accepts, refuses and prints, so do we."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.process.options import (
    DaemonOptions,
    LogSetting,
    TlsOptions,
    check_remote,
    parse_options,
)
from tests.support.daemon import Bed

BAD = [
    ["--bogus"],
    ["-x"],
    ["-n"],
    ["--chassis"],
    ["--detach=3"],
    ["--no"],
    ["--ver"],
    ["--pri"],
    ["--ssl-p"],
    ["--", "a", "b"],
    ["a", "b"],
    ["-vbogus"],
    ["-vconsole:file"],
    ["-vinfo:dbg"],
    ["-vmain:binding"],
    ["--verbose=pattern"],
    ["--verbose=pattern:bogus:%m"],
    ["--verbose=facility:bogus"],
    ["--syslog-method=bogus"],
    ["--verb=console:bogus", "-h"],
    ["--user=nosuchuser"],
    ["--user=:nosuchgroup"],
    ["-V", "--bogus"],
    ["-h", "a", "b"],
    ["-hx"],
    ["-Vh"],
    ["-vconsole:emer", "--vers"],
]


@pytest.mark.parametrize("args", BAD, ids=" ".join)
def test_bad_options_get_the_status_and_words_of_ovn_controller(bed: Bed, args: list[str]) -> None:
    ours, real = bed.run(*bed.fake(*args)), bed.run("ovn-controller", *args)
    assert ours.returncode == real.returncode
    told = real.stderr.replace("ovn-controller: ", "fake_daemon.py: ")
    # The C daemon names its pidfile, which it does not have yet, before a user.
    assert ours.stderr == told.replace("(null): ", "")


@pytest.mark.parametrize("args", [["-V"], ["--version"], ["--versio"]])
def test_version_begins_as_ovn_controllers_does(bed: Bed, args: list[str]) -> None:
    ours = bed.run(*bed.fake(*args)).stdout.splitlines()
    real = bed.run("ovn-controller", *args).stdout.splitlines()
    assert ours[0] == real[0]
    assert [line.rsplit(" ", 1)[0] for line in ours[:4]] == [r.rsplit(" ", 1)[0] for r in real]
    assert ours[2:4] == real[2:4]
    assert ours[4].startswith("ovn-bpf-controller ")


def test_help_names_every_option_of_ovn_controller(bed: Bed) -> None:
    ours, real = bed.run(*bed.fake("-h")).stdout, bed.run("ovn-controller", "-h").stdout
    options = set(re.findall(r"(?<=\s)--?[a-zA-Z][\w-]*", real))
    assert len(options) > 25
    assert options <= set(re.findall(r"(?<=\s)--?[a-zA-Z][\w-]*", ours))
    assert f"(default: {bed.dir}/ovn-controller.pid)" in ours


def test_everything_that_ovn_ctl_passes_is_understood() -> None:
    options = parse_options(
        "unix:/run/db.sock -vconsole:emer -vsyslog:err -vfile:info -p key -c cert --ca-cert=ca "
        "--bootstrap-ca-cert boot --ssl-protocols=TLSv1.2 --ssl-ciphers=HIGH --ssl-ciphersuites=S "
        "--ssl-server-name=sb --user o:o --no-chdir --log-file=/l/f --pidfile=/r/p --detach "
        "--monitor --no-self-confinement -n hv1 --enable-dummy-vif-plug -u /r/ctl".split(),
        {},
    )
    assert options.ovs_remote == "unix:/run/db.sock"
    assert (options.chassis, options.unixctl) == ("hv1", "/r/ctl")
    assert options.enable_dummy_vif_plug
    assert options.tls == TlsOptions("key", "cert", "ca", "boot", "", "TLSv1.2", "HIGH", "S", "sb")
    assert options.daemon == DaemonOptions(True, True, False, "/r/p", False, "o:o")
    assert options.log == (
        LogSetting("verbose", "console:emer"),
        LogSetting("verbose", "syslog:err"),
        LogSetting("verbose", "file:info"),
        LogSetting("log-file", "/l/f"),
    )


def test_optional_arguments_are_taken_only_when_attached() -> None:
    options = parse_options(["--pidfile", "--log-file", "-v", "unix:db"], {"OVN_RUNDIR": "/r"})
    assert options.daemon.pidfile == "/r/ovn-controller.pid"
    assert options.log == (LogSetting("log-file", None), LogSetting("verbose", None))
    assert options.ovs_remote == "unix:db"
    assert parse_options(["--pidfile=x"], {"OVN_RUNDIR": "/r"}).daemon.pidfile == "/r/x"


def test_environment_places_the_files() -> None:
    assert parse_options([], {}).ovs_remote == "unix:/var/run/openvswitch/db.sock"
    assert parse_options([], {"OVS_RUNDIR": "/s"}).ovs_remote == "unix:/s/db.sock"
    assert parse_options([], {"OVS_RUNDIR": ""}).ovs_remote == "unix:/var/run/openvswitch/db.sock"
    assert parse_options([], {"OVN_LOGDIR": "/l", "OVS_LOGDIR": "/x"}).dirs.ovn_logdir == "/l"
    assert parse_options([], {"OVS_LOGDIR": "/x"}).dirs.ovn_logdir == "/x"


def test_chassis_name_is_that_of_n_before_the_override_file(tmp_path: Path) -> None:
    environ = {"OVN_SYSCONFDIR": str(tmp_path)}
    assert parse_options([], environ).chassis == ""
    (tmp_path / "system-id-override").write_text("from-file\n")
    assert parse_options([], environ).chassis == "from-file"
    assert parse_options(["-n", "from-cli"], environ).chassis == "from-cli"


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("unix:/a/b", "unix:/a/b"),
        ("tcp:1.2.3.4", "tcp:1.2.3.4:6640"),
        ("tcp:db.example.org:1", "tcp:db.example.org:1"),
        ("ssl:[fe80::1%eth0]:6641", "ssl:[fe80::1%eth0]:6641"),
        ("tcp:1.1.1.1:1,ssl:[::1]", "tcp:1.1.1.1:1,ssl:[::1]:6640"),
    ],
)
def test_database_names_get_their_port(given: str, taken: str) -> None:
    assert check_remote(given) == taken


@pytest.mark.parametrize(
    "name", ["", "foo:bar", "unix:", "tcp:", "tcp:a:0", "tcp:a:65536", "tcp:a:b", "ssl:::1", "a,"]
)
def test_malformed_database_name_is_fatal(name: str) -> None:
    with pytest.raises(StartupError, match="is not a database"):
        check_remote(name)


def test_malformed_database_name_is_one_line_and_status_1(bed: Bed) -> None:
    result = bed.run(*bed.fake("tcp:nowhere:0"))
    assert (result.returncode, len(result.stderr.splitlines())) == (1, 1)


def test_log_file_that_was_named_must_open(bed: Bed) -> None:
    ours = bed.run(*bed.fake("-vconsole:off", "--log-file=/nonexistent/x.log", "-V"))
    real = bed.run("ovn-controller", "-vconsole:off", "--log-file=/nonexistent/x.log", "-V")
    assert ours.returncode == real.returncode == 1
    assert "/nonexistent/x.log" in ours.stderr and len(ours.stderr.splitlines()) == 1


def test_graph_is_dot_and_can_be_narrowed(bed: Bed) -> None:
    everything = bed.run(*bed.fake("--dump-inc-proc-graph"))
    binding = bed.run(*bed.fake("--dump-inc-proc-graph=binding"))
    assert everything.returncode == binding.returncode == 0
    assert everything.stdout.startswith('digraph "Incremental-Processing-Engine" {')
    assert "row_cache -> binding" in binding.stdout and "nb_cfg" not in binding.stdout


def test_bad_syslog_method_of_the_environment_is_fatal(bed: Bed) -> None:
    bed.env["OVS_SYSLOG_METHOD"] = "pigeon"
    ours = bed.run(*bed.fake("-vconsole:off", "-vsyslog:emer", "--log-file", "-V"))
    assert ours.returncode == 1
    assert ours.stderr == "fake_daemon.py: unsupported syslog method 'pigeon'\n"
