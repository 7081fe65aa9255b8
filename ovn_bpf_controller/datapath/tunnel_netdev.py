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

from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.rtnetlink import Link, Rtnetlink

# kind -> (name, UDP port by default)
KINDS: Final = {"geneve": ("genev_sys_{}", 6081), "vxlan": ("vxlan_sys_{}", 4789)}

# kind -> types of IFLA_<KIND>_PORT and IFLA_<KIND>_COLLECT_METADATA (linux/if_link.h).
# Geneve's is a flag, vxlan's a byte that may be 0.
_ATTRIBUTES: Final = {"geneve": (5, 6), "vxlan": (15, 25)}
_IFF_UP: Final = 1

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
    link = _find(kind, port)
    if link is None:
        _create(kind, port)
        link = _find(kind, port)
    if link is None:
        raise DataPlaneError(f"{device_name(kind, port)} went as soon as it was made")
    if not link.flags & _IFF_UP:
        _change("set", link, state="up")
    return link.ifindex


def remove(kind: str = "geneve", port: int = 0) -> bool:
    """Deletes the device if ensure() made it and Open vSwitch does not use it.

    Returns whether it did.  Raises DataPlaneError when the kernel refuses.
    """
    link = _find(kind, port or KINDS[kind][1])
    if link is None or link.alias != ALIAS or link.master:
        return False
    _change("del", link)
    return True


def _find(kind: str, port: int) -> Link | None:
    """The collect-metadata device of `kind` on `port`."""
    port_type, metadata_type = _ATTRIBUTES[kind]
    with Rtnetlink() as netlink:
        for link in netlink.links():
            if link.kind != kind:
                continue
            metadata = link.data.get(metadata_type)
            if metadata is None or metadata == b"\0":
                continue
            if int.from_bytes(link.data.get(port_type, b"")[:2], "big") == port:
                return link
    return None


def _create(kind: str, port: int) -> None:
    # Late: most starts find the device, and the import is a large part of them.
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    name = device_name(kind, port)
    settings = {f"{kind}_collect_metadata": 1, f"{kind}_port": port, f"{kind}_udp_zero_csum6_rx": 1}
    if kind == "vxlan":
        settings["vxlan_learning"] = 0
    try:
        with IPRoute() as netlink:
            netlink.link("add", ifname=name, kind=kind, mtu=MTU, state="up", **settings)
            for index in netlink.link_lookup(ifname=name):
                netlink.link("set", index=index, IFLA_IFALIAS=ALIAS)
    except NetlinkError as error:
        if error.code == errno.EOPNOTSUPP:
            raise DataPlaneError(f"this kernel has no {kind} devices") from error
        raise DataPlaneError(
            f"{name} cannot be made, perhaps for another device on UDP port {port}: {error.args[1]}"
        ) from error


def _change(verb: str, link: Link, **what: Any) -> None:
    from pyroute2 import IPRoute
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with IPRoute() as netlink:
            netlink.link(verb, index=link.ifindex, **what)
    except NetlinkError as error:
        raise DataPlaneError(f"{link.name} cannot be changed: {error.args[1]}") from error
