# SPDX-License-Identifier: Apache-2.0
"""The connection tracker's table, as the agent sees it: read, flushed, limited.

The program (csrc/bpf/ct*.h) makes, changes and ends connections; the agent only
looks, and asks for an end.  A zone is flushed by counting its generation on,
single connections by program ovn_ct_flush.  observe.conntrack shows, the agent
flushes.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.counters import possible_cpus
from ovn_bpf_controller.datapath.maps import ArrayMap, check, map_info
from ovn_bpf_controller.datapath.records import position, record, word
from ovn_bpf_controller.datapath.run import run_once
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.plaindata import NamedTuple

MAX_ZONE: Final = 0xFFFF
BATCH: Final = 4096  # elements read by one system call
CONN: Final = record("struct ovn_conn")
_KILL: Final = record("struct ovn_ct_kill")
_GEN: Final = word("struct ovn_ct_zone", "gen")
_LIMIT: Final = word("struct ovn_ct_zone", "limit")
_COUNT: Final = word("struct ovn_ct_zone", "count")
_HIGH: Final = word("struct ovn_ct_ctl", "high")

#: Names of enum ovn_ct_counter, in its order.
COUNTERS: Final = (
    "created",
    "expired",
    "evicted closing",
    "evicted unreplied",
    "evicted established",
    "table full",
    "zone limit",
    "no free translation",
    "invalid",
    "index busy",
    "unknown fragment",
)


class Tuple(NamedTuple):
    """struct ovn_ct_tuple without what both directions share.

    src, dst: 128 bits, IPv4 as ::ffff:a.b.c.d.  Of ICMP, sport is the identifier and
    dport type << 8 | code.
    """

    src: int
    dst: int
    sport: int
    dport: int


class Peer(NamedTuple):
    """struct ovn_ct_peer."""

    seq_lo: int
    seq_hi: int
    max_win: int
    wscale: int
    state: int


class Connection(NamedTuple):
    """struct ovn_conn; id, birth: which element, and its how manieth life.

    expires, used: milliseconds of CLOCK_BOOTTIME.
    """

    id: int
    birth: int
    flags: int
    epoch: int
    zone_gen: int
    zone: int
    family: int
    proto: int
    orig: Tuple
    reply: Tuple
    mark: int
    label: int
    peers: tuple[Peer, Peer]
    expires: int
    used: int
    packets: tuple[int, int]
    bytes: tuple[int, int]


class Pair(NamedTuple):
    """A destination and the address that answers for it, as in a Tuple.

    proto and ports 0: any.
    """

    vip: int
    vip_port: int
    backend: int
    backend_port: int
    proto: int


def address(value: int, family: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of a Tuple."""
    if family == 4:
        return ipaddress.IPv4Address(value & 0xFFFFFFFF)
    return ipaddress.IPv6Address(value)


def mapped(text: str) -> int:
    """An address as a Tuple has it.  Raises ValueError."""
    ip = ipaddress.ip_address(text)
    return int(ip) if ip.version == 6 else 0xFFFF << 32 | int(ip)


