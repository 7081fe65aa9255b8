# SPDX-License-Identifier: Apache-2.0
"""What the program has learnt -> MAC_Binding and FDB rows.

agent.Agent runs it once a round.  The program uses what it learns at once and tells
of it (datapath.news); what was learnt while nobody listened is found in its maps, and
how far the Southbound had been told is kept beside them.  Rules and delays are those
of ovn-controller's pinctrl.c: rows of others are changed only by what contradicts
them, and what several chassis may have seen is written a random moment later.
"""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Mapping
from typing import Any, Final

from ovn_bpf_controller.binding.claims import PortType
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath
from ovn_bpf_controller.binding.writer import now_ms
from ovn_bpf_controller.datapath.learnt import Learnt, Neighbour, Station
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.news import Item, Kind, News
from ovn_bpf_controller.datapath.records import word
from ovn_bpf_controller.guest_news import GuestNews
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import FDB, MACBinding
from ovn_bpf_controller.ovsdb.transact import Transaction
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.upserts import Upserts

_log: Final = Logger("learning")

MAX_DELAY_MS: Final = 50
_READ: Final = 512  # records of one CPU in a round
_LOOK_MS: Final = 1000  # between looks into the maps
_TOLD: Final = word("struct ovn_ctl", "told")
_MISSED: Final = word("struct ovn_ctl", "missed")

NeighbourKey = tuple[int, int, int]  # datapath, port, address
StationKey = tuple[int, int]  # datapath, MAC address


