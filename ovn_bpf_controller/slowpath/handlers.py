# SPDX-License-Identifier: Apache-2.0
"""Which function serves which verb (enum ovn_punt_verb)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.slowpath import dhcpv4, dns
from ovn_bpf_controller.slowpath.service import Handler

HANDLERS: Final[Mapping[int, Handler]] = {
    lib.OVN_PUNT_DHCP: dhcpv4.handle,
    lib.OVN_PUNT_DNS: dns.handle,
}
