# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-ctl ct and ovn-bpf-trace on live connections, and limits of zones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk
from tests.support.beds import OURS

ANNOUNCED = ()
KINDS = OURS[:1]
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
acls:
  - {switch: sw0, direction: to-lport, priority: 1002, match: "outport == \\"vm2\\" && ip",
     action: allow-related}
  - {switch: sw0, direction: to-lport, priority: 1001, match: "outport == \\"vm1\\" && ip",
     action: drop}
"""
SOURCE, TARGET = 40001, 4242
OUTPUT = '/* output to "vm1" */'


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    bed.sync()
    conntrack.flush(bed)


def tool(bed: Sandbox, module: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"ovn_bpf_controller.cli.{module}", *args],
        env=bed.environment("hv1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ct(bed: Sandbox, *args: str) -> str:
    done = tool(bed, "ctl", "ct", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(bed: Sandbox, *args: str) -> Any:
    return json.loads(ct(bed, "--json", *args))


def tcp(bed: Sandbox, port: int = TARGET, source: int = SOURCE) -> talk.Tcp:
    return talk.Tcp(bed, "vm1", "vm2", bed.ports["vm2"].ip4, port, source_port=source)


def zone(bed: Sandbox, name: str = "vm2") -> int:
    return conntrack.zone(bed.chassis["hv1"], name)


# --- ovn-bpf-ctl ct -----------------------------------------------------------------


def test_connections_of_a_port(bed: Sandbox) -> None:
    with tcp(bed) as connection:
        connection.exchange()
        (row,) = rows(bed, "--lport", "vm2")
        ends = [f"{bed.ports['vm1'].ip4}:{SOURCE}", f"{bed.ports['vm2'].ip4}:{TARGET}"]
        assert row["orig"] == ends and row["reply"] == ends[::-1]
        assert (row["zone"], row["owner"]) == (zone(bed), "vm2")
        assert (row["protocol"], row["state"]) == ("tcp", "ESTABLISHED")
        assert row["flags"] == ["seen-reply"]
        assert all(count >= 3 for count in row["packets"])
        assert row["expires"] > 86000 and row["idle"] < 60
        line = ct(bed, "--lport", "vm2")
        assert f"{ends[0]} > {ends[1]}  ESTABLISHED  seen-reply" in line
        assert [each["orig"] for each in rows(bed, "--zone", str(zone(bed)))] == [ends]


def test_the_largest_come_first(bed: Sandbox) -> None:
    with tcp(bed) as small, tcp(bed, TARGET + 1, SOURCE + 1) as large:
        small.exchange()
        large.stream(1 << 20)
        (first,) = rows(bed, "top", "--lport=vm2", "--limit=1")
        assert first["orig"][1].endswith(f":{TARGET + 1}")
        assert sum(first["bytes"]) > 2 << 20
        assert len(rows(bed, "top", "--lport=vm2")) == 2


def test_occupancy(bed: Sandbox) -> None:
    before = rows(bed, "stats")
    with tcp(bed):
        found = rows(bed, "stats")
        mine = [each for each in found["zones"] if each["owner"] == "vm2"]
        assert [each["connections"] for each in mine] == [1]
        assert found["room"] == 262143 and found["connections"] >= 1
        assert found["counters"]["created"] > before["counters"]["created"]
        assert re.search(rf"^zone {zone(bed)}: 1  vm2$", ct(bed, "stats"), re.M)
        assert "connections:  " in tool(bed, "ctl", "status").stdout


def test_flushed_by_port_and_by_tuple(bed: Sandbox) -> None:
    with tcp(bed), tcp(bed, TARGET + 1, SOURCE + 1):
        assert len(rows(bed, "--lport=vm2")) == 2
        ct(bed, "--lport=vm2", "flush", f"ct_nw_proto=6,ct_tp_dst={TARGET}")
        assert [row["orig"][1][-4:] for row in rows(bed, "--lport=vm2")] == [str(TARGET + 1)]
        ct(bed, "--lport=vm2", "flush")
        assert rows(bed, "--lport=vm2") == []
        assert ct(bed, "--lport=vm2") == ""


def test_mistakes_are_told(bed: Sandbox) -> None:
    for args, text in (
        (["--lport", "nosuch"], "no conntrack zone of nosuch"),
        (["--zone", "70000"], "not a zone"),
        (["flush", "foo=1"], "invalid conntrack tuple field: foo"),
        (["top", "x"], "unexpected argument x"),
    ):
        done = tool(bed, "ctl", "ct", *args)
        assert (done.returncode, text in done.stderr) == (2, True), done.stderr


# --- limits -------------------------------------------------------------------------


def test_a_zone_takes_no_more_than_its_limit(bed: Sandbox) -> None:
    """Of a port, by the option that newer releases of OVN have for it."""
    bed.nbctl("--wait=hv", "lsp-set-options", "vm2", "ct-zone-limit=2")
    limits = f"zone={zone(bed)},limit=2,count=0"
    chassis = bed.chassis["hv1"]
    process.wait_until(
        lambda: limits in chassis.appctl("dpctl/ct-get-limits"), 30, "the limit of the zone"
    )
    with ExitStack() as stack:
        for number in range(2):
            stack.enter_context(tcp(bed, TARGET + number, SOURCE + number)).exchange()
        assert talk.unanswered(bed, "vm1", bed.ports["vm2"].ip4)
        assert len(conntrack.dump(bed, f"zone={zone(bed)}")) == 2
        assert rows(bed, "stats")["counters"]["zone limit"] >= 1
    bed.nbctl("--wait=hv", "lsp-set-options", "vm2")
    process.wait_until(
        lambda: "zone=" not in chassis.appctl("dpctl/ct-get-limits"), 30, "no limit of the zone"
    )
    conntrack.flush(bed)
    with tcp(bed) as one, tcp(bed, TARGET + 1, SOURCE + 1) as two, tcp(bed, 4244, 40003) as three:
        for each in (one, two, three):
            each.exchange()


# --- traces -------------------------------------------------------------------------


def microflow(bed: Sandbox, source: str, target: str, sport: int, dport: int) -> str:
    def mac(port: str) -> str:
        found = re.search(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", bed.nbctl("lsp-get-addresses", port))
        assert found
        return found[0]

    one, two = bed.ports[source].ip4, bed.ports[target].ip4
    return (
        f'inport == "{source}" && eth.src == {mac(source)} && eth.dst == {mac(target)} &&'
        f" ip4.src == {one} && ip4.dst == {two} && ip.ttl == 64 && tcp.src == {sport} &&"
        f" tcp.dst == {dport} && tcp.flags == 0x10"
    )


def trace(bed: Sandbox, flow: str, *options: str) -> str:
    done = tool(bed, "trace", *options, "--summary", "sw0", flow)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_trace_asks_the_tracker(bed: Sandbox) -> None:
    """A reply passes because there is a connection, and for no other reason."""
    answer = microflow(bed, "vm2", "vm1", TARGET, SOURCE)
    with tcp(bed) as connection:
        connection.exchange()
        before = rows(bed, "stats")["counters"]
        found = trace(bed, answer)
        assert "ct_next(ct_state=est|rpl|trk)" in found and OUTPUT in found, found
        assert rows(bed, "stats")["counters"] == before
    conntrack.flush(bed)
    found = trace(bed, answer)
    assert "ct_next(ct_state=new|trk)" in found or "inv|trk" in found, found
    assert "drop: " in found and OUTPUT not in found, found
    assert conntrack.dump(bed) == []


def test_a_trace_takes_what_it_is_told(bed: Sandbox) -> None:
    answer = microflow(bed, "vm2", "vm1", TARGET, SOURCE)
    found = trace(bed, answer, "--ct=est,rpl", "--ct=est,rpl")
    assert found.count("ct_next(ct_state=est|rpl|trk)") == 2 and OUTPUT in found, found
    found = trace(bed, answer, "--ct=est,rpl", "--ct=new")
    assert "ct_next(ct_state=new|trk)" in found and OUTPUT not in found, found
    found = trace(bed, answer, "--ct=est")
    assert "ct_next(ct_state=est|trk /* default (use --ct to customize) */)" in found, found
    assert conntrack.dump(bed) == []
