# SPDX-License-Identifier: Apache-2.0
"""NB_Global.options:default_acl_drop: what no ACL names is dropped, ARP as well."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk, traffic
from tests.support.balancers import address, change, remove_all

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw, chassis: hv1}
  vm2: {switch: sw, chassis: hv1}
"""
VERSIONS = (4, 6)
#: What stages other than the one that is looked at need with default_acl_drop.
AFTER = ("--apply-after-lb", "acl-add", "sw", "from-lport", "1", "1", "allow")
BEFORE = ("acl-add", "sw", "from-lport", "1", "1", "allow")
LAST = ("acl-add", "sw", "to-lport", "1", "1", "allow")
STAGES = {
    "from-lport": ((), "from-lport", (AFTER, LAST)),
    "after-lb": (("--apply-after-lb",), "from-lport", (BEFORE, LAST)),
    "to-lport": ((), "to-lport", (BEFORE, AFTER)),
}


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    bed.nbctl("remove", "nb_global", ".", "options", "default_acl_drop")
    remove_all(bed)


def configure(bed: Sandbox, drop: bool, *acls: tuple[str, ...]) -> None:
    """All at once, as a half of it would drop what a test has to see."""
    option = ("set", "nb_global", ".", f"options:default_acl_drop={str(drop).lower()}")
    change(bed, *option, *chain.from_iterable(("--", *acl) for acl in acls))
    for guest in bed.ports.values():  # what was learnt before would hide a dropped ARP
        netns.ip(guest.netns, "neigh flush dev eth0")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("stage", STAGES)
def test_allowed_pings_pass_and_others_do_not(bed: Sandbox, stage: str, version: int) -> None:
    options, direction, _ = STAGES[stage]
    ping = {4: "ip4 && icmp4", 6: "ip6 && icmp6"}[version]
    configure(
        bed,
        False,
        (*options, "acl-add", "sw", direction, "20", ping, "allow-related"),
        (*options, "acl-add", "sw", direction, "10", f"ip{version}", "drop"),
    )
    assert talk.pings(bed, "vm1", address(bed, "vm2", version))
    assert talk.pings(bed, "vm2", address(bed, "vm1", version))


@pytest.mark.parametrize("stage", STAGES)
def test_arp_needs_an_acl_of_its_own(bed: Sandbox, stage: str) -> None:
    options, direction, others = STAGES[stage]
    named = (*options, "acl-add", "sw", direction, "20", "ip4 && icmp4", "allow-related")
    configure(bed, True, named, *others)
    assert talk.unanswered(bed, "vm1", bed.ports["vm2"].ip4)
    configure(bed, True, (*options, "acl-add", "sw", direction, "10", "arp", "allow"))
    assert talk.pings(bed, "vm1", bed.ports["vm2"].ip4)
    assert traffic.blocked(bed, "vm1", "vm2", 80)


@pytest.mark.parametrize("stage", STAGES)
def test_neighbour_discovery_needs_none(bed: Sandbox, stage: str) -> None:
    """northd lets ND, router discovery and MLD pass whatever ACLs say."""
    options, direction, others = STAGES[stage]
    match = "ip6 && icmp6.type == {128, 129}"
    configure(
        bed, True, (*options, "acl-add", "sw", direction, "20", match, "allow-related"), *others
    )
    assert talk.pings(bed, "vm1", bed.ports["vm2"].ip6)
    assert traffic.blocked(bed, "vm1", "vm2", 80, 6)
