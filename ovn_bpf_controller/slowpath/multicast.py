# SPDX-License-Identifier: Apache-2.0
"""igmp: who wants which group behind this chassis' ports, and queries that ask.

Reports go on to multicast routers, queries to everybody; who is a member is for the
Southbound's IGMP_Group rows (duties.multicast), from which northd makes flows.
Behaviour: ovn-controller's pinctrl.c; tables: slowpath.snooping.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.frames import packet
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.membership import Kind, Message, parse, query4, query6
from ovn_bpf_controller.slowpath.snooping import Table

# OVN's lib/mcast-group-index.h: groups that northd makes of every switch.
_FLOOD, _MROUTER_FLOOD, _FLOOD_L2 = 0x8000, 0x8002, 0x8004
# Newer northds' igmp flows pass such packets by (flags.igmp_loopback).
_INJECTED: Final = 1 << 22
# Packets do not wait longer in the ring.
_LATE: Final = 60.0
# Reports to the agent are not more frequent.
_REPORT_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Querier:
    """ip4, ip6: where queries come from, b"" for none.  interval, response: seconds."""

    mac: bytes
    ip4: bytes
    ip6: bytes
    interval: int
    response: int


@dataclass(frozen=True, slots=True)
class Settings:
    """An IP_Multicast row.  ports: keys of those that are here."""

    size: int
    idle: int
    seq: int
    ports: frozenset[int]
    querier: Querier | None


Membership = tuple[bytes, str, int]
"""Group (b"": of routers), protocol, port."""


@dataclass(slots=True)
class _Switch:
    """since: packets of before count no more, by port; of all of them under 0."""

    settings: Settings
    table: Table
    query_at: float = FOREVER
    since: dict[int, float] = field(default_factory=dict)

    def stale(self, port: int, at: float) -> bool:
        """Whether a packet is from before its port was here, or from before a flush."""
        return at < max(self.since.get(port, 0.0), self.since.get(0, 0.0))


def heard(told: Mapping[str, Mapping[str, Any]]) -> dict[int, Settings]:
    """duties.multicast's "multicast": datapath key -> Settings."""
    return {int(key): _settings(row) for key, row in told.items()}


def heard_known(told: Mapping[str, Mapping[str, Any]]) -> dict[int, list[Membership]]:
    """duties.multicast's "multicast_known": datapath key -> members, routers last."""
    return {int(key): list(_memberships(said)) for key, said in told.items()}


def _memberships(said: Mapping[str, Any]) -> Iterator[Membership]:
    for address, (protocol, ports) in said["groups"].items():
        packed = ipaddress.ip_address(address).packed
        for port in ports:
            yield packed, str(protocol), int(port)
    for port in said["routers"]:
        yield b"", "", int(port)


def _remember(table: Table, members: Iterable[Membership], now: float) -> None:
    """A process before this one has heard of them: they have all their time again."""
    for address, protocol, port in members:
        if address:
            table.join(address, port, protocol, now)
        else:
            table.router(port, now)


def _settings(row: Mapping[str, Any]) -> Settings:
    asks = row["querier"]
    querier = None
    if asks is not None:
        mac, ip4, ip6 = (bytes.fromhex(asks[name]) for name in ("mac", "ip4", "ip6"))
        querier = Querier(mac, ip4, ip6, int(asks["interval"]), int(asks["response"]))
    ports = frozenset(int(port) for port in row["ports"])
    return Settings(int(row["size"]), int(row["idle"]), int(row["seq"]), ports, querier)


