# SPDX-License-Identifier: Apache-2.0
"""Meters from the Northbound: control plane protection, and the log's.

OVN's system test 48, "CoPP", expects to the packet how many answers there are; the bed's
kinds must agree.  Rates are one a second, so that a test that takes less sees the burst.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from scapy.contrib.bfd import BFD
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.routes import wait_status

TOPOLOGY = """
chassis: {hv1: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24}
  sw1: {ipv4: 20.0.0.0/24}
routers:
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24]}
      lr0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [20.0.0.1/24]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw1, chassis: hv1}
nbctl: [lrp-set-gateway-chassis lr0-sw1 hv1]
"""
ROUTER_MAC = "0e:00:00:00:00:01"
MONITOR_MAC = "33:33:33:33:33:33"
SETTLES = 1.0  # how long what is not to come gets to come


@pytest.fixture(autouse=True)
def _clean(bed: Sandbox) -> Iterator[None]:
    yield
    for table, column in (("logical_switch", "copp"), ("logical_router", "copp")):
        name = "sw0" if table == "logical_switch" else "lr0"
        bed.nbctl("clear", table, name, column)
    bed.nbctl("--if-exists", "destroy", "copp", "copp0")
    bed.nbctl("clear", "logical_switch", "sw0", "acls")
    bed.nbctl("lr-route-del", "lr0")
    bed.nbctl("--all", "destroy", "bfd")
    bed.nbctl("meter-del")
    bed.nbctl("--wait=hv", "sync")


def meter(bed: Sandbox, name: str, rate: int) -> None:
    bed.nbctl("--may-exist", "--wait=hv", "meter-add", name, "drop", str(rate), "pktps", "0")


def protect(bed: Sandbox, what: str, owner: str, protocol: str, name: str) -> None:
    bed.nbctl("copp-add", "copp0", protocol, name)
    bed.nbctl("--wait=hv", f"{what}-copp-add", "copp0", owner)


def frame(bed: Sandbox, layer: Packet, destination: str = "10.0.0.1", ttl: int = 64) -> bytes:
    port = bed.ports["vm1"]
    ip = IP(src=str(port.guest.address(4)), dst=destination, ttl=ttl)
    return bytes(Ether(src=port.mac, dst=ROUTER_MAC) / ip / layer)


def burst(
    bed: Sandbox,
    data: bytes,
    count: int,
    seen_by: str,
    kind: type[Packet],
    least: int = 1,
    source: str = "vm1",
) -> list[float]:
    """When frames of a kind came, seconds after the first was sent; waits for `least`."""
    with traffic.Wire(bed.ports[seen_by].netns, "eth0") as wire:
        begun = time.monotonic()
        for _ in range(count):
            traffic.send_raw(bed, source, data)
        found: list[float] = []
        last = time.monotonic()
        while time.monotonic() < last + (SETTLES if len(found) >= least else traffic.ARRIVES):
            new = sum(_is(got, kind) for got in wire.frames())
            if new:
                last = time.monotonic()
                found += [last - begun] * new
            time.sleep(0.02)
        return found


def _is(data: bytes, kind: type[Packet]) -> bool:
    packet = Ether(data)
    if kind is BFD:
        return UDP in packet and packet[UDP].dport == 3784 and _final(bytes(packet[UDP].payload))
    if kind is ICMP:
        return ICMP in packet and packet[ICMP].type in (3, 11)
    return ARP in packet and packet[ARP].op == 1 and packet[ARP].pdst == "20.0.0.99"


def _final(message: bytes) -> bool:
    """Whether it answers a poll (RFC 5880, section 6.8.7)."""
    return "F" in str(BFD(message).flags)


def within(times: list[float], rate: int) -> bool:
    """A burst of `rate`, and what a second more and more allows on a slow machine."""
    return bool(times) and rate <= len(times) <= rate + int(rate * max(times)) + 1


def test_rejects_are_metered_and_another_rate_counts_at_once(bed: Sandbox) -> None:
    bed.nbctl("acl-add", "sw0", "from-lport", "1002", 'inport == "vm1" && udp', "reject")
    meter(bed, "acl-meter", 1)
    protect(bed, "ls", "sw0", "reject", "acl-meter")
    data = frame(bed, UDP(sport=1, dport=12345))
    assert within(burst(bed, data, 20, "vm1", ICMP), 1)
    meter(bed, "acl-meter", 10)
    assert within(burst(bed, data, 40, "vm1", ICMP, 10), 10)
    bed.nbctl("--wait=hv", "clear", "logical_switch", "sw0", "copp")
    assert traffic.obeyed(bed, lambda: len(burst(bed, data, 20, "vm1", ICMP, 20)) == 20)


def test_requests_for_next_hops_are_metered(bed: Sandbox) -> None:
    meter(bed, "arp-meter", 1)
    protect(bed, "lr", "lr0", "arp-resolve", "arp-meter")
    data = frame(bed, TCP(dport=80, flags="S"), "20.0.0.99")
    assert within(burst(bed, data, 50, "vm2", ARP), 1)


def test_errors_about_the_time_to_live_are_metered(bed: Sandbox) -> None:
    meter(bed, "icmp-meter", 1)
    protect(bed, "lr", "lr0", "icmp4-error", "icmp-meter")
    data = frame(bed, TCP(dport=80, flags="S"), "20.0.0.2", ttl=1)
    assert within(burst(bed, data, 50, "vm1", ICMP), 1)


def test_polls_of_bfd_peers_are_metered(bed: Sandbox) -> None:
    meter(bed, "bfd-meter", 1)
    protect(bed, "lr", "lr0", "bfd", "bfd-meter")
    peer = bed.ports["vm2"]
    bed.nbctl("--bfd", "lr-route-add", "lr0", "240.0.0.0/8", peer.ip4, "lr0-sw1")
    [row] = bed.nbctl("--bare", "--columns=_uuid", "find", "bfd").split()
    wait_status(bed, row, "down")
    disc = int(bed.sbctl("--bare", "--columns=disc", "find", "bfd", "logical_port=lr0-sw1"))
    poll = BFD(version=1, sta=1, flags="P", detect_mult=5, my_discriminator=0x18A899E7,
               your_discriminator=disc & 0xFFFFFFFF, min_tx_interval=1_000_000,
               min_rx_interval=1_000_000, echo_rx_interval=0)  # fmt: skip
    ip = IP(src=peer.ip4, dst="20.0.0.1", ttl=255)
    head = Ether(src=peer.mac, dst="0e:00:00:00:00:02") / ip
    data = bytes(head / UDP(sport=49152, dport=3784) / poll)
    assert within(burst(bed, data, 50, "vm2", BFD, source="vm2"), 1)


def checks(bed: Sandbox) -> int:
    """Packets for the service monitor that have come as far as the agent, by its log."""
    return bed.chassis["hv1"].log().count(f"dl_dst={MONITOR_MAC}")


def refused(bed: Sandbox) -> int:
    """The same as the slow path counts them."""
    rows = json.loads(bed.chassis["hv1"].appctl("ovn-bpf/status", "--json"))
    reason = "slow path refused, service check of no service here"
    return sum(int(row["value"]) for row in rows if row["what"].rstrip(":") == reason)


def test_what_is_for_the_service_monitor_is_metered(bed: Sandbox, kind: str) -> None:
    """OVN's test looks for the packets in the log of the connection that brings them."""
    bed.nbctl("set", "nb_global", ".", f'options:svc_monitor_mac="{MONITOR_MAC}"')
    meter(bed, "svc-meter", 1)
    protect(bed, "ls", "sw0", "svc-monitor", "svc-meter")
    bed.chassis["hv1"].appctl("vlog/set", "vconn:file:dbg")
    bed.sync()
    before = checks(bed)
    counted = refused(bed) if kind != "oracle" else 0
    port = bed.ports["vm1"]
    ip = IP(src=port.ip4, dst="10.0.0.100")
    data = bytes(Ether(src=port.mac, dst=MONITOR_MAC) / ip / TCP(sport=1234, dport=1234))
    begun = time.monotonic()
    for _ in range(20):
        traffic.send_raw(bed, "vm1", data)
    process.wait_until(lambda: checks(bed) > before, 60.0, "a packet for the monitor")
    time.sleep(SETTLES)
    lasted = time.monotonic() - begun
    assert checks(bed) - before <= 1 + lasted + 1
    if kind != "oracle":  # the one and the other are told together, once a second
        process.wait_until(
            lambda: checks(bed) - before == refused(bed) - counted, 60.0, "as many as counted"
        )
        flow = f"tcp,vlan_tci=0x0000,dl_src={port.mac},dl_dst={MONITOR_MAC},nw_src={port.ip4}"
        told = f"|vconn(ovn_pinctrl0)|DBG|slow path: received for services, 54 bytes: {flow}"
        assert told in bed.chassis["hv1"].log()
    bed.chassis["hv1"].appctl("vlog/set", "vconn:file:info")


