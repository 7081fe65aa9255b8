# SPDX-License-Identifier: Apache-2.0
"""A packet for a load balancer without backends makes an event, until it is handled."""

from __future__ import annotations

import socket

import pytest

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports: {vm1: {switch: sw0, chassis: hv1}}
nbctl:
  - set NB_Global . options:controller_event=true
  - lb-add lb4 10.0.0.100:80 "" tcp
  - lb-add lb6 [fd00::100]:80 "" udp
  - set load_balancer lb4 options:event=true
  - set load_balancer lb6 options:event=true
  - ls-lb-add sw0 lb4
  - ls-lb-add sw0 lb6
"""
KINDS = ("alone", "oracle")
PATIENCE = 60.0
VIP = {4: "10.0.0.100", 6: "fd00::100"}
PROTOCOL = {4: "tcp", 6: "udp"}


@pytest.fixture(scope="module", autouse=True)
def neighbours(bed: Sandbox) -> None:
    bed.nbctl("--wait=hv", "sync")
    for address in VIP.values():
        words = f"neigh replace {address} lladdr 0e:00:00:00:00:01 dev eth0 nud permanent"
        netns.ip(bed.ports["vm1"].netns, words)


def events(bed: Sandbox, version: int) -> list[dict[str, str]]:
    """Rows of this address, as text: their information, sequence number and chassis."""
    rows = bed.sbctl("--bare", "--columns=_uuid", "list", "controller_event").split()
    columns = ("event_type", "event_info", "seq_num", "chassis")
    found = []
    for row in rows:
        values = {
            c: bed.sbctl("--if-exists", "--bare", "get", "controller_event", row, c).strip()
            for c in columns
        }
        if VIP[version] in values["event_info"]:
            found.append({"uuid": row, **values})
    return found


def knock(bed: Sandbox, version: int) -> None:
    """One packet, or a few of the same connection."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(family, socket.SOCK_STREAM if version == 4 else socket.SOCK_DGRAM)
    with client:
        client.setblocking(False)
        if client.connect_ex((VIP[version], 80)) == 0:
            client.send(b"knock")


def told(bed: Sandbox, version: int, seconds: float) -> bool:
    """Whether there is one event in time."""
    try:
        wait_until(lambda: len(events(bed, version)) == 1, seconds, "one event")
    except SandboxError:
        return False
    return True


@pytest.mark.parametrize("version", [4, 6])
def test_an_event_is_there_until_it_is_handled(bed: Sandbox, version: int) -> None:
    for wait in traffic.tries(bed, PATIENCE):
        knock(bed, version)
        if told(bed, version, wait):
            break
    [event] = events(bed, version)
    row = bed.nbctl("--bare", "--columns=_uuid", "find", "load_balancer", f"name=lb{version}")
    assert event["event_type"] == "empty_lb_backends"
    assert f"load_balancer={row.strip()}" in event["event_info"].replace('"', "")
    assert f"protocol={PROTOCOL[version]}" in event["event_info"].replace('"', "")
    vip = f"vip={VIP[version]}:80" if version == 4 else f"vip=[{VIP[version]}]:80"
    assert vip in event["event_info"].replace('"', "").replace("\\", "")
    chassis = bed.sbctl("--bare", "--columns=_uuid", "find", "chassis", "name=hv1").strip()
    assert event["chassis"] == chassis
    for _ in range(3):
        knock(bed, version)
    bed.nbctl("--wait=hv", "sync")
    assert [each["uuid"] for each in events(bed, version)] == [event["uuid"]]
    bed.sbctl("destroy", "controller_event", event["uuid"])

    def again() -> bool:
        knock(bed, version)
        return len(events(bed, version)) == 1

    wait_until(again, PATIENCE, "another event")
    [another] = events(bed, version)
    assert int(another["seq_num"]) > int(event["seq_num"])