class Learning:
    """The Southbound's side of what datapath.learnt has.  Raises DataPlaneError."""

    def __init__(
        self,
        fds: Mapping[str, int],
        learnt: Learnt,
        southbound: SouthboundCache,
        guests: GuestNews,
    ) -> None:
        """fds: of maps, by name.  guests: gets what is about their ports."""
        self._guests = guests
        self._learnt = learnt
        self._news = News(fds["ovn_news"])
        self._control = ArrayMap("ovn_ctl", fds["ovn_ctl"])
        self._neighbours: Upserts[NeighbourKey, int] = Upserts(southbound, "MAC_Binding")
        self._stations: Upserts[StationKey, int] = Upserts(southbound, "FDB")
        self._bindings: dict[tuple[str, str], MACBinding] = {}
        self._fdb: dict[tuple[int, str], FDB] = {}
        self._local: Mapping[str, LocalDatapath] = {}
        self._datapaths: dict[int, LocalDatapath] = {}
        self._names: dict[int, tuple[LocalDatapath, dict[int, str]]] = {}
        self._look = True  # into the maps: an earlier agent may have left something
        self._look_at = 0
        self._missed = 0

    def close(self) -> None:
        """The rings are free for another agent."""
        self._news.close()
        self._control.close()

    def moved(self, fds: Mapping[str, int]) -> None:
        """The control block is another one."""
        self._control.close()
        self._control = ArrayMap("ovn_ctl", fds["ovn_ctl"])

    def note(self, changes: Changes) -> None:
        """What the Southbound says by now."""
        for old, new in changes.of(MACBinding).values():
            if old is not None:
                self._bindings.pop((old.logical_port, old.ip), None)
            if new is not None:
                self._bindings[new.logical_port, new.ip] = new
        for was, now in changes.of(FDB).values():
            if was is not None:
                self._fdb.pop((was.dp_key, was.mac), None)
            if now is not None:
                self._fdb[now.dp_key, now.mac] = now

    def run(self, desired: Desired) -> None:
        """Takes in the news, and writes what is due.  desired: it is complete."""
        before = int(time.clock_gettime(time.CLOCK_BOOTTIME))
        if desired.datapaths is not self._local:
            self._local = desired.datapaths
            self._datapaths = {local.key: local for local in desired.datapaths.values()}
        for item in self._news.read(_READ):
            self._take(item)
        missed, self._missed = self._missed, self._control.words[_MISSED]
        lost = self._news.lost() or missed != self._missed
        if lost or self._neighbours.overflowed or self._stations.overflowed:
            self._look = True
        if self._look or self._busy:
            self._write()
        if not self._look and not self._busy:
            self._control.publish(0, _TOLD, before)

    def _write(self) -> None:
        now = now_ms()
        if self._look and not self._busy and now >= self._look_at:
            self._look, self._look_at = False, now + _LOOK_MS
            self._look_into_maps(now)
        self._neighbours.run(now, self._bind)
        self._stations.run(now, self._station)

    @property
    def _busy(self) -> bool:
        return bool(self._neighbours) or bool(self._stations)

    def wait(self, poller: Any) -> None:
        """See AgentProtocol."""
        for fd in self._news.fds:
            poller.fd_wait(fd, 1)  # POLLIN
        if self._look and not self._busy:
            poller.timer_wait_until(self._look_at)
        self._neighbours.wait(poller)
        self._stations.wait(poller)

    # --- what was learnt ----------------------------------------------------------

    def _take(self, item: Item) -> None:
        delay = random.randint(1, MAX_DELAY_MS)
        if item.kind is Kind.NEIGHBOUR:
            at = now_ms() + (delay if item.group else 0)
            self._neighbours.wish((item.dp, item.port, item.ip), item.mac, at, item.at)
        elif item.kind is Kind.STATION:
            self._stations.wish((item.dp, item.mac), item.port, now_ms() + delay, item.at)
        elif item.kind is Kind.VIRTUAL:
            vport, parent = self._name(item.dp, item.vport), self._name(item.dp, item.port)
            self._guests.speaks_for(vport, parent, item.at)
        else:
            self._guests.awake(self._name(item.dp, item.port))

    def _look_into_maps(self, now: int) -> None:
        """Finds what the Southbound lacks; what it has given up since is forgotten."""
        told = self._control.words[_TOLD]
        for entry in list(self._learnt.neighbours()):
            self._look_at_neighbour(entry, told, now)
        for station in list(self._learnt.stations()):
            self._look_at_station(station, told, now)

    def _look_at_neighbour(self, entry: Neighbour, told: int, now: int) -> None:
        name = self._name(entry.dp, entry.port)
        row = self._bindings.get((name, ip_text(entry.ip)))
        if not name or (row is not None and row.mac == mac_text(entry.mac)):
            return
        if entry.seen >= told and (row is None or _wall_ms(entry.seen) > row.timestamp):
            at = now + random.randint(1, MAX_DELAY_MS)
            self._neighbours.wish((entry.dp, entry.port, entry.ip), entry.mac, at)
        else:
            self._learnt.drop_mac(entry.dp, entry.port, entry.ip, entry.mac)

    def _look_at_station(self, entry: Station, told: int, now: int) -> None:
        row = self._fdb.get((entry.dp, mac_text(entry.mac)))
        if entry.dp not in self._datapaths or (row is not None and row.port_key == entry.port):
            return
        if entry.seen >= max(told, 1):
            at = now + random.randint(1, MAX_DELAY_MS)
            self._stations.wish((entry.dp, entry.mac), entry.port, at)
        elif row is None:
            self._learnt.drop_fdb(entry.dp, entry.mac.to_bytes(6, "big"), entry.port)

    # --- rows ---------------------------------------------------------------------

    def _bind(self, txn: Transaction, key: NeighbourKey, mac: int) -> None:
        """Adds to `txn` what makes the Southbound say so."""
        dp, port, address = key
        name, ip, link = self._name(dp, port), ip_text(address), mac_text(mac)
        row = self._bindings.get((name, ip))
        if not name or (row is not None and row.mac == link):
            return
        if row is not None:
            txn.update(MACBinding, row.uuid, mac=link, timestamp=wall_ms())
            return
        txn.absent(MACBinding, logical_port=name, ip=ip)
        uuid = self._datapaths[dp].uuid
        columns = {"logical_port": name, "ip": ip, "mac": link, "datapath": uuid}
        txn.insert(MACBinding, **columns, timestamp=wall_ms())

    def _station(self, txn: Transaction, key: StationKey, port: int) -> None:
        dp, mac = key[0], mac_text(key[1])
        name, row = self._name(dp, port), self._fdb.get((dp, mac))
        if not name or (row is not None and row.port_key == port):
            return
        if row is None:
            txn.absent(FDB, dp_key=dp, mac=mac)
            txn.insert(FDB, dp_key=dp, mac=mac, port_key=port, timestamp=wall_ms())
            return
        if self._type(name) == PortType.LOCALNET.value:
            # A guest's place is known better by whoever has the guest.
            owner = self._name(dp, row.port_key)
            if owner and self._type(owner) == PortType.VIF.value:
                return
            txn.wait(FDB, row.uuid, port_key=row.port_key)
        txn.update(FDB, row.uuid, port_key=port, timestamp=wall_ms())

    def _name(self, dp: int, port: int) -> str:
        """Name of a local datapath's port, "" if there is none."""
        local = self._datapaths.get(dp)
        if local is None:
            return ""
        known = self._names.get(dp)
        if known is None or known[0] is not local:
            names = {key: name for name, key in local.port_keys.items()}
            known = self._names[dp] = (local, names)
        return known[1].get(port, "")

    def _type(self, name: str) -> str:
        row = self._guests.port(name)
        return row.type if row is not None else ""


def ip_text(address: int) -> str:
    """As the Southbound has it.  address: 128 bits, IPv4 as ::ffff:a.b.c.d."""
    if address >> 32 == 0xFFFF:
        return str(ipaddress.IPv4Address(address & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(address))


def mac_text(mac: int) -> str:
    """As the Southbound has it."""
    return mac.to_bytes(6, "big").hex(":")


def wall_ms() -> int:
    """Now, for a `timestamp` column."""
    return time.time_ns() // 1_000_000


def _wall_ms(seconds: int) -> int:
    """The end of a second of CLOCK_BOOTTIME on the wall clock."""
    past = time.clock_gettime(time.CLOCK_BOOTTIME) - seconds - 1
    return wall_ms() - round(past * 1000)
