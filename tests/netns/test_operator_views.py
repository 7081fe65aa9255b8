# SPDX-License-Identifier: Apache-2.0
"""What ovn-bpf-ctl shows of ports, chassis and tunnels; and that check finds damage."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ovn_bpf_controller.cli import ctl as cli
from ovn_bpf_controller.datapath.maps import HashMap, pinned
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS[:1]
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
"""


def ctl(bed: Sandbox, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ovn_bpf_controller.cli.ctl", *args],
        env=bed.environment("hv1"),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(bed: Sandbox, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ctl(bed, *args, "--json"))
    return found


def views() -> list[tuple[str, ...]]:
    """Every command of ovn-bpf-ctl that prints text or JSON and ends by itself."""
    found: list[tuple[str, ...]] = [("flows", "--unsupported"), ("ct", "stats"), ("ct", "top")]
    for action in cli._parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                both = any("--json" in each.option_strings for each in child._actions)
                if both and name != "monitor":
                    found.append((name, "-n", "1", "-d", "0.1") if name == "top" else (name,))
    return found


@pytest.mark.parametrize("command", views(), ids=" ".join)
def test_every_view_is_text_and_json(bed: Sandbox, command: tuple[str, ...]) -> None:
    """The same facts in both."""
    assert traffic.answers(bed, "vm1", "vm2")
    bed.sync()
    text, data = ctl(bed, *command), json.loads(ctl(bed, *command, "--json"))
    with pytest.raises(ValueError):
        json.loads(text or "no rows")
    rows = data if isinstance(data, list) else [data]
    assert len(text.splitlines()) >= len(rows)
    if rows and text.strip():
        words = [str(word) for word in rows[0].values() if isinstance(word, str) and word]
        assert not words or any(word in text for word in words)


def port(bed: Sandbox, name: str) -> dict[str, Any]:
    [found] = [row for row in rows(bed, "ports") if row["port"] == name]
    return found


def test_ports_tell_where_they_are_and_what_they_carried(bed: Sandbox) -> None:
    before = port(bed, "vm1")
    assert before["kind"] == "vif"
    assert before["state"] == "installed"
    for _ in range(5):
        assert traffic.answers(bed, "vm1", "vm2")
    after = port(bed, "vm1")
    assert after["sent_packets"] >= before["sent_packets"] + 5
    assert after["got_bytes"] >= before["got_bytes"] + 5 * 42
    assert port(bed, "vm3")["kind"] == "remote"
    assert port(bed, "vm3")["where"].startswith("hv2@")
    heading, *lines = ctl(bed, "ports", "sw0").splitlines()
    assert heading.split()[:3] == ["PORT", "DATAPATH", "KEY"]
    assert {line.split()[0] for line in lines} >= {"vm1", "vm2", "vm3"}


def test_chassis_and_tunnels_are_the_southbounds(bed: Sandbox) -> None:
    reach = {row["chassis"]: row["reach"] for row in rows(bed, "chassis")}
    assert reach == {"hv1": "this chassis", "hv2": "tunnel"}
    [tunnel] = rows(bed, "tunnels")
    encaps = bed.sbctl("--bare", "--columns=ip", "find", "encap", "chassis_name=hv2").split()
    assert tunnel["remote"] in encaps
    assert tunnel["ports"] == 1


def test_top_ranks_by_traffic(bed: Sandbox) -> None:
    sample = json.loads(ctl(bed, "top", "--number", "1", "--delay", "0.2", "--json"))
    assert {row["port"] for row in sample["ports"]} == {"vm1", "vm2"}
    assert ctl(bed, "top", "-n", "1", "-d", "0.1").startswith("PORT")


def test_check_finds_nothing_wrong_with_what_is_right(bed: Sandbox) -> None:
    bed.sync()
    assert ctl(bed, "check").endswith("rules compared, 0 differences\n")
    assert rows(bed, "check") == []


@pytest.fixture
def index(bed: Sandbox) -> Iterator[HashMap]:
    """The look-up map of rules of small keys, as hv1's agent pinned it."""
    [pin] = bed.chassis["hv1"].bpffs.glob("**/maps/ovn_idx_s")
    fd = pinned(pin)
    yield HashMap(pin.name, fd)
    os.close(fd)


def test_check_repairs_what_somebody_broke(bed: Sandbox, index: HashMap) -> None:
    bed.sync()
    there = index.dump()
    taken = list(there)[::2]
    assert taken
    index.delete(taken)
    assert len(index.dump()) == len(there) - len(taken)
    found = [(row["what"], row["problem"]) for row in rows(bed, "check")]
    assert found.count(("rule", "missing")) == len(taken)
    assert rows(bed, "check") == []
    assert len(index.dump()) == len(there)
    assert traffic.answers(bed, "vm1", "vm3")
