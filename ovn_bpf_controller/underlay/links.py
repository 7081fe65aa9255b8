# SPDX-License-Identifier: Apache-2.0
"""The network devices of this namespace, kept current from netlink.

Read by binding (the ifindex behind an Interface row) and by vswitch (what to write
into Interface columns).  Fed by KernelUnderlay, which owns the sockets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.rtnetlink import Link

_IFF_UP = 0x1
_IFF_RUNNING = 0x40
_IFF_LOWER_UP = 0x10000


@dataclass(frozen=True, slots=True)
class NetDevice:
    """A device as the kernel describes it.  mac: text, "" when it has none."""

    ifindex: int
    name: str
    mac: str = ""
    mtu: int = 0
    up: bool = False
    carrier: bool = False


class Links:
    """All devices, by name and by ifindex.  version: counts the changes."""

    def __init__(self) -> None:
        self.version = 0
        self._by_index: dict[int, NetDevice] = {}
        self._by_name: dict[str, NetDevice] = {}

    def name(self, name: str) -> NetDevice | None:
        """The device called `name` now."""
        return self._by_name.get(name)

    def index(self, ifindex: int) -> NetDevice | None:
        """The device with this ifindex."""
        return self._by_index.get(ifindex)

    @property
    def names(self) -> Mapping[str, NetDevice]:
        """Every device by name; do not change."""
        return self._by_name

    def reset(self, links: Iterable[Link]) -> bool:
        """Replace everything by a full dump; True when anything is different."""
        found = {device.ifindex: device for device in map(_device, links)}
        changed = found != self._by_index
        self._by_index = found
        self._by_name = {device.name: device for device in found.values()}
        self.version += changed
        return changed

    def apply(self, events: Iterable[tuple[bool, Link]]) -> bool:
        """Take over events in their order; True when anything is different."""
        changed = False
        for present, link in events:
            device = _device(link)
            old = self._by_index.get(device.ifindex)
            if not present:
                changed |= self._remove(old)
            elif old != device:
                self._remove(old)
                self._by_index[device.ifindex] = device
                self._by_name[device.name] = device
                changed = True
        self.version += changed
        return changed

    def _remove(self, device: NetDevice | None) -> bool:
        if device is None:
            return False
        del self._by_index[device.ifindex]
        if self._by_name.get(device.name) is device:
            del self._by_name[device.name]
        return True


def _device(link: Link) -> NetDevice:
    return NetDevice(
        ifindex=link.ifindex,
        name=link.name,
        mac=link.mac,
        mtu=link.mtu,
        up=bool(link.flags & _IFF_UP),
        carrier=bool(link.flags & _IFF_RUNNING and link.flags & _IFF_LOWER_UP),
    )
