# SPDX-License-Identifier: Apache-2.0
"""The kernel's own tunnel device, in collect-metadata mode: one for all peers.

The agent asks for it where the kernel has one, and attaches ovn_tunnel to it.
A network namespace has room for one such device a port, so it has the name and
settings that ovs-vswitchd gives and expects (lib/dpif-netlink-rtnl.c): whoever
comes second adopts it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.rtnetlink import Link, Refused, Rtnetlink

# kind -> (name, UDP port by default)
KINDS: Final = {"geneve": ("genev_sys_{}", 6081), "vxlan": ("vxlan_sys_{}", 4789)}

# kind -> types of IFLA_<KIND>_PORT and IFLA_<KIND>_COLLECT_METADATA (linux/if_link.h).
# Geneve's is a flag, vxlan's a byte that may be 0.
_ATTRIBUTES: Final = {"geneve": (5, 6), "vxlan": (15, 25)}
_ZERO_CSUM6_RX: Final = {"geneve": 10, "vxlan": 20}
_VXLAN_LEARNING: Final = 7
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
        _change(link, Rtnetlink.set_up)
    return link.ifindex


def remove(kind: str = "geneve", port: int = 0) -> bool:
    """Deletes the device if ensure() made it and Open vSwitch does not use it.

    Returns whether it did.  Raises DataPlaneError when the kernel refuses.
    """
    link = _find(kind, port or KINDS[kind][1])
    if link is None or link.alias != ALIAS or link.master:
        return False
    _change(link, Rtnetlink.delete_link)
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
    name = device_name(kind, port)
    port_type, metadata_type = _ATTRIBUTES[kind]
    data = {port_type: port.to_bytes(2, "big"), metadata_type: b"", _ZERO_CSUM6_RX[kind]: b"\1"}
    if kind == "vxlan":
        data |= {metadata_type: b"\1", _VXLAN_LEARNING: b"\0"}
    try:
        with Rtnetlink() as netlink:
            netlink.add_link(name, kind, MTU, data)
            for link in netlink.links():
                if link.name == name:
                    netlink.set_up(link.ifindex, ALIAS)
    except Refused as error:
        if error.code == errno.EOPNOTSUPP:
            raise DataPlaneError(f"this kernel has no {kind} devices") from error
        raise DataPlaneError(
            f"{name} cannot be made, perhaps for another device on UDP port {port}: {error}"
        ) from error


def _change(link: Link, how: Callable[[Rtnetlink, int], None]) -> None:
    try:
        with Rtnetlink() as netlink:
            how(netlink, link.ifindex)
    except Refused as error:
        raise DataPlaneError(f"{link.name} cannot be changed: {error}") from error
