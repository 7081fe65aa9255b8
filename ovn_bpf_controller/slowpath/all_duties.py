# SPDX-License-Identifier: Apache-2.0
"""All duties of the slow path, which its process (__main__) makes at its start.

duties/ has the agent's half of those that need to know something of the databases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.slowpath import advertisements, dhcp_relay, dhcpv4, dhcpv6, dns
from ovn_bpf_controller.slowpath.announcements import Announcements
from ovn_bpf_controller.slowpath.bfd import Bfd
from ovn_bpf_controller.slowpath.delegation import Delegation
from ovn_bpf_controller.slowpath.duty import Duty, Verbs
from ovn_bpf_controller.slowpath.happenings import Happenings
from ovn_bpf_controller.slowpath.multicast import Multicast
from ovn_bpf_controller.slowpath.neighbours import Neighbours
from ovn_bpf_controller.slowpath.periodic_ra import PeriodicAdverts
from ovn_bpf_controller.slowpath.services import Services


def duties(maps: Mapping[str, int]) -> Sequence[Duty]:
    """maps: fds by name."""
    return (
        Verbs("dhcpv4", {lib.OVN_PUNT_DHCP: dhcpv4.handle}),
        Verbs("dhcpv6", {lib.OVN_PUNT_DHCPV6: dhcpv6.handle}),
        Verbs(
            "dhcp-relay",
            {
                lib.OVN_PUNT_RELAY_REQ: dhcp_relay.request,
                lib.OVN_PUNT_RELAY_RESP: dhcp_relay.reply,
            },
        ),
        Verbs("dns", {lib.OVN_PUNT_DNS: dns.handle}),
        Verbs("ra", {lib.OVN_PUNT_RA: advertisements.handle}),
        PeriodicAdverts(),
        Delegation(),
        Neighbours(maps["ovn_macs"]),
        Announcements(),
        Bfd(),
        Happenings(),
        Multicast(),
        Services(),
    )
