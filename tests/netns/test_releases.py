# SPDX-License-Identifier: Apache-2.0
"""The same agent under the centrals of OVN 25.03 and 26.03: a small cloud of everything.

Debian 13 and Debian unstable have them; 23.03 is what all other modules run with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import newest, talk, traffic
from tests.support.release import newer

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RELEASES = {"trixie": "25.03", "sid": "26.03"}
TOPOLOGY = """
chassis: {hv1: {agent: ovn-bpf-controller}, hv2: {agent: ovn-bpf-controller}}
switches:
  foo: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}
  bar: {ipv4: 192.168.2.0/24, ipv6: "fd12::/64"}
  alice: {ipv4: 172.16.1.0/24, ipv6: "fd21::/64"}
  join: {}
routers:
  r1:
    ports:
      r1-foo: {switch: foo, mac: "0e:00:00:01:00:01", networks: [192.168.1.1/24, "fd11::1/64"]}
      r1-bar: {switch: bar, mac: "0e:00:00:01:00:02", networks: [192.168.2.1/24, "fd12::1/64"]}
      r1-join: {switch: join, mac: "0e:00:00:01:00:03", networks: [20.0.0.1/24, "fd20::1/64"]}
  r2:
    ports:
      r2-join: {switch: join, mac: "0e:00:00:02:00:01", networks: [20.0.0.2/24, "fd20::2/64"]}
      r2-alice: {switch: alice, mac: "0e:00:00:02:00:02", networks: [172.16.1.1/24, "fd21::1/64"]}
ports:
  foo1: {switch: foo, chassis: hv1, port_security: true}
  foo2: {switch: foo, chassis: hv2}
  bar1: {switch: bar, chassis: hv2}
  alice1: {switch: alice, chassis: hv2}
acls:
  - {switch: foo, direction: from-lport, match: ip, action: allow-related}
  - {switch: foo, direction: to-lport, match: "ip && udp.dst != 9999", action: allow-related}
  - {switch: foo, direction: to-lport, priority: 900, match: "udp.dst == 9999", action: drop}
nbctl:
  - set logical_router r2 options:chassis=hv2
  - lr-route-add r1 172.16.0.0/16 20.0.0.2
  - lr-route-add r1 fd21::/64 fd20::2
  - lr-route-add r2 192.168.0.0/16 20.0.0.1
  - lr-route-add r2 fd11::/64 fd20::1
  - lr-nat-add r2 snat 172.16.1.1 192.168.1.0/24
  - lr-nat-add r2 dnat 30.0.0.2 192.168.1.2
  - lb-add lb0 30.0.0.9 192.168.2.2
  - ls-lb-add foo lb0
"""
SNAT = "172.16.1.1"


@pytest.fixture(scope="module", params=list(RELEASES))
def bed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    assert newer(request.param).version().startswith(RELEASES[request.param])
    programs = tmp_path_factory.mktemp(request.param)
    with newest.sandbox(TOPOLOGY, programs, request.param) as made:
        talk.warm(made, ("foo1", "alice1"), ("foo1", "bar1"))
        yield made


def test_all_flows_are_carried_out(bed: Sandbox) -> None:
    for chassis in bed.chassis.values():
        assert json.loads(chassis.appctl("ovn-bpf/unsupported", "--json")) == []


@pytest.mark.parametrize("target", ["foo2", "bar1", "alice1"])
@pytest.mark.parametrize("version", [4, 6])
def test_switched_and_routed_pings(bed: Sandbox, target: str, version: int) -> None:
    assert traffic.answers(bed, "foo1", target, version)


def test_translated_balanced_and_filtered(bed: Sandbox) -> None:
    alice = talk.address(bed, "alice1", 4)
    assert talk.tcp(bed, "foo1", "alice1", alice) == SNAT
    with talk.Udp(bed, "alice1", "foo1", "30.0.0.2") as flow:
        flow.exchange()
    assert talk.tcp(bed, "foo1", "bar1", "30.0.0.9") == bed.ports["foo1"].ip4
    assert traffic.blocked(bed, "alice1", "foo1", 9999)


def test_nothing_is_worth_a_warning(bed: Sandbox) -> None:
    bed.sync()
    for chassis in bed.chassis.values():
        log = (chassis.root / "ovn-controller.log").read_text()
        assert re.findall(r"^.*\|(?:WARN|ERR|EMER)\|.*$", log, re.M) == []
