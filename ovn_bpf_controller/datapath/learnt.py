# SPDX-License-Identifier: Apache-2.0
"""What the program learns by itself: maps ovn_fdb and ovn_macs; and ovn_mac_used.

ovn_bpf_controller.learnt decides what has to come and go.  The program writes these
maps, too, so an entry is taken away only while it still says what it was taken away
for; what it says anew in that moment is learnt again from the next packet.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import check, map_info
from ovn_bpf_controller.plaindata import NamedTuple

FDB: Final = "ovn_fdb"
MACS: Final = "ovn_macs"
USED: Final = "ovn_mac_used"
_BATCH: Final = 4096

#: dp and port keys of an entry: is it to go?
Gone = Callable[[int, int], bool]


class Neighbour(NamedTuple):
    """An entry of ovn_macs.  ip: 128 bits; seen: seconds of CLOCK_BOOTTIME."""

    dp: int
    port: int
    ip: int
    mac: int
    seen: int


class Station(NamedTuple):
    """An entry of ovn_fdb.  seen: when the program learnt it, 0 if it did not; used:
    when a packet from there came last, 0 if none did; seconds of CLOCK_BOOTTIME."""

    dp: int
    port: int
    mac: int
    seen: int
    used: int


class Learnt:
    """maps: fds by name; they stay the caller's.  Raises DataPlaneError throughout."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        self._fdb, self._macs = maps[FDB], maps[MACS]

    def neighbours(self) -> Iterator[Neighbour]:
        """All of ovn_macs; it may change meanwhile."""
        return _neighbours(MACS, self._macs)

    def stations(self) -> Iterator[Station]:
        """All of ovn_fdb; it may change meanwhile."""
        for entry in _entries(FDB, self._fdb, "ovn_fdb"):
            mac = int.from_bytes(bytes(entry.key.mac), "big")
            yield Station(entry.key.dp, entry.port, mac, entry.seen, entry.used)

    def put_fdb(self, dp: int, mac: bytes, port: int) -> None:
        """The MAC address (6 bytes) is behind the port.

        A full map is no error: packets to the address are flooded, as to any that
        nobody knows.
        """
        entry: Any = ffi.new("struct ovn_fdb *")
        entry.key.dp, entry.key.mac = dp, mac
        if lib.ovn_map_lookup(self._fdb, ffi.addressof(entry, "key"), entry) == 0:
            if entry.port == port:
                return  # and it keeps what it says of its use
        entry.key.dp, entry.key.mac, entry.port = dp, mac, port
        entry.seen = entry.used = 0
        result = lib.ovn_map_update(self._fdb, ffi.addressof(entry, "key"), entry)
        if result not in (-errno.E2BIG, -errno.ENOSPC, -errno.ENOMEM):
            check(result, f"map {FDB} cannot be changed")

    def drop_fdb(self, dp: int, mac: bytes, port: int) -> None:
        """No longer, unless it is behind another port by now."""
        key: Any = ffi.new("struct ovn_fdb_key *")
        key.dp, key.mac = dp, mac
        entry: Any = ffi.new("struct ovn_fdb *")
        if lib.ovn_map_lookup(self._fdb, key, entry) == 0 and entry.port == port:
            self._delete(FDB, self._fdb, key)

    def drop_mac(self, dp: int, port: int, ip: int, mac: int) -> None:
        """The neighbour's address is not known to be `mac`, unless it is another by now.

        ip: 128 bits, IPv4 as ::ffff:a.b.c.d.
        """
        key: Any = ffi.new("struct ovn_mac_key *")
        key.dp, key.port = dp, port
        key.ip = _words(ip)
        entry: Any = ffi.new("struct ovn_mac *")
        if lib.ovn_map_lookup(self._macs, key, entry) == 0:
            if entry.mac[0] << 32 | entry.mac[1] == mac:
                self._delete(MACS, self._macs, key)

    def forget(self, gone: Gone) -> int:
        """Takes away all that is of datapaths and ports that are gone; returns how many."""
        count = 0
        for name, fd, kind in ((FDB, self._fdb, "ovn_fdb"), (MACS, self._macs, "ovn_mac")):
            for entry in list(_entries(name, fd, kind)):
                port = entry.port if name == FDB else entry.key.port
                if gone(entry.key.dp, port):
                    self._delete(name, fd, ffi.addressof(entry, "key"))
                    count += 1
        return count

    def _delete(self, name: str, fd: int, key: Any) -> None:
        result = lib.ovn_map_delete(fd, key)
        if result != -errno.ENOENT:
            check(result, f"map {name} cannot be changed")


class Used:
    """Bindings that age, and when the program last saw each in use.

    fd: of map ovn_mac_used; it stays the caller's.  Raises DataPlaneError.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def watch(self, dp: int, port: int, ip: int, mac: int) -> None:
        """A full map is no error: what is not watched ages."""
        entry: Any = ffi.new("struct ovn_mac *")
        key = entry.key
        key.dp, key.port, key.ip = dp, port, _words(ip)
        entry.mac = [mac >> 32, mac & 0xFFFFFFFF]
        result = lib.ovn_map_update(self._fd, ffi.addressof(key), entry)
        if result not in (-errno.E2BIG, -errno.ENOSPC, -errno.ENOMEM):
            check(result, f"map {USED} cannot be changed")

    def forget(self, dp: int, port: int, ip: int) -> None:
        """It is of no interest any more."""
        key: Any = ffi.new("struct ovn_mac_key *")
        key.dp, key.port, key.ip = dp, port, _words(ip)
        result = lib.ovn_map_delete(self._fd, key)
        if result != -errno.ENOENT:
            check(result, f"map {USED} cannot be changed")

    def all(self) -> Iterator[Neighbour]:
        """What is watched; seen: when it was used last, 0 if it was not."""
        return _neighbours(USED, self._fd)


def _words(ip: int) -> list[int]:
    return [ip >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)]


def _neighbours(name: str, fd: int) -> Iterator[Neighbour]:
    for entry in _entries(name, fd, "ovn_mac"):
        key = entry.key
        ip = key.ip[0] << 96 | key.ip[1] << 64 | key.ip[2] << 32 | key.ip[3]
        yield Neighbour(key.dp, key.port, ip, entry.mac[0] << 32 | entry.mac[1], entry.seen)


def _entries(name: str, fd: int, kind: str) -> Iterator[Any]:
    """Every value of a map, as a struct of its own."""
    info = map_info(fd)
    keys = ffi.new("char[]", _BATCH * info.key_size)
    values = ffi.new(f"struct {kind}[]", _BATCH)
    cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
    while more[0]:
        result = lib.ovn_hash_dump(fd, cursor, keys, values, _BATCH, more)
        for n in range(check(result, f"map {name} cannot be read")):
            entry: Any = ffi.new(f"struct {kind} *", values[n])
            yield entry[0]
