# SPDX-License-Identifier: Apache-2.0
"""Labels of ACLs: whoever lets a connection in signs it, in the zone of that port."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, servers, talk
from tests.support.balancers import address, change, remove_all

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw0, chassis: hv2, port_security: true}
"""
VERSIONS = (4, 6)
FROM, TO = 1234, 1235
#: A label is the upper word of ct_label.
SIGNED = {label: f",labels={label << 96:#x}" for label in (FROM, TO)}


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("vm1", "vm3"))
    with servers.Servers(bed) as everybody:
        for guest in bed.ports:
            everybody.serve(guest, 80)
        yield


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    remove_all(bed)


def acl(
    bed: Sandbox, direction: str, priority: int, match: str, label: int = 0, after_lb: bool = False
) -> None:
    """Add an allow-related ACL, with a label unless that is 0."""
    options = [f"--label={label}"] if label else []
    options += ["--apply-after-lb"] if after_lb and direction == "from-lport" else []
    change(bed, *options, "acl-add", "sw0", direction, str(priority), match, "allow-related")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("after_lb", [False, True])
def test_the_zone_of_the_acls_port_has_the_label(
    bed: Sandbox, after_lb: bool, version: int
) -> None:
    vm1, vm2, vm3 = (address(bed, name, version) for name in ("vm1", "vm2", "vm3"))
    ip = f"ip{version}"
    acl(bed, "from-lport", 1001, "ip", after_lb=after_lb)
    acl(bed, "to-lport", 1001, "ip", after_lb=after_lb)
    out = f'{ip} && inport == "vm1" && {ip}.dst == {vm3}'
    acl(bed, "from-lport", 1002, out, FROM, after_lb)
    acl(bed, "to-lport", 1002, f'{ip} && outport == "vm1" && {ip}.src == {vm3}', TO, after_lb)
    for source, target, label in (
        (vm1, vm3, SIGNED[FROM]),
        (vm3, vm1, SIGNED[TO]),
        (vm1, vm2, ""),
        (vm2, vm1, ""),
    ):
        conntrack.flush(bed)
        name = {vm1: "vm1", vm2: "vm2", vm3: "vm3"}[source]
        there, back = (source, target), (target, source)
        assert talk.pings(bed, name, target)
        assert servers.visit(bed, name, target, 80, "udp")
        assert conntrack.towards(bed, target) == sorted(
            line(there, back, after)
            for line in (conntrack.echo, conntrack.udp)
            for after in (label, "")
        )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("after_lb", [False, True])
@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_another_acl_signs_an_established_connection_anew(
    bed: Sandbox, target: str, after_lb: bool, version: int
) -> None:
    vm1, host = address(bed, "vm1", version), address(bed, target, version)
    match = f'ip{version} && inport == "vm1" && ip{version}.dst == {host}'
    acl(bed, "from-lport", 1002, match, FROM, after_lb)
    with servers.Connection(bed, "vm1", host, 80) as connection:
        for label, priority in ((FROM, 0), (TO, 1003)):
            if priority:
                acl(bed, "from-lport", priority, match, label, after_lb)
            assert connection.says()
            assert conntrack.towards(bed, host) == sorted(
                conntrack.tcp((vm1, host), (host, vm1), after) for after in (SIGNED[label], "")
            )