class Multicast(Duty):
    """All switches that snoop, by their datapath keys."""

    name = "multicast"

    def __init__(self) -> None:
        super().__init__()
        self._switches: dict[int, _Switch] = {}
        self._heard: Mapping[int, Settings] | None = None
        self._changed = False
        self._report_at = 0.0

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return {lib.OVN_PUNT_IGMP: self.receive}

    def hears(self) -> Mapping[str, Any]:
        """See Duty."""
        return {"multicast": heard, "multicast_known": heard_known}

    def learnt(self, known: Knowledge) -> None:
        """Switches as the rows are now."""
        wanted: Mapping[int, Settings] | None = known.facts.get("multicast")
        if wanted is None or wanted is self._heard:
            return
        self._heard = wanted
        now = time.monotonic()
        for key in self._switches.keys() - wanted.keys():
            del self._switches[key]
        for key, settings in wanted.items():
            switch = self._switches.get(key)
            if switch is None:
                table = Table(settings.size, settings.idle)
                _remember(table, known.facts.get("multicast_known", {}).get(key, ()), now)
                switch = self._switches[key] = _Switch(settings, table)
            self._configure(switch, settings, now)
        self._changed = True
        self._plan(now)

    @staticmethod
    def _configure(switch: _Switch, settings: Settings, now: float) -> None:
        before, switch.settings = switch.settings, settings
        switch.table.configure(settings.size, settings.idle)
        switch.table.keep(settings.ports)
        switch.since = {port: at for port, at in switch.since.items() if at + _LATE > now}
        switch.since |= dict.fromkeys(before.ports - settings.ports, now)
        if settings.seq != before.seq:
            switch.table.flush()
            switch.since = {0: now}
        if settings.querier is None:
            switch.query_at = FOREVER
        elif switch.query_at > now + settings.querier.interval:
            switch.query_at = now

    def receive(
        self, punt: Punt, _argument: Mapping[str, Any], _known: Knowledge
    ) -> Iterator[Punt]:
        """See service.Handler: the packet, to whom it may concern."""
        switch = self._switches.get(punt.words[lib.OW_DP])
        if switch is None:
            raise RejectedError("igmp where nobody snoops")
        message = parse(packet(punt.frame))
        port, now = punt.words[lib.OW_INPORT], time.monotonic()
        if switch.stale(port, punt.at / 1e9):
            raise RejectedError("igmp of a port that has gone")
        _take(switch.table, message, port, now)
        outport = _FLOOD_L2 if message.kind is Kind.QUERY else _MROUTER_FLOOD
        self._plan(now)
        yield _made(punt.frame, punt.words[lib.OW_DP], port, outport, _INJECTED)

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        for key, switch in list(self._switches.items()):
            switch.table.expire(now)
            querier = switch.settings.querier
            if querier is not None and now >= switch.query_at:
                switch.query_at = now + querier.interval
                for frame in _queries(querier):
                    yield _made(frame, key, 0, _FLOOD, lib.MLF_LOCAL_ONLY)
        self._plan(now)

    def reports(self) -> Mapping[str, Any]:
        """multicast: datapath key -> groups by address, and ports with routers."""
        return {
            "multicast": {
                str(key): {
                    "groups": {
                        str(ipaddress.ip_address(address)): [group.protocol, sorted(group.ports)]
                        for address, group in switch.table.groups.items()
                    },
                    "routers": sorted(switch.table.routers),
                }
                for key, switch in self._switches.items()
            }
        }

    def _plan(self, now: float) -> None:
        """Reports what is new, not too often; sets `due`."""
        for switch in self._switches.values():
            self._changed = self._changed or switch.table.news
            switch.table.news = False
        if self._changed and now >= self._report_at:
            self._changed = False
            self.news = True
            self._report_at = now + _REPORT_SECONDS
        due = [min(each.query_at, each.table.due) for each in self._switches.values()]
        self.due = min([*due, self._report_at if self._changed else FOREVER])


def _take(table: Table, message: Message, port: int, now: float) -> None:
    if message.routers:
        table.router(port, now)
    for address, wanted in message.groups:
        if wanted:
            table.join(address, port, message.version, now)
        else:
            table.leave(address, port)


def _queries(querier: Querier) -> Iterator[bytes]:
    times = (querier.response, querier.interval)
    if querier.ip4:
        yield query4(querier.mac, querier.ip4, *times)
    if querier.ip6:
        yield query6(querier.mac, querier.ip6, *times)


def _made(frame: bytes, dp: int, inport: int, outport: int, flags: int) -> Punt:
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT], words[lib.OW_OUTPORT] = dp, inport, outport
    words[lib.OW_FLAGS] = flags
    return Punt(frame, tuple(words), table=lib.OVN_PUNT_OUTPUT)
