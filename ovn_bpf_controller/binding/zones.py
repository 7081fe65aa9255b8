# SPDX-License-Identifier: Apache-2.0
"""Conntrack zone numbers: one per local logical port, two per local datapath.

Called by the engine with the names that need a zone.  Numbers are kept in
Bridge.external_ids (`ct-zone-<name>`), so that connections survive a restart of
the agent: the table is restored from there before it allots anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import ovs.vlog

from ovn_bpf_controller.plaindata import NamedTuple

vlog = ovs.vlog.Vlog("binding_zones")

PREFIX = "ct-zone-"
MAX_ZONE = 65535


def dnat_name(datapath: str) -> str:
    """Name of a datapath's DNAT zone; `datapath` is the row's uuid (OVN 23.03)."""
    return f"{datapath}_dnat"


def snat_name(datapath: str) -> str:
    """Name of a datapath's SNAT zone."""
    return f"{datapath}_snat"


def newer_names(datapath: str, name: str) -> dict[str, str]:
    """Our names of a datapath's zones by those of OVN 24.03 and later.

    They are of the datapath's name (external_ids:name); those releases take over
    ours, too.
    """
    return {dnat_name(name): dnat_name(datapath), snat_name(name): snat_name(datapath)}


class Moved(NamedTuple):
    """Zones that changed hands: their connections are nobody's any more.

    allotted: somebody else's now.  released: nobody's now.
    """

    allotted: frozenset[int]
    released: frozenset[int]


def limit(ids: Mapping[str, str], default: int = 0) -> int:
    """`ct-zone-limit` of a Datapath_Binding or a Port_Binding; 0 is none.

    Out of 32 bits is none, and no number at all the default (ovn-controller's
    ct-zone.c).
    """
    text = ids.get("ct-zone-limit", "").strip()
    if not text.lstrip("-").isdecimal():
        return default
    return int(text) if 0 <= int(text) <= 0xFFFFFFFF else 0


class ZoneTable:
    """Name -> zone, 1..65535 within the range that is configured."""

    def __init__(self, low: int = 1, high: int = MAX_ZONE) -> None:
        self._low = low
        self._high = high
        self._zones: dict[str, int] = {}
        self._pinned: set[str] = set()
        self._exhausted = False
        self._allotted: set[int] = set()
        self._released: set[int] = set()
        self._persistent: Mapping[str, str] | None = None  # None: to be told anew

    @property
    def zones(self) -> Mapping[str, int]:
        """Every assignment in force."""
        return self._zones

    def set_range(self, low: int, high: int) -> None:
        """New bounds for zones allotted from now on; standing ones stay."""
        self._low, self._high = low, high

    def restore(self, external_ids: Mapping[str, str]) -> None:
        """Take over what an earlier run persisted; unusable entries are ignored."""
        self._persistent = None
        taken = set(self._zones.values())
        for key, value in sorted(external_ids.items()):
            name = key.removeprefix(PREFIX)
            if name == key or not name or not value.isdecimal():
                continue
            zone = int(value)
            if 0 < zone <= MAX_ZONE and zone not in taken and name not in self._zones:
                self._zones[name] = zone
                taken.add(zone)

    def adopt(self, names: Mapping[str, str]) -> None:
        """Zones that an agent of another release named differently keep their numbers.

        names: ours by theirs.
        """
        for theirs, ours in names.items():
            if theirs in self._zones and ours not in self._zones:
                self._zones[ours] = self._zones.pop(theirs)
                self._persistent = None

    def update(
        self, names: Iterable[str], requested: Mapping[str, int], keep: bool = False
    ) -> set[str]:
        """Give every name a zone and drop the rest; returns the names that changed.

        requested: zones that the CMS pins (snat-ct-zone, may be 0); who else has
        such a zone by chance gives it up, as in ovn-controller.  keep: drop
        nothing, because not all names are known yet.
        """
        before = dict(self._zones)
        wanted = set(names) | set(requested) | (before.keys() if keep else set())
        # What was pinned may be 0 or shared, so it is not kept without the request.
        gone = self._pinned - requested.keys()
        self._pinned = set(requested)
        zones = set(requested.values())
        self._zones = {
            name: zone
            for name, zone in before.items()
            if name in wanted and name not in gone and zone not in zones
        }
        self._zones.update(requested)
        self._allot(sorted(wanted - self._zones.keys()), set(before.values()))
        self._note(before)
        changed = {name for name, _ in before.items() ^ self._zones.items()}
        if changed:
            self._persistent = None
        return changed

    def take_moved(self) -> Moved:
        """What changed hands since the last call; restored zones did not."""
        moved = Moved(frozenset(self._allotted), frozenset(self._released))
        self._allotted, self._released = set(), set()
        return moved

    def _note(self, before: Mapping[str, int]) -> None:
        self._allotted |= {zone for _, zone in self._zones.items() - before.items()}
        self._released |= {zone for _, zone in before.items() - self._zones.items()}
        self._released -= set(self._zones.values())

    def _allot(self, names: list[str], before: set[int]) -> None:
        """before: zones in force until now, of which packets may still be under way."""
        used = set(self._zones.values())
        room = self._high - self._low + 1
        if len(used | before) + len(names) < room:
            used |= before
        zone = self._low
        for name in names:
            while zone in used:
                zone += 1
            if zone > self._high:
                self._say_exhausted(name)
                return
            self._zones[name] = zone
            used.add(zone)
        self._exhausted = False

    def _say_exhausted(self, name: str) -> None:
        if not self._exhausted:
            vlog.warn(f"exhausted all ct zones ({self._low}-{self._high}), first at {name}")
        self._exhausted = True

    def persistent(self) -> Mapping[str, str]:
        """What Bridge.external_ids must hold under `ct-zone-`; the same object as long as
        that is the same."""
        if self._persistent is None:
            self._persistent = {PREFIX + name: str(zone) for name, zone in self._zones.items()}
        return self._persistent
