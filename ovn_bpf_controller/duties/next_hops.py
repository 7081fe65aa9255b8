# SPDX-License-Identifier: Apache-2.0
"""Neighbours that packets wait for here, and that other chassis have learnt.

slowpath.neighbours reports whom it waits for, and is told of rows for them, whichever
comes first.  Behaviour: ovn-controller's pinctrl.c (run_buffered_binding).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ovn_bpf_controller.binding.claims import PortType
from ovn_bpf_controller.duties.addresses import mac
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import MACBinding, PortBinding


class NextHops(Duty):
    """MAC_Binding rows that somebody waits for."""

    name = "next-hops"
    tables = (MACBinding,)

    def __init__(self) -> None:
        self._asked: list[list[int]] = []

    def asks(self, reports: Mapping[str, Any]) -> bool:
        """See Duty."""
        before, self._asked = self._asked, reports.get("hops", [])
        return before != self._asked

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        if not self._asked:
            return {"hops": []}
        wanted = _rows(view, self._asked)
        found = []
        for row in view.southbound.table(MACBinding).values():
            link = mac(row.mac)
            if link:
                found += [[*hop, link] for hop in wanted.get((row.logical_port, row.ip), ())]
        return {"hops": sorted(found)}


def _rows(view: View, asked: list[list[int]]) -> Mapping[tuple[str, str], list[list[int]]]:
    """Hops by (port, address) as the Southbound has them.

    What leaves by a gateway port waits at its chassisredirect port; who answers does so
    to the distributed one.
    """
    keys = {dp for dp, _, _ in asked}
    names: dict[tuple[int, int], str] = {}
    for local in view.desired.datapaths.values():
        if local.key in keys:
            names |= {(local.key, key): name for name, key in local.port_keys.items()}
    distributed = {
        row.logical_port: row.options.get("distributed-port", "")
        for row in view.southbound.table(PortBinding).values()
        if row.type == PortType.CHASSISREDIRECT.value
    }
    found: dict[tuple[str, str], list[list[int]]] = {}
    for hop in asked:
        name, ip = names.get((hop[0], hop[1]), ""), ipaddress.IPv6Address(hop[2])
        name = distributed.get(name, name)
        found.setdefault((name, str(ip.ipv4_mapped or ip)), []).append(hop)
    return found
