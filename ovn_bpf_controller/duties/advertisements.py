# SPDX-License-Identifier: Apache-2.0
"""Router ports that advertise themselves without being asked: options:ipv6_ra_*.

Each chassis sends for its own guests, into the switch that the router port's peer is
in; slowpath.periodic_ra does.  Behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from ovn_bpf_controller.duties.addresses import interfaces, mac
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import PortBinding
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("slowpath")
_rate = RateLimit(5, 5)

_MAX_INTERVAL: Final = 600
_MODES: Final = ("slaac", "dhcpv6_stateful", "dhcpv6_stateless")


class PeriodicAdverts(Duty):
    """What each router port of a local datapath says, how often, and where."""

    name = "periodic-ra"
    tables = (PortBinding,)

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        rows = view.southbound.table(PortBinding).values()
        wanted = [row for row in rows if row.options.get("ipv6_ra_send_periodic") == "true"]
        if not wanted:
            return {"adverts": {}}
        peers = {row.options.get("peer", "") for row in wanted}
        switch_ports = {row.logical_port: row for row in rows if row.logical_port in peers}
        found: dict[str, Any] = {}
        for row in wanted:
            peer = switch_ports.get(row.options.get("peer", ""))
            local = view.desired.datapaths.get(peer.datapath) if peer else None
            if peer is None or local is None:
                continue
            try:
                said = advert(row.options)
            except ValueError as error:
                _rate.warn(_log, f"no router advertisements from {row.logical_port}: {error}")
                continue
            found[row.logical_port] = {**said, "dp": local.key, "port": peer.tunnel_key}
        return {"adverts": found}

    def needed(self, told: Mapping[str, Any]) -> bool:
        """See Duty."""
        return bool(told["adverts"])


def advert(options: Mapping[str, str]) -> dict[str, Any]:
    """The message in the words of put_nd_ra_opts.  Raises ValueError."""
    mode = options.get("ipv6_ra_address_mode", "")
    if mode not in _MODES:
        raise ValueError(f"address mode {mode!r}")
    ether = mac(options.get("ipv6_ra_src_eth", ""))
    if ether is None:
        raise ValueError("no Ethernet address")
    source = ipaddress.IPv6Address(options.get("ipv6_ra_src_addr", ""))
    highest = _integer(options, "ipv6_ra_max_interval", _MAX_INTERVAL)
    lowest = highest // 3 if highest >= 9 else highest * 3 // 4
    return {
        "min": max(1, _integer(options, "ipv6_ra_min_interval", lowest)),
        "max": max(1, highest),
        "mac": ether,
        "source": int(source),
        "options": _said(options, mode, ether),
    }


def _said(options: Mapping[str, str], mode: str, ether: int) -> list[Any]:
    said = [
        _option("addr_mode", "STRING", mode),
        _option("router_preference", "STRING", options.get("ipv6_ra_prf", "MEDIUM")),
        _option("slla", "ETH", ether),
    ]
    mtu = _integer(options, "ipv6_ra_mtu", 0)
    if mtu:
        said.append(_option("mtu", "DEC", mtu))
    prefixes = options.get("ipv6_ra_prefixes", "")
    found = [p for p in interfaces(prefixes) if isinstance(p, ipaddress.IPv6Interface)]
    if prefixes and not found:
        raise ValueError(f"prefixes {prefixes!r}")
    for prefix in found:
        said.append(_option("prefix", "IP6", int(prefix.ip), int(prefix.netmask)))
    if "ipv6_ra_rdnss" in options:
        said.append(_option("rdnss", "IP6", int(ipaddress.IPv6Address(options["ipv6_ra_rdnss"]))))
    for name in ("dnssl", "route_info"):
        if options.get(f"ipv6_ra_{name}"):
            said.append(_option(name, "STRING", options[f"ipv6_ra_{name}"]))
    return said


def _option(name: str, form: str, value: object, mask: int | None = None) -> list[Any]:
    return [name, [[form, value, mask]]]


def _integer(options: Mapping[str, str], name: str, default: int) -> int:
    """As OVN's smap_get_int: what is no number is the default."""
    try:
        return int(options.get(name, default))
    except ValueError:
        return default
