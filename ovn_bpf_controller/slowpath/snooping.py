# SPDX-License-Identifier: Apache-2.0
"""Who wants which multicast group, on one switch; without I/O.

slowpath.multicast keeps one for each datapath.  Time is an argument, in seconds.
Behaviour: OVS's lib/mcast-snooping.c, which ovn-controller uses: a port with a router
gets everything and is in no group, a leave counts at once, the group that was heard
of longest ago makes room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.slowpath.duty import FOREVER

MROUTER_IDLE: Final = 180.0
_IDLE: Final = (15.0, 3600.0)
_SIZE: Final = (10, 1_000_000)


@dataclass(slots=True)
class Group:
    """protocol: of the last report.  ports: until when, by key."""

    protocol: str = ""
    ports: dict[int, float] = field(default_factory=dict)


class Table:
    """Groups by address, those heard of last at the end.  news: something has changed.

    due: when expire() may have something to do; a report only puts that off.
    """

    def __init__(self, size: int, idle: float) -> None:
        self.groups: OrderedDict[bytes, Group] = OrderedDict()
        self.routers: dict[int, float] = {}
        self.news = False
        self.due = FOREVER
        self._size = 0
        self._idle = 0.0
        self.configure(size, idle)

    def configure(self, size: int, idle: float) -> None:
        """size: groups at most.  idle: seconds without a report, as OVS bounds them."""
        longer = min(max(idle, _IDLE[0]), _IDLE[1]) - self._idle
        self._size = min(max(size, _SIZE[0]), _SIZE[1])
        self._idle += longer
        for group in self.groups.values():
            for port in group.ports:
                group.ports[port] += longer
        self.due = min(self.due, self.due + longer)
        while len(self.groups) > self._size:
            self.groups.popitem(last=False)
            self.news = True

    def join(self, address: bytes, port: int, protocol: str, now: float) -> None:
        """A port wants a group."""
        if port in self.routers:
            return
        group = self.groups.get(address)
        if group is None:
            if len(self.groups) >= self._size:
                self.groups.popitem(last=False)
            group = self.groups[address] = Group()
        self.groups.move_to_end(address)
        self.news = self.news or port not in group.ports or group.protocol != protocol
        group.protocol = protocol
        group.ports[port] = now + self._idle
        self.due = min(self.due, now + self._idle)

    def leave(self, address: bytes, port: int) -> None:
        """A port wants a group no more."""
        group = self.groups.get(address)
        if group is not None and group.ports.pop(port, None) is not None:
            self.news = True
            if not group.ports:
                del self.groups[address]

    def router(self, port: int, now: float) -> None:
        """Behind a port there is a multicast router."""
        self.news = self.news or port not in self.routers
        self.routers[port] = now + MROUTER_IDLE
        self.due = min(self.due, now + MROUTER_IDLE)

    def expire(self, now: float) -> None:
        """Forget what was not confirmed in time."""
        if now < self.due:
            return
        self._drop(lambda _port, until: until <= now)
        holders: list[Mapping[int, float]] = [self.routers]
        holders += [group.ports for group in self.groups.values()]
        self.due = min((until for ports in holders for until in ports.values()), default=FOREVER)

    def keep(self, ports: Iterable[int]) -> None:
        """Only these ports are there."""
        there = frozenset(ports)
        self._drop(lambda port, _until: port not in there)

    def flush(self) -> None:
        """Forget everything."""
        self._drop(lambda _port, _until: True)

    def _drop(self, goes: Callable[[int, float], bool]) -> None:
        holders = [self.routers, *(group.ports for group in self.groups.values())]
        for ports in holders:
            for port in [port for port, until in ports.items() if goes(port, until)]:
                del ports[port]
                self.news = True
        for address in [address for address, group in self.groups.items() if not group.ports]:
            del self.groups[address]