def now_ms() -> int:
    """The clock of Connection.expires."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Conntrack:
    """The tracker behind these maps and programs; fds stay the caller's.

    Methods raise DataPlaneError when the kernel refuses.
    """

    def __init__(self, maps: Mapping[str, int], programs: Mapping[str, int]) -> None:
        self._maps = maps
        self._programs = programs
        self._zones = ArrayMap("ovn_ct_zones", maps["ovn_ct_zones"])
        self._control = ArrayMap("ovn_ct_ctl", maps["ovn_ct_ctl"])
        self._kills = ArrayMap("ovn_ct_kill", maps["ovn_ct_kill"])
        self.capacity = map_info(maps["ovn_conns"]).max_entries - 1

    def moved(self, programs: Mapping[str, int]) -> None:
        """Other programs work on the same maps; start() is due again."""
        self._programs = programs

    def close(self) -> None:
        """Unmaps what was mapped."""
        for each in (self._zones, self._control, self._kills):
            each.close()

    # --- looking ------------------------------------------------------------------

    def dump(
        self, zone: int | None = None, pairs: Sequence[Pair] = ()
    ) -> Iterator[list[Connection]]:
        """Connections in batches, in the order of their numbers.

        Those that come or go meanwhile may be there or not.  pairs: of one of these
        alone, if there are any.
        """
        ids = ffi.new("uint32_t[]", BATCH)
        conns = ffi.new("struct ovn_conn[]", BATCH)
        cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
        wish: Any = ffi.new("struct ovn_conn_wish *")
        wish.zone = lib.OVN_ANY_ZONE if zone is None else zone
        packed = ffi.from_buffer(b"".join(map(_packed, pairs)))
        wish.n_pairs, wish.pairs = len(pairs), ffi.cast("struct ovn_conn_pair *", packed)
        fd = self._maps["ovn_conns"]
        while more[0]:
            wish.high = self._control.words[_HIGH]
            n = lib.ovn_conn_dump(fd, cursor, ids, conns, BATCH, wish, more)
            check(n, "map ovn_conns cannot be read")
            yield self._alive(ids[0:n], bytes(ffi.buffer(conns, n * CONN.size)))

    def _alive(self, ids: Sequence[int], data: bytes) -> list[Connection]:
        """Those of this generation of their zone that have not expired."""
        now = now_ms()
        zones, pitch = self._zones.words, self._zones.pitch
        found = map(_connection, ids, CONN.iter_unpack(data))
        return [
            conn
            for conn in found
            if conn.zone_gen == zones[conn.zone * pitch + _GEN] and conn.expires > now
        ]

    def counters(self) -> dict[str, int]:
        """What happened since the maps were made, by COUNTERS."""
        values = ffi.new("uint64_t[]", possible_cpus())
        found = {}
        for index, name in enumerate(COUNTERS):
            key = ffi.new("uint32_t *", index)
            check(lib.ovn_map_lookup(self._maps["ovn_ct_count"], key, values), "ovn_ct_count")
            found[name] = sum(values)
        return found

    def zone_counts(self) -> dict[int, int]:
        """Connections by zone, of zones that have some."""
        words, pitch = memoryview(self._zones.memory[:]).cast("i"), self._zones.pitch
        generations, even, odd = (words[at::pitch].tolist() for at in (_GEN, _COUNT, _COUNT + 1))
        counts = (b if gen & 1 else a for gen, a, b in zip(generations, even, odd, strict=True))
        return {zone: count for zone, count in enumerate(counts) if count > 0}

    # --- changing -----------------------------------------------------------------

    def flush_zone(self, zone: int) -> None:
        """Ends all connections of a zone, at once."""
        lib.ovn_zone_flush(ffi.from_buffer(self._zones.memory, require_writable=True), zone)

    def flush_all(self) -> None:
        """Ends all connections."""
        for zone in range(self._zones.capacity):
            self.flush_zone(zone)

    def kill(self, connections: Iterable[Connection]) -> int:
        """Ends these, unless they are gone already.  Returns how many were asked for."""
        asked = 0
        batch: list[bytes] = []
        for conn in connections:
            batch.append(_KILL.pack(conn.id, conn.birth))
            asked += 1
            if len(batch) == lib.OVN_CT_KILLS:
                self._kill(batch)
                batch = []
        if batch:
            self._kill(batch)
        return asked

    def _kill(self, batch: list[bytes]) -> None:
        for index, data in enumerate(batch):
            self._kills.put(index, data)
        if len(batch) < lib.OVN_CT_KILLS:
            self._kills.put(len(batch), bytes(_KILL.size))
        run_once(self._programs["ovn_ct_flush"], "connections cannot be flushed")

    def set_limits(self, limits: Mapping[int, int]) -> None:
        """Most connections by zone; zones that are not named have no limit."""
        before = self.limits()
        for zone in before.keys() | limits.keys():
            limit = limits.get(zone, 0)
            if before.get(zone, 0) != limit and 0 <= zone < self._zones.capacity:
                self._zones.publish(zone, _LIMIT, limit)

    def limits(self) -> dict[int, int]:
        """Zones that have a limit."""
        words = self._zones.words[_LIMIT :: self._zones.pitch].tolist()
        if not any(words):
            return {}
        return {zone: limit for zone, limit in enumerate(words) if limit}

    def start(self) -> None:
        """Starts the look for expired connections, which goes on without us."""
        what = "the timer of connections cannot be started"
        if run_once(self._programs["ovn_ct_start"], what):
            raise DataPlaneError(what)


def _at(*path: str | int) -> int:
    return position("struct ovn_conn", *path)


_FLAGS: Final = _at("flags")
_BIRTH: Final = _at("birth")
_EPOCH: Final = _at("epoch")
_ZONE_GEN: Final = _at("zone_gen")
_ZONE: Final = _at("tuple", 0, "zone")
_FAMILY: Final = _at("tuple", 0, "family")
_PROTO: Final = _at("tuple", 0, "proto")
_ORIG: Final = _at("tuple", 0, "src")
_REPLY: Final = _at("tuple", 1, "src")
_MARK: Final = _at("mark")
_LABEL: Final = _at("label")
_PEERS: Final = slice(_at("peer", 0), _at("peer", 1)), slice(_at("peer", 1), _at("pad"))
_EXPIRES: Final = _at("expires")
_USED: Final = _at("used")
_PACKETS: Final = _at("packets")
_BYTES: Final = _at("bytes")


_PAIR: Final = record("struct ovn_conn_pair")


def _packed(pair: Pair) -> bytes:
    words = [value >> shift & 0xFFFFFFFF for value in pair[0:3:2] for shift in (96, 64, 32, 0)]
    return _PAIR.pack(*words, pair.vip_port, pair.backend_port, pair.proto)


def _connection(number: int, f: tuple[Any, ...]) -> Connection:
    """f: as CONN lays the struct out."""
    return Connection(
        number,
        f[_BIRTH],
        f[_FLAGS],
        f[_EPOCH],
        f[_ZONE_GEN],
        f[_ZONE],
        f[_FAMILY],
        f[_PROTO],
        _tuple(f, _ORIG),
        _tuple(f, _REPLY),
        f[_MARK],
        _wide(f, _LABEL),
        (Peer(*f[_PEERS[0]]), Peer(*f[_PEERS[1]])),
        f[_EXPIRES],
        f[_USED],
        (f[_PACKETS], f[_PACKETS + 1]),
        (f[_BYTES], f[_BYTES + 1]),
    )


def _tuple(f: tuple[Any, ...], at: int) -> Tuple:
    ports = f[at + 8]
    return Tuple(_wide(f, at), _wide(f, at + 4), ports >> 16, ports & 0xFFFF)


def _wide(f: tuple[Any, ...], at: int) -> int:
    value: int = f[at] << 96 | f[at + 1] << 64 | f[at + 2] << 32 | f[at + 3]
    return value
