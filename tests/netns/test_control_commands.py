# SPDX-License-Identifier: Apache-2.0
"""The control commands that scripts and exporters read answer as ovn-controller's do."""

from __future__ import annotations

import re
import time

import pytest

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ANNOUNCED = ()
KINDS = ("alone", "oracle")
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""


def ask(bed: Sandbox, *command: str) -> str:
    return bed.chassis["hv1"].appctl(*command)


# Of ovn-controller 23.03.
COMMANDS = {
    *("connection-status", "coverage/read-counter", "coverage/show", "ct-zone-list"),
    *("debug/dump-lflow-conj-ids", "debug/dump-local-bindings", "debug/dump-local-template-vars"),
    *("debug/delay-nb-cfg-report", "debug/ignore-startup-delay"),
    *("debug/pause", "debug/resume", "debug/status", "exit", "flush-lflow-cache"),
    *("group-table-list", "inc-engine/clear-stats", "inc-engine/compute-log-timeout"),
    *("inc-engine/recompute", "inc-engine/show-stats", "inject-pkt", "lflow-cache/flush"),
    *("lflow-cache/show-stats", "list-commands", "memory/show", "meter-table-list", "recompute"),
    *("sb-cluster-state-reset", "stopwatch/reset", "stopwatch/show", "version", "vlog/close"),
    *("vlog/disable-rate-limit", "vlog/enable-rate-limit", "vlog/list", "vlog/list-pattern"),
    *("vlog/reopen", "vlog/set"),
}


def test_all_commands_of_ovn_controller_are_there(bed: Sandbox, kind: str) -> None:
    lines = ask(bed, "list-commands").splitlines()
    found = {line.split()[0] for line in lines[1:]}
    assert found >= COMMANDS
    if kind == "oracle":  # the list above is complete
        assert found == COMMANDS


@pytest.mark.parametrize("command", ["coverage/show", "stopwatch/show", "inc-engine/show-stats"])
def test_statistics_have_the_form_that_exporters_parse(bed: Sandbox, command: str) -> None:
    bed.sync()
    forms = {
        "coverage/show": r"Event coverage, avg rate over last: 5 seconds, last minute, last hour,"
        r"  hash=[0-9a-f]{8}:(\n[\w/-]+ +[\d.]+/sec +[\d.]+/sec +[\d.]+/sec +total: \d+)*"
        r"\n\d+ events never hit",
        "stopwatch/show": r"(Statistics for '[\w-]+'\n  Total samples: \d+\n  Maximum: \d+ msec"
        r"\n  Minimum: \d+ msec\n  95th percentile: [\d.]+ msec\n  Short term average: [\d.]+ msec"
        r"\n  Long term average: [\d.]+ msec\n?)+",
        "inc-engine/show-stats": r"(Node: \w+\n- recompute:(?=.{13}$) +\d+\n- compute:(?=.{15}$)"
        r" +\d+\n- abort:(?=.{17}$) +\d+\n?)+",
    }
    assert re.fullmatch(forms[command], ask(bed, command), re.M)


def test_work_is_counted(bed: Sandbox) -> None:
    before = int(ask(bed, "coverage/read-counter", "lflow_run"))
    ask(bed, "inc-engine/clear-stats")
    bed.nbctl("--wait=hv", "acl-add", "sw0", "to-lport", "100", "ip4.src == 1.2.3.4", "drop")
    assert int(ask(bed, "coverage/read-counter", "lflow_run")) >= before
    stats = ask(bed, "inc-engine/show-stats", "logical_flow_output")
    counts = [int(line.split()[-1]) for line in stats.splitlines()[1:]]
    assert sum(counts) > 0
    assert "flow-generation" in ask(bed, "stopwatch/show", "flow-generation")
    bed.nbctl("--wait=hv", "acl-del", "sw0")


def test_a_recompute_changes_nothing(bed: Sandbox) -> None:
    assert ask(bed, "inc-engine/recompute") == ""
    bed.sync()
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm1", "vm2"))


def test_local_bindings_are_dumped(bed: Sandbox) -> None:
    assert ask(bed, "debug/dump-local-bindings") == "\n".join(
        [
            "Local bindings:",
            "name: [vm1], OVS interface name : [vm1], num binding lports : [1]",
            "primary lport : [vm1]",
            "-" * 40,
            "name: [vm2], OVS interface name : [vm2], num binding lports : [1]",
            "primary lport : [vm2]",
            "-" * 40,
        ]
    )


