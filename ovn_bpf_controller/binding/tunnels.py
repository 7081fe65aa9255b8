# SPDX-License-Identifier: Apache-2.0
"""To which chassis we tunnel, and how: Chassis and Encap rows -> Link per address.

Called by the engine; pure.  One Link per remote IP of every chassis that shares a
transport zone and an encapsulation with us (ovn-controller's encaps.c).  What the
kernel knows of the way there is added later, from the Underlay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.ovsdb.tables import Chassis, Encap
from ovn_bpf_controller.plaindata import dataclass, field

GENEVE_PORT = 6081


@dataclass(frozen=True, slots=True)
class Link:
    """A Geneve tunnel.  name: `<chassis>@<remote ip>`, as in ovn-chassis-id."""

    name: str
    local: str
    remote: str
    dst_port: int
    csum: bool


@dataclass(slots=True)
class Peers:
    """The other chassis.

    default: Chassis uuid -> Link name for ports that ask for no particular encap.
    by_encap: Encap uuid -> Link name.  regions: Links to chassis of other regions, one
    each.  skipped: chassis name -> why there is none.
    """

    links: dict[str, Link] = field(default_factory=dict)
    default: dict[str, str] = field(default_factory=dict)
    by_encap: dict[str, str] = field(default_factory=dict)
    regions: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def link(self, chassis: str | None, encap: str | None) -> str:
        """Link name for a port on `chassis` that was bound with `encap`, or ""."""
        return self.by_encap.get(encap or "") or self.default.get(chassis or "", "")


def choose(
    me: Chassis, config: Config, rows: Iterable[Chassis], encaps: Mapping[str, Encap]
) -> Peers:
    """Links to every chassis in `rows` that we should reach; `me` is passed over."""
    peers = Peers()
    ours = {e.type for e in (encaps.get(uuid) for uuid in me.encaps) if e is not None}
    for row in rows:
        if row.uuid == me.uuid:
            continue
        why = _unreachable(me, config, row)
        if not why:
            why = _add(peers, config, ours, row, encaps)
        if why:
            peers.skipped[row.name] = why
        elif _true(row, "is-remote"):
            peers.regions.append(peers.default[row.uuid])
    return peers


def meets(me: Chassis, config: Config, row: Chassis) -> bool:
    """Should there be a tunnel to `row`, whatever it is and whatever we can?"""
    return _apart(me, config, row) == ""


def _unreachable(me: Chassis, config: Config, row: Chassis) -> str:
    if _true(row, "is-vtep"):
        return "VTEP gateways are not supported"
    return _apart(me, config, row)


def _apart(me: Chassis, config: Config, row: Chassis) -> str:
    theirs = set(row.transport_zones)
    if (theirs or config.transport_zones) and not theirs & config.transport_zones:
        return "another transport zone"
    if _true(row, "is-remote") and not _true(me, "is-interconn"):
        return "remote, and this chassis is no interconnection gateway"
    return ""


def _true(row: Chassis, key: str) -> bool:
    return row.other_config.get(key, "false").lower() == "true"


def _add(
    peers: Peers, config: Config, ours: set[str], row: Chassis, encaps: Mapping[str, Encap]
) -> str:
    """Add the links to one chassis; returns why there are none, or ""."""
    theirs = [e for e in (encaps.get(uuid) for uuid in row.encaps) if e is not None]
    common = ours & {e.type for e in theirs}
    if not common:
        return "no encapsulation in common"
    if "geneve" not in common:
        return f"only {', '.join(sorted(common))} in common, which is not supported"
    found = sorted((e for e in theirs if e.type == "geneve"), key=_preference)
    for encap in found:
        local = local_address(config, encap.ip)
        if not local:
            continue
        name = f"{row.name}@{encap.ip}"
        peers.links[name] = Link(
            name, local, encap.ip, _port(encap), encap.options.get("csum", "").lower() == "true"
        )
        peers.by_encap[encap.uuid] = name
        peers.default.setdefault(row.uuid, name)
    return "" if row.uuid in peers.default else "no address of a family that we have"


def _preference(encap: Encap) -> tuple[bool, str]:
    """The address marked is_default first, then by text: the same on each run."""
    return (encap.options.get("is_default", "").lower() != "true", encap.ip)


def _port(encap: Encap) -> int:
    text = encap.options.get("dst_port", "")
    port = int(text) if text.isdecimal() else 0
    return port if 0 < port < 65536 else GENEVE_PORT


def local_address(config: Config, remote: str) -> str:
    """The encap IP of ours to send to `remote` from, "" when no family matches."""
    try:
        version = ip_address(remote).version
    except ValueError:
        return ""
    ours = [ip for ip in config.encap_ips if ip_address(ip).version == version]
    if config.encap_ip_default in ours:
        return config.encap_ip_default
    return ours[0] if ours else ""