def lines(bed: Sandbox, name: str) -> int:
    return bed.chassis["hv1"].log().count(f'|INFO|name="{name}", ')


def test_the_log_is_metered_and_the_acl_is_not(bed: Sandbox, kind: str) -> None:
    """A fair meter: each ACL has the rate for itself."""
    meter(bed, "log-meter", 5)
    bed.nbctl("set", "meter", "log-meter", "fair=true")
    for name, port in (("one", 1), ("two", 2)):
        options = ["--log", f"--name={name}", "--meter=log-meter"]
        match = f'inport == "vm1" && udp.dst == {port}'
        bed.nbctl("--wait=hv", *options, "acl-add", "sw0", "from-lport", "1000", match, "drop")
    old = {name: lines(bed, name) for name in ("one", "two")}
    begun = time.monotonic()
    for port in (1, 2):
        for _ in range(40):
            traffic.send_raw(bed, "vm1", frame(bed, UDP(sport=9, dport=port)))
    for name in ("one", "two"):
        process.wait_until(lambda: lines(bed, name) - old[name] >= 5, 60.0, f"lines of {name}")  # noqa: B023
    most = 5 + 5 * (time.monotonic() - begun) + 1
    assert all(lines(bed, name) - old[name] <= most for name in old)
    if kind == "oracle":
        return
    rows = json.loads(bed.chassis["hv1"].appctl("ovn-bpf/meters", "--json"))
    fair = [row for row in rows if row["name"].startswith("log-meter__")]
    assert len(fair) == 2
    for row in fair:
        assert (row["unit"], row["bands"]) == ("pktps", "rate=5,burst=5")
        counts = [int(row[key].partition("=")[2]) for key in ("passed", "dropped")]
        assert sum(counts) == 40 and counts[0] >= 5