@pytest.mark.parametrize(
    "command",
    ["debug/dump-lflow-conj-ids", "debug/dump-local-template-vars", "group-table-list"],
)
def test_what_is_empty_reads_the_same(bed: Sandbox, command: str) -> None:
    assert (
        ask(bed, command)
        == {
            "debug/dump-lflow-conj-ids": "Conjunction IDs allocations:\n---\nTotal 0 IDs used.",
            "debug/dump-local-template-vars": "Local template vars:",
            "group-table-list": "",
        }[command]
    )


def test_sizes_are_pairs_on_one_line(bed: Sandbox) -> None:
    assert re.fullmatch(r"([\w-]+:\d+ ?)+", ask(bed, "memory/show"))
    assert re.search(r"^total +: \d+$", ask(bed, "lflow-cache/show-stats"), re.M)


def test_nb_cfg_is_told_later_when_a_test_wants_that(bed: Sandbox) -> None:
    assert ask(bed, "debug/ignore-startup-delay") == ""
    assert ask(bed, "debug/delay-nb-cfg-report", "2") == "delay nb_cfg report for 2 seconds."
    try:
        begun = time.monotonic()
        bed.nbctl("--wait=hv", "sync")
        assert time.monotonic() - begun >= 1.9
    finally:
        assert ask(bed, "debug/delay-nb-cfg-report", "0") == "no delay for nb_cfg report."
    with pytest.raises(SandboxError, match="unsigned integer required"):
        ask(bed, "debug/delay-nb-cfg-report", "x")
    bed.sync()


# What each kind answers to these: text, and whether it is an error.
REPLIES = [
    ("connection-status", "connected", True),
    ("nosuch", '"nosuch" is not a valid command', False),
    ("debug/status", "running", True),
    ("debug/resume", "", True),
    ("debug/delay-nb-cfg-report -1", "unsigned integer required", False),
    ("debug/delay-nb-cfg-report 99999999999", "unsigned integer required", False),
    ("inc-engine/recompute", "", True),
    ("recompute", "", True),
    ("inc-engine/clear-stats", "", True),
    ("inc-engine/show-stats nosuch", "", True),
    ("inc-engine/show-stats runtime_data nosuch", "Invalid stat type : nosuch", True),
    ("inc-engine/compute-log-timeout 500", "", True),
    ("inc-engine/compute-log-timeout x", "unsigned integer required", False),
    ("lflow-cache/flush", "", True),
    ("flush-lflow-cache", "", True),
    ("sb-cluster-state-reset", "", True),
    ("meter-table-list", "", True),
    ("group-table-list", "", True),
    ("coverage/read-counter nosuch", "No such counter", False),
    ("stopwatch/show nosuch", "No such stopwatch", False),
    ("stopwatch/reset nosuch", "", True),
    ("stopwatch/reset", "", True),
    ("inject-pkt ip4", "", False),
    ('inject-pkt inport=="nosuch"', "", False),
    ("vlog/set nosuch:dbg", "", False),
    ("vlog/set file:nosuch", "", False),
    ("vlog/disable-rate-limit binding", "", True),
    ("vlog/enable-rate-limit", "", True),
    ("vlog/reopen", "", True),
]
# Commands that take no argument, and those that need one.
NONE = (
    *("connection-status", "ct-zone-list", "group-table-list", "meter-table-list", "recompute"),
    *("inc-engine/recompute", "inc-engine/clear-stats", "lflow-cache/flush", "debug/status"),
    *("lflow-cache/show-stats", "sb-cluster-state-reset", "debug/resume", "memory/show"),
    *("debug/dump-local-bindings", "debug/dump-lflow-conj-ids", "debug/ignore-startup-delay"),
    *("debug/dump-local-template-vars", "version", "coverage/show", "list-commands"),
)
ONE = (
    *("inject-pkt", "inc-engine/compute-log-timeout", "debug/delay-nb-cfg-report"),
    "coverage/read-counter",
)
REPLIES += [(f"{name} x", f'"{name}" command takes at most 0 arguments', False) for name in NONE]
REPLIES += [(name, f'"{name}" command requires at least 1 arguments', False) for name in ONE]


@pytest.mark.parametrize(("command", "text", "good"), REPLIES, ids=[each[0] for each in REPLIES])
def test_replies_are_ovn_controllers(bed: Sandbox, command: str, text: str, good: bool) -> None:
    if good:
        assert ask(bed, *command.split()) == text
        return
    with pytest.raises(SandboxError) as caught:
        ask(bed, *command.split())
    assert text in str(caught.value)


def test_pause_is_told(bed: Sandbox) -> None:
    assert ask(bed, "debug/pause") == ""
    assert ask(bed, "debug/status") == "paused"
    assert ask(bed, "debug/resume") == ""
    assert ask(bed, "debug/status") == "running"
