# SPDX-License-Identifier: Apache-2.0
"""Meter rows and set_meter() -> meters of the data plane.

agent.Agent runs it.  Meters are there before the flows that name them are live, and
go after the last such flow went; as ovn-controller does, only those that flows name
are made.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovn_bpf_controller.compile.telling import Uses, meter_key
from ovn_bpf_controller.datapath.meters import Meters, Use
from ovn_bpf_controller.model import Meter
from ovn_bpf_controller.ovsdb import tables
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.process.log import Logger, RateLimit

# ovn-controller's module for it.
_log = Logger("ofctrl")
_rate = RateLimit(5, 1)


@dataclass(frozen=True, slots=True)
class Shown:
    """A meter for operators.  number: as meter-table-list has it; said: None if nothing
    defines it."""

    name: str
    number: int
    said: Meter | None
    use: Use | None


class Metering:
    """All meters of the chassis."""

    def __init__(self, meters: Meters, southbound: SouthboundCache) -> None:
        self._meters = meters
        self._southbound = southbound
        self._revision = -1
        self._stale = True
        self._said: dict[str, Meter | None] = {}
        self._there: set[int] | None = None  # keys in the maps; None: not looked at yet
        self._settled = False
        self._numbers: dict[str, int] = {}

    def note(self, changes: Changes) -> None:
        """What changed in the Southbound."""
        if tables.Meter.TABLE in changes or tables.MeterBand.TABLE in changes:
            self._stale = True

    def run(self, uses: Uses) -> None:
        """Before flows go live: makes what they name.  Raises DataPlaneError."""
        if not self._stale and uses.revision == self._revision:
            return
        if self._there is None:
            self._there = self._meters.keys()
        used = uses.meters()
        rows = self._rows() if None in used.values() else {}
        said = {name: meter or rows.get(name) for name, meter in used.items()}
        for name, meter in said.items():
            if meter is None:
                if name not in self._said or self._said[name] is not None:
                    _rate.err(_log, f'could not find meter named "{name}"')
                continue
            key = meter_key(name)
            if self._said.get(name) != meter or key not in self._there:
                self._meters.put(key, meter)
                self._there.add(key)
        self._said = said
        self._number(said)
        self._revision, self._stale, self._settled = uses.revision, False, False

    def live(self) -> None:
        """After flows went live: takes away what none names.  Raises DataPlaneError."""
        if self._there is None or self._stale or self._settled:
            return
        self._settled = True
        gone = self._there - {meter_key(name) for name, said in self._said.items() if said}
        if gone:
            self._meters.drop(gone)
            self._there -= gone

    def shown(self) -> list[Shown]:
        """By name."""
        uses: Mapping[int, Use] = self._meters.read()
        return [
            Shown(name, self._numbers[name], said, uses.get(meter_key(name)))
            for name, said in sorted(self._said.items())
        ]

    def numbers(self) -> Mapping[str, int]:
        """Small numbers by name, from 1 on; one stays a meter's while it is in use."""
        return self._numbers

    def _number(self, names: Mapping[str, Meter | None]) -> None:
        self._numbers = {name: n for name, n in self._numbers.items() if name in names}
        taken = set(self._numbers.values())
        free = iter(n for n in range(1, len(names) + 1) if n not in taken)
        for name in sorted(names.keys() - self._numbers.keys()):
            self._numbers[name] = next(free)

    def _rows(self) -> dict[str, Meter]:
        """What the Southbound says, by name."""
        bands = self._southbound.table(tables.MeterBand)
        found = {}
        for row in self._southbound.table(tables.Meter).values():
            drops = (bands[uuid] for uuid in row.bands if uuid in bands)
            pairs = tuple((band.rate, band.burst_size) for band in drops)
            found[row.name] = Meter(row.unit == "pktps", pairs)
        return found
