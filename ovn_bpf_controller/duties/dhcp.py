# SPDX-License-Identifier: Apache-2.0
"""DHCP_Options and DHCPv6_Options rows: names, codes and types of options.

The slow path writes DHCP answers with them (slowpath.dhcpv4, slowpath.dhcpv6): a flow
names options as its release's tables do, and a release may add some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import DHCPOptions, DHCPv6Options


class DhcpOptions(Duty):
    """What the names in put_dhcp_opts() and put_dhcpv6_opts() mean."""

    name = "dhcp-options"
    tables = (DHCPOptions, DHCPv6Options)

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        return {
            "dhcp_options": _options(view.southbound.table(DHCPOptions).values()),
            "dhcpv6_options": _options(view.southbound.table(DHCPv6Options).values()),
        }


def _options(rows: Iterable[DHCPOptions | DHCPv6Options]) -> dict[str, list[Any]]:
    return {row.name: [row.code, row.type] for row in rows}
