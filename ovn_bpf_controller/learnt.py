# SPDX-License-Identifier: Apache-2.0
"""FDB and MAC_Binding rows, and ports that go -> what the program has learnt.

The agent owns it.  FDB rows are entries of the map in which the program learns, so
both are found by one look-up; MAC_Binding rows are rules (neighbours.py), and only
their removal matters here: what northd aged must not live on in the program's memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ovn_bpf_controller.binding.desired import Delta, Desired, LocalDatapath
from ovn_bpf_controller.compile import mac_binding
from ovn_bpf_controller.datapath import learnt
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import FDB, MACBinding
from ovn_bpf_controller.process.log import Logger, RateLimit

_log: Final = Logger("main")
_rate: Final = RateLimit(5, 5)


class LearntState:
    """Keeps ovn_fdb and ovn_macs in step with the Southbound and the ports."""

    def __init__(self, maps: learnt.Learnt) -> None:
        self._maps = maps
        self._fdb: dict[int, dict[str, FDB]] = {}  # rows by dp_key and uuid
        self._old: list[FDB | MACBinding] = []  # rows that were taken back
        self._new: list[FDB] = []
        self._sweep = True  # ports may have gone; or an earlier agent left something

    def note(self, changes: Changes, delta: Delta) -> None:
        """What changed in this iteration."""
        gone = None in delta.ports.values() or None in delta.datapaths.values()
        self._sweep = self._sweep or gone
        for uuid, (old, new) in changes.of(FDB).items():
            if old is not None:
                self._fdb.get(old.dp_key, {}).pop(uuid, None)
                self._old.append(old)
            if new is not None:
                self._fdb.setdefault(new.dp_key, {})[uuid] = new
                self._new.append(new)
        for was, now in changes.of(MACBinding).values():
            if was is not None and (now is None or now.mac != was.mac):
                self._old.append(was)
        for dp, row in delta.datapaths.items():
            if row is not None:
                self._new += self._fdb.get(dp, {}).values()

    def run(self, desired: Desired) -> None:
        """Carries out what was noted.  Raises DataPlaneError.

        desired: what the tables hold, all of it.
        """
        if not (self._sweep or self._old or self._new):
            return
        local = {each.key for each in desired.datapaths.values()}
        if self._sweep:
            ports = desired.ports()
            self._maps.forget(lambda dp, port: (dp, port) not in ports)
            self._sweep = False
        for row in self._old:
            if isinstance(row, MACBinding):
                self._aged(row, desired.datapaths)
            elif row.dp_key in local and (mac := _mac(row.mac)):
                self._maps.drop_fdb(row.dp_key, mac, row.port_key)
        self._old.clear()
        for row in self._new:
            if row.dp_key in local:
                self._put(row)
        self._new.clear()

    def _put(self, row: FDB) -> None:
        mac = _mac(row.mac)
        if mac:
            self._maps.put_fdb(row.dp_key, mac, row.port_key)
        else:
            _rate.warn(_log, f"FDB row {row.uuid}: {row.mac} is no MAC address")

    def _aged(self, row: MACBinding, datapaths: Mapping[str, LocalDatapath]) -> None:
        local = datapaths.get(row.datapath)
        key = local.port_keys.get(row.logical_port) if local is not None else None
        if local is None or not key:
            return
        try:
            ip, mac = mac_binding.addresses(row.ip, row.mac)
        except LangError:
            return  # the compiler has told of it
        self._maps.drop_mac(local.key, key, ip, mac)


def _mac(text: str) -> bytes | None:
    """6 bytes, None for what is no MAC address."""
    parts = text.split(":")
    try:
        found = bytes(int(part, 16) for part in parts)
    except ValueError:
        return None
    return found if len(found) == 6 else None
