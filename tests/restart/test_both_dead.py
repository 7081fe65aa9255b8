# SPDX-License-Identifier: Apache-2.0
"""Neither the agent nor its slow path runs: DHCPv4, DNS and router solicitations are
answered all the same, to real clients, as is what the program always answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support import dhcp, traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01",
               networks: ["10.0.0.1/24", "fd00::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""
ROUTER = "10.0.0.1"
OPTIONS = {
    "server_id": ROUTER,
    "server_mac": "0e:00:00:00:00:01",
    "lease_time": "3600",
    "router": ROUTER,
    "dns_server": "10.0.0.53",
    "mtu": "1400",
}
RECORDS = {"vm.ovn.org": "10.0.0.4 aef0::4", "4.0.0.10.in-addr.arpa": "vm.ovn.org"}
SOON = 60.0


class Leased:
    """vm1 with busybox's udhcpc, as it runs in a guest: it renews when it is told to."""

    def __init__(self, bed: Sandbox, directory: Path) -> None:
        script, self._log = directory / "script", directory / "events"
        script.write_text(f'#!/bin/sh\necho "$1 $ip $serverid $lease" >>{self._log}\n')
        script.chmod(0o755)
        client = ["busybox", "udhcpc", "-i", "eth0", "-f", "-t", "60", "-T", "1", "-s", str(script)]
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", bed.ports["vm1"].netns, *client],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await("bound", 1)

    def events(self, what: str) -> list[str]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if line.startswith(f"{what} ")]

    def _await(self, what: str, count: int) -> None:
        wait_until(lambda: len(self.events(what)) >= count, SOON, f"the guest's lease: {what}")

    def renew(self) -> str:
        """Asks its server for another term; what the server said."""
        before = len(self.events("renew"))
        os.kill(self._process.pid, signal.SIGUSR1)
        self._await("renew", before + 1)
        return self.events("renew")[-1]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module", autouse=True)
def services(bed: Sandbox) -> None:
    dhcp.serve(bed, OPTIONS, "vm1")
    text = ",".join(f'"{name}"="{value}"' for name, value in RECORDS.items())
    row = bed.nbctl("create", "DNS", f"records={{{text}}}")
    bed.nbctl("set", "logical_switch", "sw0", f"dns_records={row}")
    bed.nbctl("set", "logical_router_port", "r0-sw0", "ipv6_ra_configs:address_mode=slaac")
    bed.nbctl("--wait=hv", "sync")


@pytest.fixture(scope="module")
def guest(bed: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leased]:
    leased = Leased(bed, tmp_path_factory.mktemp("lease"))
    yield leased
    leased.close()


@pytest.fixture(scope="module", params=[signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "killed"])
def dead(bed: Sandbox, guest: Leased, request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """Neither runs, for all tests of one way of not running."""
    hv1 = bed.chassis["hv1"]
    agent = hv1.agent_pid()
    assert agent
    slow_path = int((hv1.root / "ovn-slowpath.pid").read_text())
    for pid in (agent, slow_path):  # the agent first: it would start another
        os.kill(pid, request.param)
    yield request.param
    if request.param == signal.SIGSTOP:
        for pid in (slow_path, agent):
            os.kill(pid, signal.SIGCONT)
    else:
        hv1.stop_agent(signal.SIGKILL)
        hv1.start_agent()
    bed.sync()


def dig(bed: Sandbox, *asked: str, version: int = 4) -> list[str]:
    """What dig gets from vm2's address, where nobody listens."""
    server = f"@{bed.ports['vm2'].guest.address(version)}"
    command = ["dig", server, "+short", "+time=2", "+tries=5", *asked]
    return sorted(netns.run(["ip", "netns", "exec", bed.ports["vm1"].netns, *command]).split())


def test_a_lease_is_renewed(bed: Sandbox, guest: Leased, dead: signal.Signals) -> None:
    address = bed.ports["vm1"].guest.address(4)
    assert guest.renew() == f"renew {address} {ROUTER} 3600"


def test_a_new_guest_gets_an_address(bed: Sandbox, dead: signal.Signals, tmp_path: Path) -> None:
    got = dhcp.client(bed, "vm1", tmp_path)
    assert (got["ip"], got["dns"], got["mtu"]) == (
        bed.ports["vm1"].guest.address(4),
        "10.0.0.53",
        "1400",
    )


@pytest.mark.parametrize("version", [4, 6])
def test_names_are_resolved(bed: Sandbox, dead: signal.Signals, version: int) -> None:
    assert dig(bed, "vm.ovn.org", "A", version=version) == ["10.0.0.4"]
    assert dig(bed, "VM.ovn.ORG", "AAAA", version=version) == ["aef0::4"]
    assert dig(bed, "-x", "10.0.0.4", version=version) == ["vm.ovn.org."]


def test_other_names_reach_their_server(bed: Sandbox, dead: signal.Signals) -> None:
    address = bed.ports["vm2"].guest.address(4)
    with netns.entered(bed.ports["vm2"].netns):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    query = bytes(DNS(id=7, rd=1, qd=DNSQR(qname="else.ovn.org", qtype="A")))
    with server, client:
        server.bind((address, 53))
        server.settimeout(traffic.ARRIVES)
        client.sendto(query, (address, 53))
        assert server.recv(4096) == query


def test_routers_are_found(bed: Sandbox, dead: signal.Signals) -> None:
    command = ["rdisc6", "-1", "-r", "10", "-w", "2000", "eth0"]
    said = netns.run(["ip", "netns", "exec", bed.ports["vm1"].netns, *command])
    assert "fd00::/64" in said and "0E:00:00:00:00:01" in said


def inside(bed: Sandbox, *command: str) -> str:
    return netns.run(["ip", "netns", "exec", bed.ports["vm1"].netns, *command])


def test_pings_are_answered(bed: Sandbox, dead: signal.Signals) -> None:
    for router in (ROUTER, "fd00::1"):
        inside(bed, "ping", "-c", "1", "-w", "20", router)


def test_addresses_are_resolved(bed: Sandbox, dead: signal.Signals) -> None:
    found = inside(bed, "arping", "-c", "1", "-w", "30", "-I", "eth0", ROUTER)
    assert "0E:00:00:00:00:01" in found.upper()
    assert "0E:00:00:00:00:01" in inside(bed, "ndisc6", "-1", "-r", "10", "fd00::1", "eth0")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("how", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_closed_ports_are_told(
    bed: Sandbox, dead: signal.Signals, family: socket.AddressFamily, how: socket.SocketKind
) -> None:
    """A reset, or "port unreachable"."""
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(family, how)
    with client, pytest.raises(ConnectionRefusedError):
        client.settimeout(traffic.ARRIVES)
        client.connect((ROUTER if family == socket.AF_INET else "fd00::1", 7))
        client.send(b"anybody there?")
        client.recv(1)


@pytest.mark.parametrize(
    ("router", "far", "said"),
    [
        (ROUTER, "10.9.9.9", "Time to live exceeded"),
        ("fd00::1", "fd99::9", "Time exceeded: Hop limit"),
    ],
)
def test_expired_packets_are_told(
    bed: Sandbox, dead: signal.Signals, router: str, far: str, said: str
) -> None:
    inside(bed, "ip", "route", "replace", far, "via", router)
    command = ["ip", "netns", "exec", bed.ports["vm1"].netns]
    command += ["ping", "-c", "1", "-w", "20", "-t", "1", far]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"From {router}" in done.stdout and said in done.stdout
