# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-trace, and the counters of flows and drops, on a running chassis."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from uuid import uuid4

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

ANNOUNCED = ()
KINDS = OURS[:1]
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1, ips: [10.0.0.11/24]}
  vm2: {switch: sw0, chassis: hv1, ips: [10.0.0.12/24]}
  vm3: {switch: sw0, chassis: hv2, ips: [10.0.0.13/24]}
acls:
  - {switch: sw0, direction: to-lport, priority: 1001, action: drop,
     match: "outport == \\"vm2\\" && udp.dst == 666"}
"""


def tool(bed: Sandbox, module: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A console script on hv1."""
    return subprocess.run(
        [sys.executable, "-m", f"ovn_bpf_controller.cli.{module}", *args],
        env=bed.environment("hv1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def mac_of(bed: Sandbox, port: str) -> str:
    found = re.search(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", bed.nbctl("lsp-get-addresses", port))
    assert found
    return found[0]


def udp(bed: Sandbox, to: str, port: int) -> str:
    return (
        f'inport == "vm1" && eth.src == {mac_of(bed, "vm1")} && eth.dst == {mac_of(bed, to)} &&'
        f" ip4.src == 10.0.0.11 && ip4.dst == 10.0.0.1{to[-1]} && ip.ttl == 64 && udp.dst == {port}"
    )


def test_minimal_names_the_port(bed: Sandbox) -> None:
    done = tool(bed, "trace", "--minimal", "sw0", udp(bed, "vm2", 80))
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith("# udp,reg14=0x")
    assert lines == ['output("vm2");']


def test_the_datapath_follows_from_the_inport(bed: Sandbox) -> None:
    done = tool(bed, "trace", "--minimal", udp(bed, "vm2", 80))
    assert 'output("vm2");' in done.stdout, done.stderr


def test_a_tunnelled_output_names_chassis_and_port(bed: Sandbox) -> None:
    done = tool(bed, "trace", "--minimal", "sw0", udp(bed, "vm3", 80))
    line = done.stdout.splitlines()[-1]
    assert line == 'output("vm3"); /* chassis "hv2" */', done.stdout + done.stderr


def named(text: str) -> list[str]:
    """The lines with names.  Other words of --summary need not be ovn-trace's."""
    return [line.strip() for line in text.splitlines() if '"' in line and "/*" not in line]


def test_names_are_those_that_users_gave(bed: Sandbox) -> None:
    """ovn-trace reads and writes them likewise; OpenStack's own are UUIDs."""
    ids = {
        ("Logical_Switch", "sw0"): ("neutron:network_name", "net"),
        ("Logical_Switch_Port", "vm1"): ("neutron:port_name", "client"),
        ("Logical_Switch_Port", "vm2"): ("neutron:port_name", f"web-{uuid4()}"),
    }
    for (table, name), (key, value) in ids.items():
        bed.nbctl("set", table, name, f'external_ids:"{key}"="{value}"')
    bed.nbctl("--wait=hv", "sync")
    packet = udp(bed, "vm2", 80).replace('"vm1"', '"client"')
    try:
        for options in (["--minimal"], ["--summary"], ["--minimal", "--no-friendly-names"]):
            argv = ["ovn-trace", f"--db={bed.layout.sb}", *options, "net", packet]
            theirs = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
            done = tool(bed, "trace", *options, "net", packet)
            assert (named(done.stdout), done.stderr) == (named(theirs.stdout), ""), argv
            assert ('output("vm2")' in done.stdout) == ("--no-friendly-names" in options)
    finally:
        for (table, name), (key, _) in ids.items():
            bed.nbctl("remove", table, name, "external_ids", f'"{key}"')


@pytest.mark.parametrize("remote", ["unix:/nowhere", "tcp:127.0.0.1:1", "ssl:127.0.0.1:1"])
def test_without_the_southbound_names_are_those_of_rows(bed: Sandbox, remote: str) -> None:
    done = tool(bed, "trace", f"--db={remote}", "--minimal", "sw0", udp(bed, "vm2", 80))
    assert (done.stderr, done.stdout.splitlines()[1:]) == ("", ['output("vm2");'])


def test_detailed_names_stage_hint_and_culprit(bed: Sandbox) -> None:
    done = tool(bed, "trace", f"--db={bed.layout.sb}", "--detailed", "sw0", udp(bed, "vm2", 666))
    assert done.returncode == 0 and not done.stderr, done.stderr
    uuid = bed.sbctl(
        "--bare", "--columns=_uuid", "find", "Logical_Flow", "priority=2001", "actions=drop;"
    )
    uuid = uuid or bed.sbctl("--bare", "--columns=_uuid", "find", "Logical_Flow", "priority=2001")
    assert re.search(rf"ls_out_acl\S* \(northd\.c:\d+\): .*uuid {uuid[:8]}", done.stdout)
    assert f"drop: a logical flow says drop; flow {uuid[:8]} in egress table" in done.stdout


def test_mistakes_are_told(bed: Sandbox) -> None:
    for args, status, text in (
        (["sw0", 'inport == "vm1" && ip'], 2, "ambiguous"),
        (["sw0", 'inport == "vm1" && ip4 && ip6'], 2, "contradictory"),
        (["sw0", 'inport == "nosuch"'], 2, 'no logical port "nosuch"'),
        (["nosuch", 'inport == "vm1"'], 2, "no local datapath nosuch"),
        (["--ct=old", "sw0", 'inport == "vm1"'], 2, "old: unknown connection tracking state flag"),
        (["--lb-dst=x", "sw0", 'inport == "vm1"'], 2, "x: bad address"),
        (["ip4 &&"], 2, "error parsing flow"),
    ):
        done = tool(bed, "trace", *args)
        assert (done.returncode, text in done.stderr) == (status, True), done.stderr


def test_flows_and_drops_are_counted(bed: Sandbox) -> None:
    assert traffic.delivers(bed, "vm1", "vm2", 80, 4)
    assert traffic.blocked(bed, "vm1", "vm2", 666, 4)
    done = tool(bed, "ctl", "drops", "--json")
    (row,) = [r for r in json.loads(done.stdout) if r["reason"] == "a logical flow says drop"]
    assert row["datapath"] == "sw0" and row["table"].startswith("egress")
    flow = bed.sbctl("--uuid", "lflow-list", "sw0")
    line = next(x for x in flow.splitlines() if f"uuid=0x{row['flow'][:8]}" in x)
    assert "udp.dst == 666" in line
    flows = tool(bed, "ctl", "flows", "sw0").stdout
    counted = [x for x in flows.splitlines() if f"uuid=0x{row['flow'][:8]}" in x]
    assert counted and all(f"n_packets={row['packets']} " in x for x in counted)
