# SPDX-License-Identifier: Apache-2.0
"""The kernel's own tunnel device, in collect-metadata mode: one for all peers.

The agent asks for it where the kernel has one, and attaches ovn_tunnel to it.
A network namespace has room for one such device a port, so it has the name and
settings that ovs-vswitchd gives and expects (lib/dpif-netlink-rtnl.c): whoever
comes second adopts it.
"""

from __future__ import annotations

import errno
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ovn_bpf_controller.errors import DataPlaneError

# kind -> (name, UDP port by default)
KINDS: Final = {"geneve": ("genev_sys_{}", 6081), "vxlan": ("vxlan_sys_{}", 4789)}

# Large enough for every GSO frame, small enough for every kernel's limit.
MTU: Final = 65000

ALIAS: Final = "ovn-bpf-controller"


def device_name(kind: str, port: int) -> str:
    """What OVS calls the device of `kind` that serves UDP `port`."""
    return KINDS[kind][0].format(port)


def ensure(kind: str = "geneve", port: int = 0) -> int:
    """ifindex of the device for `kind` on UDP `port` (0: the kind's own), up.

    Made when there is none; found again by its settings, not its name.  Works in
    the caller's network namespace.  Raises DataPlaneError when the kernel has no
    such devices, or something else has the port or the name.
    """
    port = port or KINDS[kind][1]
    with IPRoute() as netlink:
        link = _find(netlink, kind, port)
        if link is None:
            _create(netlink, kind, port)
            link = _find(netlink, kind, port)
        if link is None:
            raise DataPlaneError(f"{device_name(kind, port)} went as soon as it was made")
        if not link["flags"] & 1:  # IFF_UP
            _change(netlink, "set", link, state="up")
        return int(link["index"])


def remove(kind: str = "geneve", port: int = 0) -> bool:
    """Deletes the device if ensure() made it and Open vSwitch does not use it.

    Returns whether it did.  Raises DataPlaneError when the kernel refuses.
    """
    port = port or KINDS[kind][1]
    with IPRoute() as netlink:
        link = _find(netlink, kind, port)
        if link is None or link.get_attr("IFLA_IFALIAS") != ALIAS or link.get_attr("IFLA_MASTER"):
            return False
        _change(netlink, "del", link)
        return True


def _find(netlink: Any, kind: str, port: int) -> Any | None:
    """The link message of the collect-metadata device of `kind` on `port`."""
    for link in netlink.get_links():
        info = link.get_attr("IFLA_LINKINFO")
        if info is None or info.get_attr("IFLA_INFO_KIND") != kind:
            continue
        data = info.get_attr("IFLA_INFO_DATA")
        settings = dict(data["attrs"]) if data is not None else {}
        # A flag of geneve, a byte of vxlan: 0 only where it is off.
        metadata = settings.get(f"IFLA_{kind.upper()}_COLLECT_METADATA", 0) != 0
        if metadata and settings.get(f"IFLA_{kind.upper()}_PORT") == port:
            return link
    return None


def _create(netlink: Any, kind: str, port: int) -> None:
    name = device_name(kind, port)
    settings = {f"{kind}_collect_metadata": 1, f"{kind}_port": port, f"{kind}_udp_zero_csum6_rx": 1}
    if kind == "vxlan":
        settings["vxlan_learning"] = 0
    try:
        netlink.link("add", ifname=name, kind=kind, mtu=MTU, state="up", **settings)
        for index in netlink.link_lookup(ifname=name):
            netlink.link("set", index=index, IFLA_IFALIAS=ALIAS)
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:
            raise DataPlaneError(f"this kernel has no {kind} devices") from error
        raise DataPlaneError(
            f"{name} cannot be made, perhaps for another device on UDP port {port}: {error.args[1]}"
        ) from error


def _change(netlink: Any, verb: str, link: Any, **what: Any) -> None:
    try:
        netlink.link(verb, index=link["index"], **what)
    except NetlinkError as error:
        name = link.get_attr("IFLA_IFNAME")
        raise DataPlaneError(f"{name} cannot be changed: {error.args[1]}") from error
