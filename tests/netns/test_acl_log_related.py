# SPDX-License-Identifier: Apache-2.0
"""Which packets of a connection an ACL logs: the one that begins, or answers as well.

OVN's system test 54, "ACL log_related", written anew: answers are logged where the ACL
has both a label and options:log-related.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.acl_lines import acl_lines

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
port_groups: {pg1: [vm1, vm2]}
"""
PATIENCE = 60.0
SIDE = {"from-lport": "inport", "to-lport": "outport"}
numbers = itertools.count(20_000)


@pytest.fixture(params=list(SIDE))
def direction(request: pytest.FixtureRequest, bed: Sandbox) -> Iterator[str]:
    """Of the ACLs of a test, which are gone behind it."""
    traffic.acquaint(bed)
    yield request.param
    bed.nbctl("--wait=hv", "--type=port-group", "acl-del", "pg1")


def acl(bed: Sandbox, direction: str, priority: int, verdict: str, name: str) -> None:
    match = f"{SIDE[direction]} == @pg1 && ip4"
    command = ("--type=port-group", "--log", f"--name={name}", "acl-add", "pg1")
    bed.nbctl("--wait=hv", *command, direction, str(priority), match, verdict)


def change(bed: Sandbox, name: str, label: int, log_related: str) -> None:
    uuid = bed.nbctl("--bare", "--columns=_uuid", "find", "acl", f"name={name}").strip()
    settings = (f"label={label}", f"options:log-related={log_related}")
    bed.nbctl("--wait=hv", "set", "acl", uuid, *settings)


def pinged(bed: Sandbox) -> list[str]:
    """What is logged of one ping: the lines of its request and its reply."""
    hv1 = bed.chassis["hv1"]
    before = len(acl_lines(hv1))
    assert traffic.answers(bed, "vm1", "vm2")
    last = f"tp_src={next(numbers)},"

    def all_there() -> bool:
        """Whether a packet that came later has its line, which says nothing of losses."""
        traffic.send_raw(bed, "vm1", marker(bed, last))
        return any(last in line for line in acl_lines(hv1)[before:])

    process.wait_until(all_there, PATIENCE, "the line of a later packet")
    return [line for line in acl_lines(hv1)[before:] if ": icmp," in line]


def marker(bed: Sandbox, port: str) -> bytes:
    """A datagram that vm2's host takes no notice of."""
    vm1, vm2 = bed.ports["vm1"], bed.ports["vm2"]
    datagram = UDP(sport=int(port[7:-1]), dport=9)
    return bytes(Ether(src=vm1.mac, dst=vm2.mac) / IP(src=vm1.ip4, dst="10.0.0.99") / datagram)


def logs(bed: Sandbox, name: str, *lines: tuple[int, str]) -> None:
    """Asserts what a ping makes the ACLs log: these types of ICMP in these directions alone."""
    ends = [bed.ports["vm1"], bed.ports["vm2"]]
    wanted = []
    for kind, direction in lines:
        source, target = ends if kind == 8 else reversed(ends)
        wanted.append(
            f'acl_log(ovn_pinctrl0)|INFO|name="{name}", verdict=allow, severity=info, '
            f"direction={direction}: icmp,vlan_tci=0x0000,dl_src={source.mac},dl_dst={target.mac},"
            f"nw_src={source.ip4},nw_dst={target.ip4},nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no,"
            f"icmp_type={kind},icmp_code=0"
        )
    found: list[str] = []

    def as_wanted() -> bool:
        found[:] = sorted(pinged(bed))
        return found == sorted(wanted)

    assert traffic.obeyed(bed, as_wanted), found


def test_a_stateless_acl_logs_both_ways(bed: Sandbox, direction: str) -> None:
    acl(bed, direction, 100, "allow", "allow_acl")
    logs(bed, "allow_acl", (8, direction), (0, direction))


def test_answers_are_logged_for_a_label_and_the_option(bed: Sandbox, direction: str) -> None:
    """Where they are let pass: on the other side of the port."""
    [other] = set(SIDE) - {direction}
    request, reply = (8, direction), (0, other)
    acl(bed, direction, 100, "allow", "allow_acl")
    acl(bed, direction, 200, "allow-related", "related")
    logs(bed, "related", request)
    for label, option, lines in (
        (1, "false", [request]),
        (0, "true", [request]),
        (1, "true", [request, reply]),
        (0, "false", [request]),
    ):
        change(bed, "related", label, option)
        logs(bed, "related", *lines)
