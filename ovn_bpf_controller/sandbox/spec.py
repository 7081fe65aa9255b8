# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is made of, as plain dataclasses.

topology.py makes them of a file; northbound, bed and the others build from them.
Nothing here checks anything: what is in a Topology has been checked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml

AGENTS = ("ovn-bpf-controller", "ovn-controller")
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

# What `up` builds without a file.
DEFAULT = """
chassis: {hv1: {}, hv2: {}}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv2, port_security: true}
"""


@dataclass(frozen=True)
class ChassisSpec:
    """One hypervisor.  vswitchd is always true with the real ovn-controller.

    datapath: of the vswitchd, "netdev" or "system" (needs the kernel's module).
    """

    name: str
    agent: str = "ovn-bpf-controller"
    vswitchd: bool = False
    datapath: str = "netdev"
    external_ids: dict[str, str] = field(default_factory=dict)

    @property
    def userspace(self) -> bool:
        """Whether OVS's userspace data path forwards for this chassis."""
        return self.agent == "ovn-controller" and self.datapath == "netdev"


@dataclass(frozen=True)
class SwitchSpec:
    """A logical switch.  ipv4, ipv6: networks that ports without `ips` draw from."""

    name: str
    ipv4: ipaddress.IPv4Network | None = None
    ipv6: ipaddress.IPv6Network | None = None
    other_config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RouterPortSpec:
    """A router's leg in `switch`."""

    name: str
    switch: str
    mac: str
    networks: tuple[Interface, ...]


@dataclass(frozen=True)
class RouterSpec:
    """A logical router."""

    name: str
    ports: tuple[RouterPortSpec, ...] = ()


@dataclass(frozen=True)
class PortSpec:
    """A VIF.  addresses is what Northbound gets; mac and ips what the guest uses.

    chassis is empty for a port that exists but is not plugged anywhere yet.
    """

    name: str
    switch: str
    mac: str
    ips: tuple[Interface, ...] = ()
    chassis: str = ""
    addresses: tuple[str, ...] = ()
    port_security: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AclSpec:
    """One ACL on a switch or a port group."""

    entity: str
    direction: str
    priority: int
    match: str
    action: str


@dataclass(frozen=True)
class Topology:
    """What `up` builds.  mtu is that of the underlay, in bytes of IP packet."""

    chassis: dict[str, ChassisSpec] = field(default_factory=dict)
    switches: dict[str, SwitchSpec] = field(default_factory=dict)
    routers: dict[str, RouterSpec] = field(default_factory=dict)
    ports: dict[str, PortSpec] = field(default_factory=dict)
    address_sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    port_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    acls: tuple[AclSpec, ...] = ()
    nbctl: tuple[str, ...] = ()
    underlay: str = "ipv4"
    mtu: int = 1500

    @property
    def vif_mtu(self) -> int:
        """What is left for a guest after Geneve with OVN's option: 58 or 78 bytes less."""
        return self.mtu - (58 if self.underlay == "ipv4" else 78)

    @property
    def mixed(self) -> bool:
        """Whether a chassis forwards in OVS's userspace data path."""
        return any(chassis.userspace for chassis in self.chassis.values())


def dump(topology: Topology) -> str:
    """`topology` as text that parse() reads back, everything in it spelled out."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(child) for key, child in value.items() if child is not None}
        if isinstance(value, list | tuple):
            return [plain(child) for child in value]
        return value if isinstance(value, bool | int | str) else str(value)

    document: dict[str, Any] = plain(asdict(topology))
    for section in ("chassis", "switches", "routers", "ports"):
        for child in document[section].values():
            del child["name"]
    for router in document["routers"].values():
        router["ports"] = {leg.pop("name"): leg for leg in router["ports"]}
    for port in document["ports"].values():
        if not port["chassis"]:
            del port["chassis"]
    for acl in document["acls"]:
        entity = acl.pop("entity")
        acl["port_group" if entity in topology.port_groups else "switch"] = entity
    return yaml.safe_dump(document, sort_keys=False)
