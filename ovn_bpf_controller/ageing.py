# SPDX-License-Identifier: Apache-2.0
"""Keeps MAC_Binding and FDB rows young while packets use them here.

northd deletes a row whose `timestamp` is older than its datapath's threshold, and says
the thresholds to us since OVN 23.09.  The program notes when a binding's packets came
(mac_cache_use) and when a station's did (lookup_fdb); agent.Agent runs this once a
round, which looks now and then and writes what is due.  Periods are those of
ovn-controller's mac-cache.c.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller.binding.desired import Delta, Desired
from ovn_bpf_controller.binding.writer import Lane, now_ms
from ovn_bpf_controller.compile import mac_binding
from ovn_bpf_controller.datapath.learnt import Learnt, Used
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.learning import mac_text, wall_ms
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import FDB, DatapathBinding, MACBinding
from ovn_bpf_controller.ovsdb.transact import Transaction

BATCH: Final = 256
FOLLOW_MS: Final = 1000  # rows that change are followed at most so often

Key = tuple[int, int, int]  # datapath, port, address


class Ageing:
    """Of rows of local datapaths that have a threshold.  Raises DataPlaneError."""

    def __init__(self, used: Used, learnt: Learnt, southbound: SouthboundCache) -> None:
        self._used = used
        self._learnt = learnt
        self._sb = southbound
        self._lane = Lane(southbound, "timestamps")
        self._thresholds: dict[int, int] = {}  # ms, by key of the datapath
        self._watched: dict[Key, tuple[int, str]] = {
            (each.dp, each.port, each.ip): (each.mac, "") for each in used.all()
        }
        self._dirty = True
        self._follow_at = 0
        self._look_at = 0
        self._due: dict[str, type[MACBinding] | type[FDB]] = {}

    def note(self, changes: Changes, delta: Delta) -> None:
        """What changed in this iteration."""
        moved = delta.names or delta.datapaths or changes.of(DatapathBinding)
        self._dirty = self._dirty or bool(moved) or bool(self._thresholds and _rows(changes))

    def run(self, desired: Desired) -> None:
        """Looks and writes when it is time.  desired: it is complete."""
        now = now_ms()
        if self._dirty and now >= self._follow_at:
            self._dirty, self._follow_at = False, now + FOLLOW_MS
            self._follow(desired)
        if self._thresholds and now >= self._look_at:
            self._look_at = now + min(map(_period, self._thresholds.values()))
            self._look()
        if self._due and self._sb.synced and self._lane.ready(now):
            self._write()

    def wait(self, poller: Any) -> None:
        """See AgentProtocol."""
        if self._dirty:
            poller.timer_wait_until(self._follow_at)
        if self._thresholds:
            poller.timer_wait_until(self._look_at)
        self._lane.wait(poller, now_ms())

    def _follow(self, desired: Desired) -> None:
        """Watches the rows that age, and those alone."""
        datapaths = self._sb.table(DatapathBinding)
        before = self._thresholds
        self._thresholds = {}
        ports: dict[str, Mapping[str, int]] = {}
        for uuid, local in desired.datapaths.items():
            row = datapaths.get(uuid)
            threshold = _threshold(row.external_ids) if row is not None else 0
            if threshold:
                self._thresholds[local.key] = threshold
                ports[uuid] = local.port_keys
        if before != self._thresholds:
            self._look_at = 0
        keys = {uuid: desired.datapaths[uuid].key for uuid in ports}
        wanted = dict(_bindings(self._sb, ports, keys)) if ports else {}
        for key in self._watched.keys() - wanted.keys():
            self._used.forget(*key)
        for key, (mac, _) in wanted.items():
            if self._watched.get(key, (None, ""))[0] != mac:
                self._used.watch(*key, mac)
        self._watched = wanted

    def _look(self) -> None:
        """What was used since its row was written long enough ago is due."""
        now, wall = time.clock_gettime(time.CLOCK_BOOTTIME), wall_ms()

        def due(dp: int, used: int, timestamp: int) -> bool:
            threshold = self._thresholds.get(dp, 0)
            in_use = used > 0 and (now - used) * 1000 < threshold
            return in_use and wall - timestamp >= _period(threshold)

        bindings, stations = self._sb.table(MACBinding), self._sb.table(FDB)
        for entry in self._used.all():
            _, uuid = self._watched.get((entry.dp, entry.port, entry.ip), (0, ""))
            row = bindings.get(uuid)
            if row is not None and due(entry.dp, entry.seen, row.timestamp):
                self._due[uuid] = MACBinding
        used = {(s.dp, mac_text(s.mac), s.port): s.used for s in self._learnt.stations() if s.used}
        for each in stations.values() if used else ():
            seen = used.get((each.dp_key, each.mac, each.port_key), 0)
            if due(each.dp_key, seen, each.timestamp):
                self._due[each.uuid] = FDB

    def _write(self) -> None:
        txn = Transaction("ovn-bpf-controller: what is in use")
        now = wall_ms()
        for uuid in list(self._due)[:BATCH]:
            txn.update(self._due.pop(uuid), uuid, timestamp=now)
        self._lane.send(txn)


def _rows(changes: Changes) -> bool:
    return bool(changes.of(MACBinding))


def _threshold(external_ids: Mapping[str, str]) -> int:
    """Milliseconds, 0 for none.  A datapath is a router or a switch, not both."""
    for name in ("mac_binding_age_threshold", "fdb_age_threshold"):
        text = external_ids.get(name, "")
        if text.isdecimal() and int(text):
            return int(text) * 1000
    return 0


def _period(threshold: int) -> int:
    """Between looks, and the least age of a timestamp that is renewed."""
    return 3 * threshold // 16


def _bindings(
    southbound: SouthboundCache, ports: Mapping[str, Mapping[str, int]], keys: Mapping[str, int]
) -> Iterator[tuple[Key, tuple[int, str]]]:
    """Rows of these datapaths: their key, MAC address and uuid."""
    for row in southbound.table(MACBinding).values():
        port = ports.get(row.datapath, {}).get(row.logical_port)
        if not port:
            continue
        try:
            ip, mac = mac_binding.addresses(row.ip, row.mac)
        except LangError:
            continue  # the compiler has told of it
        yield (keys[row.datapath], port, ip), (mac, row.uuid)
