# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-ctl monitor and capture: what a person sees of packets and their verdicts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader

from ovn_bpf_controller.sandbox import process
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
nbctl:
  - --name=no-echo --log acl-add sw0 to-lport 1000 "udp.dst == 7" drop
"""
Watching = subprocess.Popen[bytes]


@contextmanager
def watching(bed: Sandbox, *args: str) -> Iterator[Watching]:
    """A running command that has begun to watch on hv1."""
    hv1 = bed.chassis["hv1"]
    command = hv1.argv(sys.executable, "-m", "ovn_bpf_controller.cli.ctl", *args)
    env = {**os.environ, **bed.environment("hv1"), "OVN_SB_DB": bed.layout.sb}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        try:
            process.wait_until(lambda: watched(bed) or running.poll() is not None, 90, "a watcher")
            yield running
        finally:
            running.send_signal(signal.SIGINT)  # it takes its wish back
            try:
                running.wait(90)
            finally:
                running.kill()


def watched(bed: Sandbox) -> bool:
    hv1 = bed.chassis["hv1"]
    [pin] = hv1.bpffs.glob("**/maps/ovn_watch")
    path = f"/sys/fs/bpf/{pin.relative_to(hv1.bpffs)}"
    [element] = json.loads(hv1.run("bpftool", "-j", "map", "dump", "pinned", path))
    return any(int(byte, 16) for byte in element["value"][:4])


def told(running: Watching, number: int) -> list[dict[str, Any]]:
    """The first IPv4 packets that a monitor tells of; guests also speak IPv6 unasked."""
    found: list[dict[str, Any]] = []
    assert running.stdout is not None
    while len(found) < number:
        line = running.stdout.readline()
        assert line, "the monitor ended"
        seen = json.loads(line)
        if seen["eth_type"] == "0x0800":
            found.append(seen)
    return found


def test_a_ping_is_seen_where_it_comes_and_where_it_leaves(bed: Sandbox) -> None:
    assert traffic.answers(bed, "vm1", "vm2")  # neighbours are known from here on
    with watching(bed, "monitor", "--json", "--lport", "vm1") as running:
        assert traffic.answers(bed, "vm1", "vm2")
        seen = told(running, 3)
    ways = [(each["point"], each["inport"], each["outport"], each["verdict"]) for each in seen]
    assert ways == [
        ("in", "vm1", "", "received"),
        ("out", "vm1", "vm2", "delivered"),
        ("out", "vm2", "vm1", "delivered"),
    ]


def test_a_monitor_ends_after_so_many_packets(bed: Sandbox) -> None:
    with watching(bed, "monitor", "--lport", "vm1", "--number", "1") as running:
        assert traffic.answers(bed, "vm1", "vm2")
        out, _ = running.communicate(timeout=120)
        assert running.returncode == 0
    assert len(out.splitlines()) == 1
    assert not watched(bed)


def test_a_drop_names_the_acl(bed: Sandbox) -> None:
    args = ("--point", "drop", "--lport", "vm2")
    with watching(bed, "monitor", "--json", *args) as running:
        assert traffic.blocked(bed, "vm1", "vm2", 7)
        [seen] = told(running, 1)
    assert seen["verdict"] == "dropped: a logical flow says drop"
    assert (seen["acl"], seen["stage"]) == ("no-echo", "ls_out_acl")
    assert (seen["inport"], seen["outport"], seen["datapath"]) == ("vm1", "vm2", "sw0")
    with watching(bed, "monitor", *args) as running:
        assert traffic.blocked(bed, "vm1", "vm2", 7)
        assert running.stdout is not None
        line = next(line for line in running.stdout if b"0x0800" in line)
    assert b"sw0 vm1 > vm2: dropped: a logical flow says drop" in line
    assert b"acl=no-echo" in line


def test_a_capture_has_inner_frames_and_verdicts(bed: Sandbox, tmp_path: Path) -> None:
    assert traffic.answers(bed, "vm1", "vm3")
    file = tmp_path / "vm1.pcapng"
    with watching(bed, "capture", "--lport", "vm1", "-w", str(file)) as running:
        assert traffic.answers(bed, "vm1", "vm3")
        assert traffic.blocked(bed, "vm1", "vm2", 7)
        process.wait_until(lambda: b"acl no-echo" in file.read_bytes(), 90, "the drop")
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=120)
    with RawPcapNgReader(str(file)) as reader:
        packets = [(Ether(data), meta) for data, meta in reader]
    comments = [bytes(meta.comments[0]).decode() for _, meta in packets]
    echo = [p for p, _ in packets if ICMP in p and p[ICMP].type == 8]
    assert len(echo) == 2  # as it came, and as it leaves for hv2, without outer headers
    assert all(p[IP].dst == bed.ports["vm3"].ip4 for p in echo)
    assert any(c.startswith("received; vm1 > -") for c in comments)
    assert any(c.startswith("sent; vm1 > vm3; datapath sw0") for c in comments)
    assert any(c.startswith("dropped: a logical flow says drop; vm1 > vm2") for c in comments)
    names = {bytes(meta.ifname).decode() for _, meta in packets}
    assert {"vm1 in", "vm3 remote", "vm1 drop"} <= names
    assert [p[UDP].dport for p, _ in packets if IP in p and UDP in p] == [7, 7]
    listed = subprocess.run(["tcpdump", "-nr", file], capture_output=True, text=True, check=True)
    assert "ICMP echo request" in listed.stdout


def test_a_watcher_that_is_killed_costs_nothing(bed: Sandbox) -> None:
    with watching(bed, "monitor", "--json") as running:
        running.kill()

    def noticed() -> bool:
        return traffic.answers(bed, "vm1", "vm2") and not watched(bed)

    process.wait_until(noticed, 90, "the program to see that nobody watches")


def test_there_is_one_watcher_at_a_time(bed: Sandbox) -> None:
    with watching(bed, "monitor", "--json"), watching(bed, "capture", "-w", "/dev/null") as second:
        _, err = second.communicate(timeout=120)
        assert second.returncode == 1
        assert b"another ovn-bpf-ctl watches" in err


@pytest.mark.parametrize("lport", ["nobody"])
def test_a_port_that_is_not_here_is_an_error(bed: Sandbox, lport: str) -> None:
    with watching(bed, "monitor", "--lport", lport) as running:
        _, err = running.communicate(timeout=120)
        assert running.returncode == 1
        assert b"nobody is no port of a local datapath" in err
