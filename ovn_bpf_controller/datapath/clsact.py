# SPDX-License-Identifier: Apache-2.0
"""Programs as tc filters of a clsact qdisc: for kernels before 6.6.

The filter holds the program, so it outlives the agent without a pin.  Whoever
deletes the qdisc (ovs-vswitchd's ingress policing does) takes it away: attached()
tells the truth, and Attachments puts it back.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.errors import DataPlaneError

_INGRESS: Final = 0xFFFFFFF2  # parent ffff:fff2
_PRIO: Final = 1
_HANDLE: Final = 0x6F76  # ours, so that others' filters are let alone
_ETH_P_ALL: Final = 0x0003
_GONE: Final = (errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.ENOENT)


class Clsact:
    """See attach.Hook.  The filter's name is <program>:<instance>."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._suffix = f":{plane.directory.name}"

    def attach(self, items: Sequence[tuple[int, str]]) -> Iterator[tuple[tuple[int, str], str]]:
        """See attach.Hook."""
        with IPRoute() as netlink:
            for item in items:
                try:
                    self._attach(netlink, *item)
                except DataPlaneError as error:
                    yield item, str(error)
                else:
                    yield item, ""

    def _attach(self, netlink: Any, ifindex: int, program: str) -> None:
        try:
            netlink.tc("add", "clsact", ifindex)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise DataPlaneError(f"it takes no clsact qdisc: {error.args[1]}") from error
        self._filter(netlink, "replace-filter", ifindex, program)

    def detach(self, ifindex: int, program: str) -> None:
        """See attach.Hook."""
        with IPRoute() as netlink:
            _delete(netlink, ifindex, program)

    def attached(self) -> set[tuple[int, str]]:
        """See attach.Hook."""
        found = set()
        with IPRoute() as netlink:
            for link in netlink.get_links():
                name = _filter_name(netlink, link["index"])
                if name.endswith(self._suffix):
                    found.add((link["index"], name.removesuffix(self._suffix)))
        return found

    def lost(self, items: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
        """See attach.Hook."""
        with IPRoute() as netlink:
            return [
                (ifindex, program)
                for ifindex, program in items
                if _filter_name(netlink, ifindex) != f"{program}{self._suffix}"
            ]

    def take_over(self) -> None:
        """See attach.Hook."""
        for ifindex, program in self.attached():
            if program in self._plane.programs:
                with IPRoute() as netlink:
                    self._filter(netlink, "replace-filter", ifindex, program)
            else:
                self.detach(ifindex, program)

    def _filter(self, netlink: Any, verb: str, ifindex: int, program: str) -> None:
        try:
            netlink.tc(
                verb,
                "bpf",
                ifindex,
                handle=_HANDLE,
                fd=self._plane.programs[program],
                name=f"{program}{self._suffix}",
                parent=_INGRESS,
                prio=_PRIO,
                protocol=_ETH_P_ALL,
                direct_action=True,
                classid=1,
            )
        except NetlinkError as error:
            raise DataPlaneError(
                f"{program} cannot be attached to device {ifindex}: {error.args[1]}"
            ) from error


def _filter_name(netlink: Any, ifindex: int) -> str:
    try:
        filters = list(netlink.get_filters(index=ifindex, parent=_INGRESS))
    except NetlinkError:  # the device went while we looked
        return ""
    for each in filters:
        options = each.get_attr("TCA_OPTIONS")
        if each["handle"] == _HANDLE and options is not None:
            return str(options.get_attr("TCA_BPF_NAME") or "")
    return ""


def _delete(netlink: Any, ifindex: int, program: str) -> None:
    try:
        netlink.tc(
            "del-filter",
            "bpf",
            ifindex,
            handle=_HANDLE,
            parent=_INGRESS,
            prio=_PRIO,
            protocol=_ETH_P_ALL,
        )
    except NetlinkError as error:
        if error.code not in _GONE:
            raise DataPlaneError(
                f"{program} cannot be detached from device {ifindex}: {error.args[1]}"
            ) from error


def remove_filters(instance: str) -> list[int]:
    """Deletes the filters of an instance that no agent runs; returns their devices.

    instance: name of its pins.  Raises DataPlaneError when the kernel refuses.
    """
    found = []
    with IPRoute() as netlink:
        for link in netlink.get_links():
            name = _filter_name(netlink, link["index"])
            if name.endswith(f":{instance}"):
                _delete(netlink, link["index"], name)
                found.append(link["index"])
    return found
