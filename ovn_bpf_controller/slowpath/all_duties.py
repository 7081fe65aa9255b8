# SPDX-License-Identifier: Apache-2.0
"""All duties of the slow path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.slowpath import advertisements, dhcpv4, dns
from ovn_bpf_controller.slowpath.duty import Duty, Verbs
from ovn_bpf_controller.slowpath.neighbours import Neighbours


def duties(maps: Mapping[str, int]) -> Sequence[Duty]:
    """maps: fds by name."""
    return (
        Verbs("dhcpv4", {lib.OVN_PUNT_DHCP: dhcpv4.handle}),
        Verbs("dns", {lib.OVN_PUNT_DNS: dns.handle}),
        Verbs("ra", {lib.OVN_PUNT_RA: advertisements.handle}),
        Neighbours(maps["ovn_macs"]),
    )
