# SPDX-License-Identifier: Apache-2.0
"""Which function serves which verb (enum ovn_punt_verb)."""

from __future__ import annotations

from collections.abc import Mapping

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.slowpath import advertisements, dhcpv4, dns
from ovn_bpf_controller.slowpath.neighbours import Neighbours
from ovn_bpf_controller.slowpath.service import Handler


def handlers(neighbours: Neighbours) -> Mapping[int, Handler]:
    """All there are."""
    return {
        lib.OVN_PUNT_DHCP: dhcpv4.handle,
        lib.OVN_PUNT_DNS: dns.handle,
        lib.OVN_PUNT_RA: advertisements.handle,
        lib.OVN_PUNT_ARP: neighbours.arp,
        lib.OVN_PUNT_ND_NS: neighbours.nd_ns,
    }
