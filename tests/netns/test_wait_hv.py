# SPDX-License-Identifier: Apache-2.0
"""What `--wait=hv` promises: the very next packet obeys.

Not for ovn-controller: flows that Open vSwitch has cached outlive its acknowledgement
until they are revalidated, which shows on a loaded machine.
"""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw0, chassis: hv2}
address_sets: {barred: []}
port_groups: {guarded: []}
acls:
  - {switch: sw0, direction: to-lport, priority: 1100, action: drop,
     match: "ip4.src == $$barred && udp.dst == 5000"}
"""

ROUNDS = 8


@pytest.mark.parametrize("target", ["vm2", "vm3"])
@pytest.mark.parametrize("direction", ["from-lport", "to-lport"])
def test_an_acl_added_and_deleted(bed: Sandbox, target: str, direction: str) -> None:
    for number in range(ROUNDS):
        rule = ("sw0", direction, "1200", f"udp.dst == {4000 + number}")
        assert traffic.delivers(bed, "vm1", target, 4000 + number)
        bed.nbctl("--wait=hv", "acl-add", *rule, "drop")
        assert traffic.blocked(bed, "vm1", target, 4000 + number)
        assert traffic.delivers(bed, "vm1", target, 4999)
        bed.nbctl("--wait=hv", "acl-del", *rule)
        assert traffic.delivers(bed, "vm1", target, 4000 + number)


@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_an_address_set_changed(bed: Sandbox, target: str) -> None:
    for _ in range(ROUNDS):
        bed.nbctl("--wait=hv", "add", "address_set", "barred", "addresses", "10.0.0.2")
        assert traffic.blocked(bed, "vm1", target, 5000)
        assert traffic.delivers(bed, "vm1", target, 5001)
        bed.nbctl("--wait=hv", "remove", "address_set", "barred", "addresses", "10.0.0.2")
        assert traffic.delivers(bed, "vm1", target, 5000)


def test_an_address_set_changed_among_many(bed: Sandbox) -> None:
    many = [f"10.9.{n // 250}.{n % 250 + 1}" for n in range(500)]
    bed.nbctl("--wait=hv", "add", "address_set", "barred", "addresses", *many)
    for _ in range(ROUNDS):
        bed.nbctl("--wait=hv", "add", "address_set", "barred", "addresses", "10.0.0.0/30")
        assert traffic.blocked(bed, "vm1", "vm3", 5000)
        bed.nbctl("--wait=hv", "remove", "address_set", "barred", "addresses", "10.0.0.0/30")
        assert traffic.delivers(bed, "vm1", "vm3", 5000)
    bed.nbctl("--wait=hv", "clear", "address_set", "barred", "addresses")


@pytest.mark.parametrize("target", ["vm2", "vm3"])
def test_a_port_joining_and_leaving_a_port_group(bed: Sandbox, target: str) -> None:
    bed.nbctl("--type=port-group", "acl-add", "guarded", "to-lport", "1300",
              "outport == @guarded && udp.dst == 6000", "drop")  # fmt: skip
    for _ in range(ROUNDS):
        bed.nbctl("--wait=hv", "pg-set-ports", "guarded", target)
        assert traffic.blocked(bed, "vm1", target, 6000)
        bed.nbctl("--wait=hv", "clear", "port_group", "guarded", "ports")
        assert traffic.delivers(bed, "vm1", target, 6000)
    bed.nbctl("--wait=hv", "--type=port-group", "acl-del", "guarded")


@pytest.mark.parametrize("chassis", ["hv1", "hv2"])
def test_a_port_added(bed: Sandbox, chassis: str) -> None:
    for number in range(3):
        name, host = f"new{number}", 150 + number
        addresses = f"0a:00:00:00:02:{host:02x} 10.0.0.{host}"
        bed.nbctl("lsp-add", "sw0", name, "--", "lsp-set-addresses", name, addresses)
        bed.plug(name, chassis)
        bed.sync()
        for other in ("vm1", "vm3"):
            assert traffic.answers(bed, other, name)
            assert traffic.answers(bed, name, other)
        bed.unplug(name)
        bed.nbctl("--wait=hv", "lsp-del", name)


def test_a_port_disabled_and_enabled(bed: Sandbox) -> None:
    for _ in range(3):
        bed.nbctl("--wait=hv", "lsp-set-enabled", "vm3", "disabled")
        assert traffic.silent(bed, "vm1", "vm3")
        bed.nbctl("--wait=hv", "lsp-set-enabled", "vm3", "enabled")
        assert traffic.answers(bed, "vm1", "vm3")
