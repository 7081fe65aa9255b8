# SPDX-License-Identifier: Apache-2.0
"""The agent with the libraries that Debian 12 ships: its package has no others.

All other modules run with PyPI's newest.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import debian
from tests.support.beds import AGENTS, OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
"""
PAIRS = [("vm1", "vm2"), ("vm1", "vm3")]


@pytest.fixture(scope="module")
def bed(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", debian.python_path(tmp_path_factory.mktemp("debian")))
        with Sandbox(parse(Template(TOPOLOGY).substitute(agent=AGENTS[kind]))) as sandbox:
            yield sandbox


def test_these_are_the_libraries(bed: Sandbox) -> None:
    program = f"import {', '.join(debian.LIBRARIES)}; print(ovs.__file__, pyroute2.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env=process.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(debian.PLACE in Path(file).resolve().parents for file in said.split())


def test_ports_come_up_and_talk(bed: Sandbox) -> None:
    assert bed.unanswered(PAIRS) == []
    for chassis in bed.chassis.values():
        assert "=" in chassis.vsctl("get", "Open_vSwitch", ".", "datapaths")


def test_metrics_are_served(bed: Sandbox) -> None:
    chassis = bed.chassis["hv1"]
    path = chassis.root / "metrics.sock"
    chassis.vsctl("set", "open", ".", f"external_ids:ovn-bpf-metrics=unix:{path}")
    process.wait_until(lambda: path.exists() and process.accepts(path), 30, "socket of metrics")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(30)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            assert b"\novn_bpf_complete 1.0\n" in answer.read()


def test_a_new_agent_takes_over(bed: Sandbox) -> None:
    chassis = bed.chassis["hv1"]
    chassis.stop_agent()
    assert bed.unanswered(PAIRS) == []
    chassis.start_agent()
    bed.sync()
    assert bed.unanswered(PAIRS) == []


def test_it_finds_nothing_to_warn_of(bed: Sandbox) -> None:
    for chassis in bed.chassis.values():
        loud = re.findall(r"^.*\|(?:WARN|ERR|EMER)\|.*$", chassis.log(), re.M)
        # Said by the one that was told to end, as Open vSwitch's daemons do.
        assert [line for line in loud if "terminating with signal" not in line] == []