def test_meters_in_use_are_listed(bed: Sandbox) -> None:
    """By name, with numbers from 1 on; those that nothing uses are not."""
    meter(bed, "used", 1)
    meter(bed, "unused", 1)
    bed.nbctl("acl-add", "sw0", "from-lport", "1002", 'inport == "vm1" && udp', "reject")
    protect(bed, "ls", "sw0", "reject", "used")

    def listed() -> str:
        return bed.chassis["hv1"].appctl("meter-table-list")

    process.wait_until(lambda: listed() != "", 60.0, "a meter")
    name, _, number = listed().partition(": ")
    assert (name, number.isdigit()) == ("used", True)


def test_counts_and_buckets_outlive_the_agent(bed: Sandbox, kind: str) -> None:
    if kind == "oracle":
        return  # its meters are made anew
    meter(bed, "acl-meter", 1)
    bed.nbctl("acl-add", "sw0", "from-lport", "1002", 'inport == "vm1" && udp', "reject")
    protect(bed, "ls", "sw0", "reject", "acl-meter")
    burst(bed, frame(bed, UDP(sport=1, dport=12345)), 20, "vm1", ICMP)

    def counted() -> list[str]:
        rows = json.loads(bed.chassis["hv1"].appctl("ovn-bpf/meters", "--json"))
        return [value for row in rows for value in row.values()]

    before = counted()
    bed.chassis["hv1"].exit_agent("--restart")
    bed.chassis["hv1"].start_agent()
    bed.sync()
    assert counted() == before and "acl-meter" in before
